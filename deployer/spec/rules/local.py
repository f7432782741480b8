"""Rules of the target ``local``: what servers of one machine can do."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import PROVISIONED, Fixed, Step, TargetTracking
from deployer.spec.sizes import bounds
from deployer.spec.target import Local

METRICS = ("invocations_per_instance", "concurrency")
"""What a fleet of this machine measures."""

LAST_PORT = 65535


@rule(
    "local-balancer",
    "target.balancer",
    "scaling.kind",
    "rollout.kind",
    says="On this machine, scaling, a canary and a linear shift need target.balancer.",
    source="deployer: without one each server has a port of its own, and clients choose",
)
def balancer(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Without a balancer there are target.instances servers, replaced one by one."""
    target = spec.target
    if not isinstance(target, Local) or target.balancer:
        return
    for key, kind, known in (
        ("scaling", spec.scaling, isinstance(spec.scaling, Fixed)),
        ("rollout", spec.rollout, isinstance(spec.rollout, AllAtOnce | Rolling)),
    ):
        if not known:
            yield Wrong(
                f"{key}.kind",
                f"{kind.kind!r} needs target.balancer on target 'local'",
                f"set target.balancer = true, or leave out [{key}]",
            )


@rule(
    "local-linear",
    "rollout.kind",
    says="A linear shift is not there yet on this machine.",
    source="deployer: a fleet here knows all-at-once, rolling and canary",
)
def linear(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """It is there in AWS."""
    target = spec.target
    if isinstance(target, Local) and target.balancer and isinstance(spec.rollout, Linear):
        yield Wrong(
            "rollout.kind", "'linear' is not there yet for target 'local'", "use rolling or canary"
        )


@rule(
    "local-metric",
    "scaling.metric",
    says=f"On this machine a policy follows {' or '.join(METRICS)}.",
    source="deployer: that is what the servers count",
)
def metric(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A metric of CloudWatch's is not there."""
    if not isinstance(spec.target, Local) or not isinstance(spec.scaling, TargetTracking | Step):
        return
    if spec.scaling.metric not in (*METRICS, PROVISIONED):  # that one breaks a rule of its own
        yield Wrong(
            "scaling.metric",
            f"{spec.scaling.metric!r} is not measured on this machine",
            f"use one of {', '.join(METRICS)}",
        )


@rule(
    "local-target",
    "scaling.target",
    says="On this machine target tracking says its target.",
    source="deployer: a local fleet derives none",
)
def tracked(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A fleet that runs has no profile at hand."""
    policy = spec.scaling
    if not isinstance(spec.target, Local) or not isinstance(policy, TargetTracking):
        return
    if policy.target is None and policy.custom is None:
        yield Wrong("scaling.target", "is missing: a local fleet derives none")


@rule(
    "local-ports",
    "target.port",
    says=f"All servers of this machine get a port, the last of them at most {LAST_PORT}.",
    source="deployer: servers take the ports from target.port up; behind a balancer twice the most, as a rollout "
    "starts new ones beside the old",
)
def ports(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The range must end before the ports do."""
    target = spec.target
    if not isinstance(target, Local):
        return
    last = target.port + (2 * max(1, bounds(spec)[1]) if target.balancer else target.instances - 1)
    if last > LAST_PORT:
        yield Wrong(
            "target.port",
            f"the servers from {target.port} up need ports to {last}",
            "choose a lower one",
        )


@rule(
    "local-canary",
    "rollout.kind",
    "target.instances",
    says="A canary on this machine needs two servers at least.",
    source="deployer: of one server no part can be replaced",
)
def canary(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """With one server a canary would be all at once."""
    target = spec.target
    if not isinstance(target, Local) or not isinstance(spec.rollout, Canary) or not target.balancer:
        return
    least, _ = bounds(spec)
    if least < 2:
        yield Wrong(
            "rollout.kind",
            f"'canary' cannot be cut from a fleet of {least}",
            "raise target.instances or scaling.min_instances to 2 or more, or use rolling",
        )


RULES = (balancer, linear, metric, tracked, ports, canary)
"""The rules of this area."""
