"""A plan without AWS: what needs no call is resolved, the rest is a placeholder and said to be unchecked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deployer.bundle.bundle import Bundle
from deployer.deployments.sagemaker import checks, prepare
from deployer.deployments.sagemaker.checks import Check
from deployer.deployments.sagemaker.plan import SageMakerPlan
from deployer.deployments.sagemaker.resolve import Asked
from deployer.errors import InputError
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec import images
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.instances import architecture
from deployer.spec.placeholders import BUNDLE, IMAGE, IMAGE_TAG
from deployer.spec.resolved import Image, Place, Resolved
from deployer.spec.target import SageMakerBatch

_ACCOUNT = re.compile(r"[0-9]{12}")


def plan(
    spec: DeploymentSpec,
    book: PriceBook,
    place: Place,
    *,
    asked: Asked = Asked(),  # noqa: B008  # frozen
    run: Run | None = None,
) -> SageMakerPlan:
    """Resolve ``spec`` for ``place`` and check what needs no call; nothing in AWS is looked at.

    ``run`` is what traffic would be like, which prices what follows it. Raises RuleBroken or InputError.
    """
    spec = prepare.ready(spec)
    bundle = opened(spec, "SageMaker")
    draft = prepare.draft(spec, bundle, book, asked)
    image = image_of(spec, place)
    document, predicted = draft.priced(place, image, book, run)
    resolved = replace(document, placeholders=missing(image, bundle))
    return SageMakerPlan(resolved, (), tuple(_notes(resolved)), predicted, offline=True)


def place_of(account: str, region: str, wanted: str) -> Place:
    """Return where a target in ``region`` would go. ``wanted`` is a region that was asked for, or empty.

    Raises InputError for an account that is none, and for another region than the target's.
    """
    if not _ACCOUNT.fullmatch(account):
        raise InputError(
            f"{account!r} is no AWS account",
            hint="offline nobody tells it: give its 12 digits with --account",
        )
    if wanted and wanted != region:
        raise InputError(
            f"region {wanted!r} is asked for; target.region is {region!r}",
            hint="leave --region out, or correct target.region",
        )
    return Place(account, region, "target.region")


def opened(spec: DeploymentSpec, service: str) -> Bundle | None:
    """Return the bundle, verified; None while its file is not there."""
    return prepare.opened(spec, service) if Path(spec.bundle).exists() else None


def image_of(spec: DeploymentSpec, place: Place) -> Image:
    """Return the image: by its digest when the specification says it, else an address that stands for it."""
    uri = str(getattr(spec.target, "image_uri", ""))
    wanted = architecture(getattr(spec.target, "instance_type", "ml.c5.large"))
    if not uri:
        host = f"{place.account}.dkr.ecr.{place.region}.amazonaws.com"
        return Image(f"{host}/{images.repository(spec.name)}:{IMAGE_TAG}", "", wanted)
    digest = uri.partition("@sha256:")[2]
    if digest and images.ECR_URI.fullmatch(uri):
        uri = images.pinned(uri, digest)
    return Image(uri, digest, wanted)


def missing(image: Image, bundle: Bundle | None) -> tuple[str, ...]:
    """Return the placeholders among image and bundle. An image outside ECR is taken as it is named, online too."""
    looked_up = not image.digest and images.ECR_URI.fullmatch(image.uri)
    return (*((IMAGE,) if looked_up else ()), *(() if bundle else (BUNDLE,)))


def unchecked(subject: str, words: str) -> Check:
    """Return the note about one thing that only AWS could tell."""
    return Check(subject, "note", f"not checked offline: {words}")


def ground(image: Image, source: str, placeholders: tuple[str, ...]) -> Iterator[Check]:
    """Yield what is to be said of image and bundle; ``source`` is the bundle's path."""
    if IMAGE in placeholders:
        words = f"{image.uri} is a placeholder for its digest, which names are made of"
    else:
        words = f"whether {image.uri} is there and for {image.architecture}"
    yield unchecked("image", words)
    if BUNDLE in placeholders:
        words = f"{source} is not there: a digest of zeros stands for it"
        yield unchecked("bundle", words)


def rest(role: str, made: bool, alarms: tuple[str, ...]) -> Iterator[Check]:
    """Yield what is to be said of role, permissions, alarms and what exists."""
    yield unchecked("permissions", "whether you may do what deploying does")
    if not made:
        yield unchecked("role", f"whether {role} is there")
    if alarms:
        yield unchecked("alarms", f"whether {', '.join(alarms)} are there and none fires")
    yield unchecked("what exists", "so no change is listed")


def _notes(resolved: Resolved) -> Iterator[Check]:
    spec = resolved.spec
    yield from ground(resolved.image, resolved.artifact.source, resolved.placeholders)
    instance_type = getattr(spec.target, "instance_type", "")
    if instance_type:
        use = "transform jobs" if isinstance(spec.target, SageMakerBatch) else "endpoints"
        yield unchecked("instance type", f"whether SageMaker has {instance_type} for {use}")
        most = checks.most_instances(resolved)
        yield unchecked("quota", f"whether it allows {most} {instance_type} for {use}")
    yield from rest(resolved.role.arn, resolved.role.made, spec.rollout.alarms)
