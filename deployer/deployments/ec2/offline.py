"""A fleet's plan without AWS: what needs no call is resolved, the rest is a placeholder and said to be unchecked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from deployer.bundle.bundle import Bundle
from deployer.deployments.aws import prepare
from deployer.deployments.aws.checks import ground, profiled, rest, unchecked
from deployer.deployments.backend import Asked
from deployer.deployments.ec2 import checks, inventory, quotas
from deployer.deployments.ec2.resolve import resolve
from deployer.deployments.plan import Check, Plan, resolving
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.placeholders import AMI, AMI_ID, BUNDLE_DIGEST
from deployer.spec.resolved import Place
from inference_code.contract import ServingConfig


def plan(
    spec: DeploymentSpec,
    book: PriceBook,
    place: Place,
    *,
    asked: Asked,
    run: Run | None = None,
) -> Plan[ResolvedFleet]:
    """Resolve ``spec`` for ``place`` and check what needs no call; nothing in AWS is looked at.

    ``run`` is what traffic would be like, which prices what follows it. Raises RuleBroken or InputError.
    """
    target = checks.fleet_of(spec)
    spec = prepare.ready(spec, asked.p99_s)
    bundle = prepare.opened_if_there(spec, "EC2")
    image = prepare.offline_image(spec, place)
    document = resolve(
        spec,
        place,
        image,
        bundle.digest if bundle else BUNDLE_DIGEST,
        bundle.manifest.serving if bundle else ServingConfig(),
        target.ami_id or AMI_ID,
        asked=asked,
        now=datetime.now(UTC),
    )
    found = (*prepare.missing(image, bundle), *(() if target.ami_id else (AMI,)))
    resolved = replace(document, placeholders=found)
    own = () if bundle is None else profiled(asked, bundle.digest)
    notes = (*_notes(resolved, book, bundle), *own)
    return resolving(resolved, (), notes, inventory.predict(resolved, book, run), offline=True)


def _notes(resolved: ResolvedFleet, book: PriceBook, bundle: Bundle | None) -> Iterator[Check]:
    yield from ground(resolved.image, resolved.artifact.source, resolved.placeholders)
    if bundle is None:
        words = f"the bundle's drain_s: {ServingConfig().drain_s:g} s are taken for it"
        yield unchecked("drain", words)
    yield from checks.stated(resolved)
    if AMI in resolved.placeholders:
        words = f"{resolved.ami_id} is a placeholder for the newest Amazon Linux 2023"
    else:
        words = f"whether {resolved.ami_id} is there"
    yield unchecked("machine image", words)
    network = resolved.target.network
    if not network.made:
        yield unchecked("network", f"whether its subnets are in {network.vpc_id}")
    vcpus = " and ".join(f"{need.most} vCPUs" for need in quotas.needs(resolved, book))
    yield unchecked("quota", f"whether it allows {vcpus or resolved.target.instance_type}")
    yield from rest(resolved.role.arn, resolved.role.made, resolved.spec.rollout.alarms)
