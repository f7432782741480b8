"""Rules of [scaling]: which policy and which metric a target has, and what both must hold to."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.instances import burstable
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import (
    CUSTOM,
    PROVISIONED,
    Fixed,
    QueueBacklog,
    Step,
    TargetTracking,
)
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

COOLDOWN_S = 300.0
"""AWS's default, and so that of the keys: EC2 has none, which leaves them unsaid."""

COOLDOWNS = ("scale_in_cooldown_s", "scale_out_cooldown_s", "cooldown_s")
MATCH = "deployer: what is said in two places must agree"


def queued(spec: DeploymentSpec) -> bool:
    """Whether requests wait in a queue of AWS's for an instance."""
    target = spec.target
    fleet = isinstance(target, Ec2Fleet) and target.queue is not None
    return fleet or isinstance(target, SageMakerAsync)


@rule(
    "scaling-bounds",
    "scaling.min_instances",
    "scaling.max_instances",
    says="min_instances is at most max_instances.",
    source=MATCH,
)
def bounds(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The bounds must not cross."""
    if not isinstance(spec.scaling, TargetTracking | Step | QueueBacklog):
        return
    low, high = spec.scaling.min_instances, spec.scaling.max_instances
    if low > high:
        yield Wrong("scaling.min_instances", f"{low} is above scaling.max_instances {high}")


@rule(
    "scaling-custom",
    "scaling.metric",
    "scaling.custom",
    says=f"[scaling.custom] goes with metric = {CUSTOM!r}, and only with it.",
    source=MATCH,
)
def custom(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A metric of yours and its table go together."""
    if not isinstance(spec.scaling, TargetTracking | Step):
        return
    metric = spec.scaling.metric
    if (metric == CUSTOM) != (spec.scaling.custom is not None):
        yield Wrong(
            "scaling.custom",
            f"goes with metric = {CUSTOM!r}, and only with it; metric is {metric!r}",
        )


@rule(
    "scaling-custom-target",
    "scaling.target",
    says="A policy that tracks a metric of yours says its target.",
    source="deployer: no profile tells what value of it an instance stands",
)
def custom_target(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Nothing derives a target for a metric of yours."""
    policy = spec.scaling
    if isinstance(policy, TargetTracking) and policy.metric == CUSTOM and policy.target is None:
        yield Wrong("scaling.target", "is missing: nothing derives it for a custom metric")


@rule(
    "batch-scaling",
    "scaling.kind",
    says="A batch target does not scale.",
    source="deployer: a transform job runs on target.instances from its start to its end "
    "(CreateTransformJob, TransformResources.InstanceCount)",
)
def batch(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A job has the instances that it starts with."""
    if isinstance(spec.target, SageMakerBatch) and not isinstance(spec.scaling, Fixed):
        yield Wrong(
            "scaling.kind",
            "a sagemaker-batch target has no fleet to scale",
            "leave out [scaling]; target.instances is the size of each job",
        )


@rule(
    "backlog-queue",
    "scaling.kind",
    says="queue-backlog needs a queue: an asynchronous target, or an EC2 fleet with target.queue.",
    source="SageMaker developer guide, async-inference-autoscale (ApproximateBacklogSizePerInstance); EC2 Auto Scaling "
    "user guide, scaling based on Amazon SQS",
)
def backlog(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Without a queue there is no backlog."""
    if not isinstance(spec.scaling, QueueBacklog) or queued(spec):
        return
    if not isinstance(
        spec.target, SageMakerServerless | SageMakerBatch
    ):  # these scale by no such policy
        yield Wrong(
            "scaling.kind",
            f"queue-backlog has no meaning for a {spec.target.kind} target that has no queue",
            "use sagemaker-async, or an ec2-fleet with [target.queue]",
        )


@rule(
    "queue-metric",
    "scaling.metric",
    says="Where requests wait in a queue there are no invocations and no concurrency to follow.",
    source="CloudWatch: InvocationsPerInstance and ConcurrentRequestsPerModel are of real-time endpoints, "
    "RequestCountPerTarget is of load balancers",
)
def queue_metric(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Requests that wait in a queue are counted there."""
    metric = getattr(spec.scaling, "metric", "")
    if queued(spec) and metric in ("invocations_per_instance", "concurrency"):
        yield Wrong(
            "scaling.metric",
            f"{metric!r} has no meaning for a {spec.target.kind} target whose requests wait in a queue",
            'use kind = "queue-backlog"',
        )


@rule(
    "ec2-cooldown",
    *(f"scaling.{key}" for key in COOLDOWNS),
    says="EC2 Auto Scaling takes no cooldowns for these policies: it waits until instances have warmed up.",
    source="EC2 Auto Scaling, PutScalingPolicy.Cooldown: “Valid only if the policy type is SimpleScaling”",
)
def cooldown(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """What would be ignored is refused; the default counts as unsaid."""
    if not isinstance(spec.target, Ec2Fleet):
        return
    for key in COOLDOWNS:
        if getattr(spec.scaling, key, COOLDOWN_S) != COOLDOWN_S:
            yield Wrong(
                f"scaling.{key}",
                "is not of EC2 Auto Scaling, which waits for new instances to warm up instead",
                "leave it out; target.startup_s is the warm-up",
            )


@rule(
    "metric-range",
    "scaling.target",
    says="A target lies within what its metric can reach: cpu is a percentage, provisioned_concurrency a share of 1.",
    source="Application Auto Scaling, TargetValue: “The value must be a valid number based on the choice of metric”",
)
def metric_range(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A target beyond it is never reached, so the fleet never grows."""
    policy = spec.scaling
    if not isinstance(policy, TargetTracking) or policy.target is None:
        return
    most = {"cpu": 100.0, PROVISIONED: 1.0}.get(policy.metric)
    if most is not None and policy.target > most:
        yield Wrong(
            "scaling.target",
            f"{policy.target:g} is never reached: {policy.metric} ends at {most:g}",
        )


@rule(
    "whole-seconds",
    *(f"scaling.{key}" for key in COOLDOWNS),
    "rollout.bake_s",
    "target.startup_s",
    says="A time that AWS takes as whole seconds is whole.",
    source="the service models: Cooldown, ScaleInCooldown, WaitIntervalInSeconds, TerminationWaitInSeconds, "
    "CheckpointDelay, BakeTime and InstanceWarmup are integers",
)
def whole_seconds(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """What would be cut off silently is refused."""
    if isinstance(spec.target, Local):
        return
    times = {f"scaling.{key}": getattr(spec.scaling, key, 0.0) for key in COOLDOWNS}
    times["rollout.bake_s"] = spec.rollout.bake_s
    if isinstance(spec.target, Ec2Fleet):
        times["target.startup_s"] = spec.target.startup_s  # the warm-up of new instances
    for key, value in times.items():
        if value != int(value):
            yield Wrong(key, f"{value!r} is no whole number of seconds, and AWS takes no other")


@rule(
    "burstable-scaling",
    "target.instance_type",
    "scaling.kind",
    says="A SageMaker endpoint on a burstable type does not scale.",
    source="SageMaker developer guide, endpoint-auto-scaling-add-console: “SageMaker doesn't support auto scaling for "
    "burstable instances such as T2”",
)
def burst(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """AWS refuses to register such a variant."""
    target = spec.target
    if not isinstance(target, SageMakerRealtime | SageMakerAsync) or isinstance(
        spec.scaling, Fixed
    ):
        return
    if burstable(target.instance_type):
        yield Wrong(
            "target.instance_type",
            f"{target.instance_type!r} is burstable: SageMaker does not scale it",
            "choose another type, or leave out [scaling]",
        )


def _cpu_of_sagemaker(spec: DeploymentSpec) -> bool:
    kinds = SageMakerRealtime | SageMakerAsync
    return isinstance(spec.target, kinds) and getattr(spec.scaling, "metric", "") == "cpu"


@rule(
    "cpu-vcpus",
    "scaling.metric",
    "target.instance_type",
    says="cpu on SageMaker needs the vCPUs of the instance type.",
    source="SageMaker developer guide, CloudWatch metrics: CPUUtilization is the sum over the cores, 100% for each; "
    "the specification's target is a share of the instance",
    needs=("vcpus",),
    applies=_cpu_of_sagemaker,
)
def cpu(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The price book is where the vCPUs of a type stand."""
    if not facts.vcpus:
        yield Wrong(
            "scaling.metric",
            "'cpu' needs the vCPUs of the instance type, which the price book does not know: "
            "SageMaker counts 100% for each",
            "use invocations_per_instance",
        )


@rule(
    "fixed-instances",
    "target.instances",
    says="A fleet that does not scale has an instance.",
    source="SageMaker, ProductionVariant.InitialInstanceCount: at least 1; deployer: a fleet that stays at zero serves "
    "nobody",
)
def fixed(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Only a policy can bring the first one later."""
    if isinstance(spec.scaling, Fixed) and spec.target.instances == 0:
        yield Wrong(
            "target.instances",
            "must be at least 1 where nothing scales the fleet",
            "or add [scaling]",
        )


RULES = (
    bounds,
    custom,
    custom_target,
    batch,
    backlog,
    queue_metric,
    cooldown,
    metric_range,
    whole_seconds,
    burst,
    cpu,
    fixed,
)
"""The rules of this area."""
