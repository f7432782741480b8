"""The checks of a fleet's plan that ask nobody: what would fail after something was made is an error here."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from deployer.deployments.sagemaker.checks import Check
from deployer.errors import InputError, NotSupported, SpecError
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import ZONES
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.target import Ec2Fleet
from inference_code.contract import REQUIREMENTS_PATH


def check_spec(spec: DeploymentSpec, book: PriceBook) -> Ec2Fleet:
    """Return the target. Raises SpecError or NotSupported for what the specification alone shows."""
    target = spec.target
    if not isinstance(target, Ec2Fleet):
        raise InputError(f"{spec.name!r} is no ec2-fleet")
    names = [target.instance_type, *(row.instance_type for row in target.types)]
    for name in names:
        shape = book.shape(name)
        if shape is not None and shape.accelerator:
            raise NotSupported(
                f"target.instance_type: fleets with graphics cards ({name} has {shape.accelerator}) are "
                "not there yet",
                hint="choose a type without one, or a SageMaker target",
            )
    certificate = target.listener.certificate_arn if target.listener else ""
    for key, arn in (
        ("target.listener.certificate_arn", certificate),
        ("target.kms_key_arn", target.kms_key_arn),
    ):
        region = arn.split(":")[3] if arn else target.region
        if region != target.region:
            raise SpecError(key, f"is of {region}, the fleet is in {target.region}")
    return target


def check_worker(bundle: Path) -> None:
    """Raise InputError for a bundle whose image would hold no boto3, with which a worker asks its queue.

    It is no part of the serving code's own requirements: a server behind a load balancer calls no AWS.
    """
    with tarfile.open(bundle) as archive:
        member = archive.extractfile(REQUIREMENTS_PATH)
        text = member.read().decode() if member is not None else ""
    if not re.search(r"^boto3(?![\w.-])", text, re.MULTILINE | re.IGNORECASE):
        raise InputError(
            f"target.queue: {bundle.name} does not require boto3, with which a worker asks its queue",
            hint="package it again with --requirements FILE, in which stands boto3 and its version",
        )


def stated(resolved: ResolvedFleet) -> Iterator[Check]:
    """Yield what the document alone shows."""
    drain = resolved.drain
    words = f"{drain.notice_s} + {drain.delay_s} + {drain.server_s} = {drain.total_s} s of {drain.limit_s}"
    yield Check("drain", "ok", f"{words} (notice, load balancer, server); {drain.basis}")
    yield from _listener(resolved)
    yield from _capacity(resolved)


def _listener(resolved: ResolvedFleet) -> Iterator[Check]:
    listener = resolved.target.listener
    if listener is None:
        return
    if not listener.allow_cidrs:
        words = "nobody may call: target.listener.allow_cidrs is empty"
        yield Check("load balancer", "note", words)
    elif listener.protocol == "http":
        yield Check("load balancer", "note", "plain HTTP, as asked: requests travel unencrypted")
    if "0.0.0.0/0" in listener.allow_cidrs:
        yield Check("load balancer", "note", "open to the world, as asked")


def _capacity(resolved: ResolvedFleet) -> Iterator[Check]:
    if not resolved.queue and resolved.least < ZONES:
        yield Check(
            "capacity", "note", f"{resolved.least} instance: none is left when it or its zone fails"
        )
