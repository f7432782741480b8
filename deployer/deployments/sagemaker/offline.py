"""A plan without AWS: what needs no call is resolved, the rest is a placeholder and said to be unchecked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from deployer.deployments.aws.checks import ground, profiled, rest, unchecked
from deployer.deployments.aws.prepare import missing, offline_image, opened_if_there, ready
from deployer.deployments.backend import Asked
from deployer.deployments.plan import Check, Plan, resolving
from deployer.deployments.sagemaker import checks, prepare
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.placeholders import BUNDLE
from deployer.spec.resolved import Place, Resolved
from deployer.spec.target import SageMakerBatch

_ACCOUNT = re.compile(r"[0-9]{12}")


def plan(
    spec: DeploymentSpec,
    book: PriceBook,
    place: Place,
    *,
    asked: Asked = Asked(),  # noqa: B008  # frozen
    run: Run | None = None,
) -> Plan[Resolved]:
    """Resolve ``spec`` for ``place`` and check what needs no call; nothing in AWS is looked at.

    ``run`` is what traffic would be like, which prices what follows it. Raises RuleBroken or InputError.
    """
    spec = ready(spec)
    bundle = opened_if_there(spec, "SageMaker")
    draft = prepare.draft(spec, bundle, book, asked)
    image = offline_image(spec, place)
    document, predicted = draft.priced(place, image, book, run)
    resolved = replace(document, placeholders=missing(image, bundle))
    return resolving(resolved, (), _notes(resolved, asked), predicted, offline=True)


def _notes(resolved: Resolved, asked: Asked) -> Iterator[Check]:
    spec = resolved.spec
    yield from ground(resolved.image, resolved.artifact.source, resolved.placeholders)
    instance_type = spec.target.instance_type
    if instance_type:
        use = "transform jobs" if isinstance(spec.target, SageMakerBatch) else "endpoints"
        yield unchecked("instance type", f"whether SageMaker has {instance_type} for {use}")
        most = checks.most_instances(resolved)
        yield unchecked("quota", f"whether it allows {most} {instance_type} for {use}")
    yield from rest(resolved.role.arn, resolved.role.made, spec.rollout.alarms)
    if BUNDLE not in resolved.placeholders:
        yield from profiled(asked, resolved.artifact.digest)
