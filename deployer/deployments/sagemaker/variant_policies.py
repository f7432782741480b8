"""A scaling policy of the specification as what Application Auto Scaling takes: pure.

Sources: Application Auto Scaling user guide (target tracking, step, scheduled), SageMaker developer guide
(auto scaling of endpoints; of asynchronous endpoints, with the step policy that leaves zero).
"""

from __future__ import annotations

from typing import Any, assert_never

from deployer.deployments.aws.policy_values import StepWay, step_ways, tracking_target
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import (
    INSTANCE_COUNT,
    PROVISIONED_CONCURRENCY,
    VARIANT,
    Alarm,
    Metric,
    Scaling,
    ScheduledAction,
    Stepping,
    StepRange,
    Tracking,
)
from deployer.spec.scaling import (
    CUSTOM,
    PROVISIONED,
    Fixed,
    Period,
    QueueBacklog,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import SageMakerServerless

PREDEFINED = {
    "invocations_per_instance": "SageMakerVariantInvocationsPerInstance",
    "concurrency": "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    PROVISIONED: "SageMakerVariantProvisionedConcurrencyUtilization",
}
PROVISIONED_SHARE = 0.7
"""Share of provisioned concurrency to aim at when none is said: AWS's example (0.70)."""


def resolve(
    spec: DeploymentSpec, endpoint: str, *, derived: float | None, vcpus: int | None
) -> Scaling | None:
    """Return the scalable target and its policies; None for a fleet that stays as it is.

    ``derived`` is the target value worked out of a profile, used when the specification states none;
    ``vcpus`` those of the instance type: SageMaker's CPUUtilization counts 100 for each. Raises SpecError
    for a target that nothing gives; what the mode has not, the rule book has refused.
    """
    policy = spec.scaling
    dimension = INSTANCE_COUNT
    if isinstance(spec.target, SageMakerServerless):
        dimension = PROVISIONED_CONCURRENCY
    match policy:
        case Fixed():
            return None
        case TargetTracking():
            value, basis = _value(policy, derived)
            track = _tracking(spec, policy, endpoint, value, vcpus)
            bounds = (policy.min_instances, policy.max_instances)
            return _of(dimension, bounds, basis, tracking=(track,))
        case QueueBacklog():
            bounds = (policy.min_instances, policy.max_instances)
            wake = (_wake(spec.name, endpoint),) if policy.min_instances == 0 else ()
            track = Tracking(
                f"{spec.name}-backlog",
                policy.target,
                int(policy.scale_in_cooldown_s),
                int(policy.scale_out_cooldown_s),
                metric=_endpoint_metric("ApproximateBacklogSizePerInstance", endpoint),
            )
            return _of(dimension, bounds, "scaling.target", tracking=(track,), stepping=wake)
        case Step():
            steps = _steps(spec, policy, endpoint, vcpus)
            bounds = (policy.min_instances, policy.max_instances)
            return _of(dimension, bounds, "scaling.threshold", stepping=steps)
        case Scheduled():
            actions = tuple(_action(spec, period) for period in policy.periods)
            counts = [action.capacity for action in actions]
            where = "scaling.periods"
            return _of(dimension, (min(counts), max(counts)), where, schedules=actions)
        case _:
            assert_never(policy)


def _of(dimension: str, bounds: tuple[int, int], basis: str, **policies: Any) -> Scaling:
    least, most = bounds
    return Scaling(
        dimension=dimension, min_capacity=least, max_capacity=most, basis=basis, **policies
    )


def _value(policy: TargetTracking, derived: float | None) -> tuple[float, str]:
    if policy.target is None and policy.metric == PROVISIONED:
        return PROVISIONED_SHARE, "AWS's example"
    return tracking_target(policy, derived)


def _tracking(
    spec: DeploymentSpec, policy: TargetTracking, endpoint: str, value: float, vcpus: int | None
) -> Tracking:
    name = f"{spec.name}-{policy.metric.replace('_', '-')}"
    cooldowns = (int(policy.scale_in_cooldown_s), int(policy.scale_out_cooldown_s))
    if policy.metric in PREDEFINED:
        return Tracking(name, value, *cooldowns, predefined=PREDEFINED[policy.metric])
    metric, factor = _metric(policy, endpoint, vcpus)
    return Tracking(name, value * factor, *cooldowns, metric=metric)


def _metric(
    policy: TargetTracking | Step, endpoint: str, vcpus: int | None
) -> tuple[Metric, float]:
    """Return the CloudWatch metric of a policy and what its values are times the specification's."""
    if policy.metric == CUSTOM and policy.custom is not None:
        custom = policy.custom
        dimensions = dict(custom.dimensions)
        return Metric(custom.namespace, custom.name, custom.statistic, dimensions, custom.unit), 1.0
    variant = {"EndpointName": endpoint, "VariantName": VARIANT}
    if policy.metric == "cpu":
        assert vcpus is not None, "the rule cpu-vcpus holds"
        return Metric("/aws/sagemaker/Endpoints", "CPUUtilization", "Average", variant), float(
            vcpus
        )
    words = {
        "invocations_per_instance": ("InvocationsPerInstance", "Sum"),
        "concurrency": ("ConcurrentRequestsPerModel", "Maximum"),
    }
    name, statistic = words[policy.metric]
    return Metric("AWS/SageMaker", name, statistic, variant), 1.0


def _endpoint_metric(name: str, endpoint: str, statistic: str = "Average") -> Metric:
    return Metric("AWS/SageMaker", name, statistic, {"EndpointName": endpoint})


def _wake(name: str, endpoint: str) -> Stepping:
    """One instance as soon as requests wait and there is none: two minutes, as AWS's guide has it."""
    alarm = Alarm(
        f"{naming.alarms(name)}wake",
        f"Requests wait for {endpoint} and it has no instance",
        _endpoint_metric("HasBacklogWithoutCapacity", endpoint),
        1.0,
        "GreaterThanOrEqualToThreshold",
        periods=2,
        missing="missing",
    )
    return Stepping(f"{name}-wake", (StepRange(1, 0.0, None),), alarm, cooldown_s=300)


def _steps(
    spec: DeploymentSpec, policy: Step, endpoint: str, vcpus: int | None
) -> tuple[Stepping, ...]:
    """Return a policy for the positive changes and one for the negative ones, each with its alarm."""
    metric, factor = _metric(policy, endpoint, vcpus)
    return tuple(_step(spec, policy, metric, way) for way in step_ways(policy, factor))


def _step(spec: DeploymentSpec, policy: Step, metric: Metric, way: StepWay) -> Stepping:
    alarm = Alarm(
        f"{naming.alarms(spec.name)}step-{way.direction}",
        f"{spec.name}: {policy.metric} asks for {'more' if way.direction == 'out' else 'fewer'} instances",
        metric,
        way.threshold,
        way.comparison,
        periods=way.periods,
        missing="missing",
    )
    kinds = {"Maximum": "Maximum", "Minimum": "Minimum"}
    return Stepping(
        f"{spec.name}-step-{way.direction}",
        way.ranges,
        alarm,
        cooldown_s=int(policy.cooldown_s),
        aggregation=kinds.get(metric.statistic, "Average"),
    )


def _action(spec: DeploymentSpec, period: Period) -> ScheduledAction:
    hour, minute = divmod(int(period.start_s // 60), 60)
    name = f"{spec.name}-{hour:02d}{minute:02d}"
    return ScheduledAction(name, f"cron({minute} {hour} * * ? *)", period.instances)
