"""A scaling policy of the specification as what EC2 Auto Scaling takes: pure.

Sources: EC2 Auto Scaling user guide (target tracking, step, scheduled, scaling on SQS), its service model.
"""

from __future__ import annotations

import math
from typing import assert_never

from deployer.deployments.ec2.alarms import balancer_metric
from deployer.errors import SpecError
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import (
    Computed,
    ComputedAlarm,
    FleetScaling,
    FleetStepping,
    FleetTracking,
    Input,
)
from deployer.spec.resolved import Alarm, Metric, ScheduledAction, StepRange
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
OUT_PERIODS = 3
IN_PERIODS = 15
"""Periods of a minute before a step: those of target tracking's own alarms."""


def resolve(
    spec: DeploymentSpec, group: str, queue: str, derived: float | None
) -> FleetScaling | None:
    """Return the group's policies; None for one that stays as it is.

    ``derived`` is the target value worked out of a profile. Raises SpecError for a target that nothing gives; what a
    fleet has not, the rule book has refused.
    """
    policy = spec.scaling
    match policy:
        case Fixed():
            return None
        case TargetTracking():
            value, basis = _value(policy, derived)
            name = f"{spec.name}-{policy.metric.replace('_', '-')}"
            return FleetScaling(basis, tracking=(_tracking(name, value, policy, group),))
        case QueueBacklog():
            backlog = _backlog(group, queue)
            track = FleetTracking(f"{spec.name}-backlog", policy.target, value=backlog)
            return FleetScaling("scaling.target", tracking=(track,))
        case Step():
            return FleetScaling("scaling.threshold", stepping=_steps(spec, policy, group))
        case Scheduled():
            actions = tuple(
                ScheduledAction(
                    f"{spec.name}-{int(row.start_s // 60):04d}",
                    f"{int(row.start_s // 60) % 60} {int(row.start_s // 3600)} * * *",
                    row.instances,
                )
                for row in policy.periods
            )
            return FleetScaling("scaling.periods", schedules=actions)
        case _:
            assert_never(policy)


def _value(policy: TargetTracking, derived: float | None) -> tuple[float, str]:
    if policy.target is not None:
        return policy.target, "scaling.target"
    if derived is None:
        raise SpecError(
            "scaling.target",
            "is not said, and there is no profile to derive it from",
            hint="write it, or give `plan` the measured one: --profile profile.json",
        )
    return float(f"{derived:.4g}"), "derived from the profile and the objective"


def _tracking(name: str, value: float, policy: TargetTracking, group: str) -> FleetTracking:
    if policy.metric in PREDEFINED:
        return FleetTracking(name, value, predefined=PREDEFINED[policy.metric])
    if policy.custom is not None:
        return FleetTracking(name, value, metric=_custom(policy))
    return FleetTracking(name, value, value=_in_flight())


def _custom(policy: TargetTracking | Step) -> Metric:
    assert policy.custom is not None
    row = policy.custom
    return Metric(row.namespace, row.name, row.statistic, row.dimensions, row.unit)


def _in_flight() -> Computed:
    """Requests in flight per instance by Little's law: rate x mean time / instances in service."""
    return Computed(
        "requests in flight per instance",
        "requests * seconds / 60 / hosts",
        (
            Input("requests", balancer_metric("RequestCount", "Sum")),
            Input("seconds", balancer_metric("TargetResponseTime", "Average")),
            Input("hosts", balancer_metric("HealthyHostCount", "Minimum")),
        ),
    )


def _backlog(group: str, queue: str) -> Computed:
    """Messages that wait, per instance; all of them while there is no instance, so that zero is left."""
    waiting = Metric(
        "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": queue}
    )
    where = {"AutoScalingGroupName": group}
    instances = Metric("AWS/AutoScaling", "GroupInServiceInstances", "Average", where)
    return Computed(
        "messages waiting per instance",
        "IF(instances > 0, waiting / instances, waiting)",
        (Input("waiting", waiting), Input("instances", instances)),
    )


def _steps(spec: DeploymentSpec, policy: Step, group: str) -> tuple[FleetStepping, ...]:
    """Return a policy for the steps that add and one for those that remove: an alarm has one direction."""
    edges = policy.edges
    rows = [
        (lower, edges[i + 1] if i + 1 < len(edges) else math.inf, step.change)
        for i, (lower, step) in enumerate(zip(edges, policy.adjustments, strict=True))
    ]
    found = []
    for word, sign in (("out", 1), ("in", -1)):
        chosen = [row for row in rows if row[2] * sign > 0]
        if not chosen:
            continue
        # The alarm stands at the edge where the first of these steps begins to hold.
        edge = chosen[0][0] if sign > 0 else chosen[-1][1]
        ranges = tuple(
            StepRange(change, _bound(lower - edge), _bound(upper - edge))
            for lower, upper, change in chosen
        )
        found.append(_stepping(spec, policy, group, word, policy.threshold + edge, ranges))
    return tuple(found)


def _bound(value: float) -> float | None:
    return None if math.isinf(value) else value


def _stepping(
    spec: DeploymentSpec,
    policy: Step,
    group: str,
    word: str,
    threshold: float,
    ranges: tuple[StepRange, ...],
) -> FleetStepping:
    rises = word == "out"
    comparison = "GreaterThanOrEqualToThreshold" if rises else "LessThanThreshold"
    periods = OUT_PERIODS if rises else IN_PERIODS
    name = f"{naming.alarms(spec.name)}scale-{word}"
    text = f"{policy.metric} {'at or above' if rises else 'below'} {threshold:g}"
    if policy.metric == "concurrency":
        alarm = ComputedAlarm(
            name, text, _in_flight(), threshold, comparison, periods=periods, missing="ignore"
        )
        return FleetStepping(f"{spec.name}-{word}", ranges, computed=alarm)
    if policy.metric == CUSTOM:
        metric = _custom(policy)
    elif policy.metric == "cpu":
        metric = Metric("AWS/EC2", "CPUUtilization", "Average", {"AutoScalingGroupName": group})
    else:
        metric = balancer_metric("RequestCountPerTarget", "Sum")
    single = Alarm(name, text, metric, threshold, comparison, periods=periods, missing="ignore")
    return FleetStepping(f"{spec.name}-{word}", ranges, alarm=single)
