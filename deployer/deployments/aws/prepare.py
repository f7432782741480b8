"""What planning works out before AWS is asked, alike for both targets: from a specification and its bundle's file."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from deployer.bundle import bundle as bundles
from deployer.bundle.bundle import Bundle
from deployer.deployments.facts import facts_of
from deployer.errors import InputError
from deployer.spec import images, naming, rules
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.instances import architecture
from deployer.spec.placeholders import BUNDLE, IMAGE, IMAGE_TAG
from deployer.spec.resolved import Image, Place, Role, Statement

_ACCOUNT = re.compile(r"[0-9]{12}")


def ready(spec: DeploymentSpec, p99_s: float | None = None) -> DeploymentSpec:
    """Return the specification with the whole path of its bundle. Raises RuleBroken for one that breaks a rule.

    ``p99_s`` is the measured 99th percentile, seconds.
    """
    rules.require(spec, facts_of(spec, p99_s=p99_s))
    return replace(spec, bundle=str(Path(spec.bundle).resolve()))


def opened(spec: DeploymentSpec, service: str) -> Bundle:
    """Return the bundle, verified. Raises InputError for none, or for a folder, which ``service`` cannot take."""
    path = Path(spec.bundle)
    bundle = bundles.open_bundle(path)
    if path.is_dir():
        raise InputError(
            f"{spec.bundle!r} is a folder; deploying to {service} takes the archive",
            hint="name the .tar.gz that `deployer package` wrote",
        )
    return bundle


def tags(spec: DeploymentSpec, digest: str, version: str, expires: str) -> dict[str, str]:
    """Return the tags of everything that is made; ``expires`` is an ISO time or empty."""
    found = {
        **spec.tags,
        naming.NAME_TAG: spec.name,
        naming.DIGEST_TAG: digest[: naming.SHORT],
        naming.VERSION_TAG: version,
        **({naming.EXPIRES_TAG: expires} if expires else {}),
    }
    return dict(sorted(found.items()))


def expiry(now: datetime, ttl_s: float | None) -> str:
    """Return when a deployment's time is over, in ISO; empty where it stays."""
    return "" if ttl_s is None else (now + timedelta(seconds=ttl_s)).isoformat(timespec="seconds")


def role(name: str, given: str, place: Place, statements: tuple[Statement, ...]) -> Role:
    """Return the role: the ARN that is ``given``, which exists, else one to be made with ``statements``."""
    if given:
        return Role(given.rpartition("/")[2], given, made=False)
    own = naming.role(name, place.region)
    arn = f"arn:{place.partition}:iam::{place.account}:role/{own}"
    return Role(own, arn, made=True, statements=statements)


def offline_place(account: str, region: str, wanted: str) -> Place:
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


def opened_if_there(spec: DeploymentSpec, service: str) -> Bundle | None:
    """Return the bundle, verified; None while its file is not there."""
    return opened(spec, service) if Path(spec.bundle).exists() else None


def offline_image(spec: DeploymentSpec, place: Place) -> Image:
    """Return the image: by its digest when the specification says it, else an address that stands for it."""
    uri = spec.target.image_uri
    wanted = architecture(spec.target.instance_type)
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
