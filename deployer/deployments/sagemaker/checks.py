"""The checks of a plan: pure, over what is resolved, what AWS said and the price book.

What the specification alone shows stands in the rule book; here are the facts of an account. What would fail after
something was made is an error, what could not be asked is a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deployer.deployments.aws.checks import given_alarms, given_role
from deployer.deployments.plan import Check
from deployer.errors import DeployerError, SpecError
from deployer.spec.resolved import Resolved
from deployer.spec.target import SageMakerBatch, SageMakerRealtime

if TYPE_CHECKING:
    from deployer.deployments.sagemaker.facts import (
        Facts,
    )  # which imports boto3: a plan can do without


def check_facts(resolved: Resolved, facts: Facts) -> tuple[Check, ...]:
    """Return what was checked against AWS's answers. Raises DeployerError for the first that is wrong."""
    return tuple(_facts(resolved, facts))


def _facts(resolved: Resolved, facts: Facts) -> Iterator[Check]:
    target = resolved.spec.target
    instance_type = target.instance_type
    if instance_type:
        if instance_type not in facts.instance_types:
            raise SpecError(
                "target.instance_type",
                f"{instance_type!r} is not in SageMaker's list for {target.kind}",
                hint="a newer boto3 may know it: pip install -U boto3",
            )
        yield Check("instance type", "ok", f"{instance_type} in SageMaker's list")
        yield _quota(resolved, instance_type, facts)
    yield _architecture(resolved, facts)
    yield from _role(resolved, facts)
    given_alarms(resolved.spec.rollout.alarms, facts.alarms)
    made = len(resolved.alarms)
    if made or facts.alarms:
        yield Check("alarms", "ok", f"{made} generated, {len(facts.alarms)} of yours, none fires")
    elif isinstance(target, SageMakerRealtime):
        yield Check("alarms", "note", "none: a bad version would not be rolled back")


def most_instances(resolved: Resolved) -> int:
    """Return the largest fleet of the deployment, without a rollout."""
    most = resolved.scaling.max_capacity if resolved.scaling else 0
    return max(resolved.instances, most)


def _quota(resolved: Resolved, instance_type: str, facts: Facts) -> Check:
    batch = isinstance(resolved.spec.target, SageMakerBatch)
    use = "transform job usage" if batch else "endpoint usage"
    name = f"{instance_type} for {use}"
    if facts.quotas is None:
        return Check("quota", "note", f"{name}: not checked, service-quotas cannot be asked")
    quota = facts.quotas.get(name)
    if quota is None:
        return Check("quota", "note", f"{name}: not checked, no such quota is listed")
    most = most_instances(resolved)
    if most > quota:
        raise DeployerError(
            f"the quota {name!r} is {quota:g}; this deployment may need {most}",
            hint="ask AWS for more under Service Quotas, or lower the bounds",
        )
    double = not batch and resolved.instances * 2 > quota
    word = " (an update needs two fleets at once: it may not fit)" if double else ""
    return Check("quota", "note" if double else "ok", f"{most} of {quota:g} {name}{word}")


def _architecture(resolved: Resolved, facts: Facts) -> Check:
    wanted = resolved.image.architecture
    pinned = "" if resolved.image.digest else ", not pinned: it has no digest"
    if not facts.image_architectures:
        return Check("image", "note", f"{resolved.image.uri}: processor not checked{pinned}")
    if wanted not in facts.image_architectures:
        raise DeployerError(
            f"the image runs on {', '.join(facts.image_architectures)}, the instances have {wanted}: "
            "the container would end with an exec format error",
            hint="build it for that processor, or choose another instance family",
        )
    return Check("image", "ok", f"{resolved.image.uri} runs on {wanted}{pinned}")


def _role(resolved: Resolved, facts: Facts) -> Iterator[Check]:
    role = resolved.role
    given_role(role, there=facts.role_exists)
    if facts.refused is None:
        yield Check("permissions", "note", f"whether you may pass {role.name}: not checked")
    elif facts.refused:
        raise DeployerError(
            f"you may not {' and '.join(facts.refused)} on {role.arn}",
            hint="ask for the permission; `deployer doctor --policy` prints the documents",
        )
    else:
        yield Check("permissions", "ok", f"you may pass {role.name} to SageMaker")


def route(stack: str, *, there: bool) -> tuple[Check, ...]:
    """Return which route made what is there: the other one refuses it."""
    if stack:
        words = f"made by the stack {stack}: `cdk deploy` updates it, `deployer deploy` refuses"
        return (Check("route", "note", words),)
    if there:
        words = "made by `deployer deploy`: `cdk deploy` would find its names taken"
        return (Check("route", "ok", words),)
    return ()
