"""Rules of [rollout]: a part of the fleet that can be cut, and no key that would say what does not happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling, Rollout, waits_s
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import Fixed
from deployer.spec.sizes import bounds
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

Reasons = dict[str, str]
"""Keys of [rollout] without a use, each with why."""


def _percent(rollout: Rollout) -> tuple[str, int]:
    if isinstance(rollout, Rolling):
        return "rollout.batch_percent", rollout.batch_percent
    return "rollout.percent", getattr(rollout, "percent", 0)


@rule(
    "rollout-fleet",
    "rollout.kind",
    says="A canary, a linear shift and a rolling update need a fleet of instances.",
    source="SageMaker developer guide, deployment-guardrails-exclusions: “Serverless inference endpoints”; deployer: a "
    "transform job is not updated, and a serverless endpoint has no fleet to shift traffic between",
)
def fleet(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Serverless and batch have none."""
    target, rollout = spec.target, spec.rollout
    if isinstance(target, SageMakerServerless | SageMakerBatch) and not isinstance(
        rollout, AllAtOnce
    ):
        yield Wrong(
            "rollout.kind",
            f"{rollout.kind!r} needs a fleet of instances; a {target.kind} target has none",
            "leave out [rollout]",
        )


@rule(
    "rollout-part",
    "rollout.kind",
    "rollout.percent",
    "rollout.batch_percent",
    "target.instances",
    "scaling.min_instances",
    says="On SageMaker the part that goes first is whole instances and at most half of the smallest fleet.",
    source="SageMaker, TrafficRoutingConfig.CanarySize: “Value must be less than or equal to 50% of the variant's "
    "total instance count”; LinearStepSize and MaximumBatchSize likewise",
)
def part(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Of one instance no part can be cut."""
    if not isinstance(spec.target, SageMakerRealtime | SageMakerAsync):
        return
    if not isinstance(spec.rollout, Canary | Linear | Rolling):
        return
    smallest, (_, percent) = bounds(spec)[0], _percent(spec.rollout)
    size = -(-smallest * percent // 100)
    if smallest < 2 or 2 * size > smallest:
        yield Wrong(
            "rollout.kind",
            f"{spec.rollout.kind!r} of {percent}% cannot be cut from a fleet of {smallest}: "
            "the part must be a whole instance and at most half of the fleet",
            "raise target.instances and scaling.min_instances to 2 or more, or use all-at-once",
        )


@rule(
    "rollout-part-ec2",
    "rollout.percent",
    "rollout.batch_percent",
    "target.instances",
    "scaling.min_instances",
    says="On EC2 the part that goes first is one instance at least of the smallest fleet.",
    source="deployer: a checkpoint of an instance refresh (RefreshPreferences.CheckpointPercentages) before the first "
    "instance watches nothing",
)
def part_ec2(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A percentage of a small fleet may be no instance."""
    if not isinstance(spec.target, Ec2Fleet):
        return
    if not isinstance(spec.rollout, Canary | Linear | Rolling):
        return
    smallest, (key, percent) = bounds(spec)[0], _percent(spec.rollout)
    if smallest * percent < 100:
        yield Wrong(
            key,
            f"{percent}% of {smallest} instances is none: nothing would go first in a {spec.rollout.kind} rollout",
            "raise it, or the smallest fleet, or use all-at-once",
        )


@rule(
    "rollout-unused",
    *(f"rollout.{item.name}" for item in fields(AllAtOnce)),
    "rollout.batch_percent",
    says="No key of [rollout] stands where the target has no use for it.",
    source="deployer: it would say what does not happen; a key at its default counts as unsaid",
)
def unused(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Refuse each key that the way of the target ignores."""
    reasons = _without_use(spec)
    for item in fields(spec.rollout):
        if item.name in reasons and getattr(spec.rollout, item.name) != item.default:
            yield Wrong(f"rollout.{item.name}", reasons[item.name], "leave it out")


def _without_use(spec: DeploymentSpec) -> Reasons:
    match spec.target:
        case SageMakerServerless() | SageMakerBatch():
            return _of_no_fleet(spec)
        case SageMakerAsync():
            words = "asynchronous failures are counted, not shared out: any one stops the rollout"
            return {"max_error_percent": words}
        case SageMakerRealtime():
            return _of_guard(spec)
        case Ec2Fleet():
            return _of_ec2(spec, spec.target)
        case Local():
            return _of_local(spec, spec.target)


def _of_guard(spec: DeploymentSpec) -> Reasons:
    if spec.rollout.generated_alarms:
        return {}
    return {"max_error_percent": "is of the generated alarms, and generated_alarms is false"}


def _of_no_fleet(spec: DeploymentSpec) -> Reasons:
    words = f"needs a fleet of instances; a {spec.target.kind} target has none"
    found = {item.name: words for item in fields(AllAtOnce)}
    if isinstance(spec.target, SageMakerServerless) and not isinstance(spec.scaling, Fixed):
        del found["retain_capacity"]  # the provisioned concurrency that has scaled is kept
    return found if isinstance(spec.rollout, AllAtOnce) else {}


def _of_ec2(spec: DeploymentSpec, target: Ec2Fleet) -> Reasons:
    found = _of_guard(spec) | {
        "timeout_s": "is of SageMaker; an instance refresh ends by its own waits",
        "retain_capacity": "is of SageMaker; an instance refresh keeps the size of the group",
    }
    if target.queue is not None:
        words = "is of requests; behind a queue a message that was given up stops the rollout"
        found["max_error_percent"] = words
    return found


def _of_local(spec: DeploymentSpec, target: Local) -> Reasons:
    found = _of_guard(spec) | {
        "alarms": "are of CloudWatch; a rollout on this machine asks its servers",
        "timeout_s": "is of SageMaker; a rollout on this machine ends by its own waits",
        "retain_capacity": "is of SageMaker; a fleet of this machine keeps its size",
    }
    if not spec.rollout.bake_s:
        words = "needs rollout.bake_s: what is not watched is not judged"
        found |= {"generated_alarms": words, "max_error_percent": words}
    if not target.balancer:
        words = "needs target.balancer: without one servers are replaced one by one"
        found |= {item.name: words for item in fields(AllAtOnce)} | {"batch_percent": words}
    return found


@rule(
    "rollout-inf1",
    "target.instance_type",
    "rollout.kind",
    "rollout.bake_s",
    "rollout.alarms",
    "rollout.timeout_s",
    says="An endpoint on ml.inf1 is updated all at once, without a watch.",
    source="SageMaker developer guide, deployment-guardrails-exclusions: “Endpoints that use Inf1 (Inferentia-based) "
    "instances ... will fall back to using a blue/green deployment with all at once traffic shifting and no final "
    "baking period”",
)
def inf1(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """What AWS would not do is refused."""
    target, rollout = spec.target, spec.rollout
    if not isinstance(target, SageMakerRealtime | SageMakerAsync):
        return
    if not target.instance_type.startswith("ml.inf1."):
        return
    words = "is a deployment guardrail, and SageMaker has none on ml.inf1"
    if not isinstance(rollout, AllAtOnce):
        yield Wrong("rollout.kind", f"{rollout.kind!r} {words}", "use all-at-once, or ml.inf2")
        return
    for key in ("bake_s", "alarms", "timeout_s"):
        if getattr(rollout, key):
            yield Wrong(f"rollout.{key}", words, "leave it out, or use ml.inf2")


@rule(
    "rollout-timeout",
    "rollout.timeout_s",
    "rollout.bake_s",
    says="On SageMaker timeout_s is longer than all that a rollout waits by itself.",
    source="SageMaker, BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds: “the timeout value should be larger "
    "than the total waiting time”; RollingUpdatePolicy: “Exceeding this limit causes a timeout”",
)
def timeout(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A rollout that cannot end in time is rolled back each time."""
    limit, waits = spec.rollout.timeout_s, waits_s(spec.rollout)
    if not isinstance(spec.target, SageMakerRealtime | SageMakerAsync) or limit is None:
        return
    if limit <= waits:
        yield Wrong(
            "rollout.timeout_s",
            f"{limit} is not longer than the {waits:g} s that the {spec.rollout.kind} rollout waits",
            "raise it, lower rollout.bake_s, or leave it out",
        )


RULES = (fleet, part, part_ec2, unused, inf1, timeout)
"""The rules of this area."""
