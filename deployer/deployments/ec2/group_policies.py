"""A scaling policy of the specification as what EC2 Auto Scaling takes: pure.

Sources: EC2 Auto Scaling user guide (target tracking, step, scheduled, scaling on SQS), its service model.
"""

from __future__ import annotations

from typing import assert_never

from deployer.deployments.aws.policy_values import StepWay, step_ways, tracking_target
from deployer.deployments.ec2.alarms import balancer_metric
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import (
    Alarm,
    Expression,
    Input,
    Metric,
    Policies,
    ScheduledAction,
    Stepping,
    Tracking,
)
from deployer.spec.scaling import (
    CUSTOM,
    Fixed,
    QueueBacklog,
    Scheduled,
    Step,
    TargetTracking,
)

PREDEFINED = {
    "invocations_per_instance": "ALBRequestCountPerTarget",
    "cpu": "ASGAverageCPUUtilization",
}


def resolve(spec: DeploymentSpec, group: str, queue: str, derived: float | None) -> Policies | None:
    """Return the group's policies; None for one that stays as it is.

    ``derived`` is the target value worked out of a profile. Raises SpecError for a target that nothing gives; what a
    fleet has not, the rule book has refused.
    """
    policy = spec.scaling
    match policy:
        case Fixed():
            return None
        case TargetTracking():
            value, basis = tracking_target(policy, derived)
            name = f"{spec.name}-{policy.metric.replace('_', '-')}"
            return Policies(basis=basis, tracking=(_tracking(name, value, policy, group),))
        case QueueBacklog():
            backlog = _backlog(group, queue)
            track = Tracking(f"{spec.name}-backlog", policy.target, metric=backlog)
            return Policies(basis="scaling.target", tracking=(track,))
        case Step():
            return Policies(basis="scaling.threshold", stepping=_steps(spec, policy, group))
        case Scheduled():
            actions = tuple(
                ScheduledAction(
                    f"{spec.name}-{int(row.start_s // 60):04d}",
                    f"{int(row.start_s // 60) % 60} {int(row.start_s // 3600)} * * *",
                    row.instances,
                )
                for row in policy.periods
            )
            return Policies(basis="scaling.periods", schedules=actions)
        case _:
            assert_never(policy)


def _tracking(name: str, value: float, policy: TargetTracking, group: str) -> Tracking:
    if policy.metric in PREDEFINED:
        return Tracking(name, value, predefined=PREDEFINED[policy.metric])
    if policy.custom is not None:
        return Tracking(name, value, metric=_custom(policy))
    return Tracking(name, value, metric=_in_flight())


def _custom(policy: TargetTracking | Step) -> Metric:
    assert policy.custom is not None
    row = policy.custom
    return Metric(row.namespace, row.name, row.statistic, row.dimensions, row.unit)


def _in_flight() -> Expression:
    """Requests in flight per instance by Little's law: rate x mean time / instances in service."""
    return Expression(
        "requests in flight per instance",
        "requests * seconds / 60 / hosts",
        (
            Input("requests", balancer_metric("RequestCount", "Sum")),
            Input("seconds", balancer_metric("TargetResponseTime", "Average")),
            Input("hosts", balancer_metric("HealthyHostCount", "Minimum")),
        ),
    )


def _backlog(group: str, queue: str) -> Expression:
    """Messages that wait, per instance; all of them while there is no instance, so that zero is left."""
    waiting = Metric(
        "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": queue}
    )
    where = {"AutoScalingGroupName": group}
    instances = Metric("AWS/AutoScaling", "GroupInServiceInstances", "Average", where)
    return Expression(
        "messages waiting per instance",
        "IF(instances > 0, waiting / instances, waiting)",
        (Input("waiting", waiting), Input("instances", instances)),
    )


def _steps(spec: DeploymentSpec, policy: Step, group: str) -> tuple[Stepping, ...]:
    """Return a policy for the steps that add and one for those that remove, each with its alarm."""
    return tuple(_stepping(spec, policy, group, way) for way in step_ways(policy))


def _stepping(spec: DeploymentSpec, policy: Step, group: str, way: StepWay) -> Stepping:
    side = "at or above" if way.direction == "out" else "below"
    alarm = Alarm(
        f"{naming.alarms(spec.name)}scale-{way.direction}",
        f"{policy.metric} {side} {way.threshold:g}",
        _metric(policy, group),
        way.threshold,
        way.comparison,
        periods=way.periods,
        missing="ignore",
    )
    return Stepping(f"{spec.name}-{way.direction}", way.ranges, alarm)


def _metric(policy: Step, group: str) -> Metric | Expression:
    if policy.metric == "concurrency":
        return _in_flight()
    if policy.metric == CUSTOM:
        return _custom(policy)
    if policy.metric == "cpu":
        return Metric("AWS/EC2", "CPUUtilization", "Average", {"AutoScalingGroupName": group})
    return balancer_metric("RequestCountPerTarget", "Sum")
