"""The checks of a fleet's plan: what would fail after something was made is an error here; reads only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployer.aws import images
from deployer.aws.metrics import CloudWatch
from deployer.aws.quotas import quota
from deployer.aws.roles import Roles
from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.deployments.ec2 import quotas
from deployer.deployments.sagemaker.checks import Check
from deployer.errors import DeployerError, InputError, SpecError
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import ZONES
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.instances import architecture
from deployer.spec.resolved import Image
from deployer.spec.target import Ec2Fleet

AMI_PARAMETER = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
"""Where AWS publishes the id of the newest Amazon Linux 2023, by processor."""


def find_ami(aws: Aws, target: Ec2Fleet) -> str:
    """Return the machine image: what is said, else the newest Amazon Linux 2023. Raises EnvironmentProblem."""
    if target.ami_id:
        return target.ami_id
    name = AMI_PARAMETER.format(architecture(target.instance_type))
    with translated(f"asking for the newest Amazon Linux ({name})"):
        answer = aws.client("ssm").get_parameter(Name=name)
    return str(answer["Parameter"]["Value"])


def find_image(aws: Aws, spec: DeploymentSpec, target: Ec2Fleet) -> Image:
    """Return the container image pinned by its digest. Raises InputError, or DeployerError for another

    processor than the instances have.
    """
    wanted = architecture(target.instance_type)
    repository = f"deployer/{spec.name.lower()}"
    uri = target.image_uri or images.newest(aws, repository)
    if uri is None:
        raise InputError(
            f"there is no image in the ECR repository {repository!r} in {aws.region}",
            hint="push one with `deployer image push`, or name one with target.image_uri",
        )
    if not images.ECR_URI.fullmatch(uri):
        return Image(uri, uri.partition("@sha256:")[2], wanted)
    found = images.find(aws, uri)
    if found is None:
        raise InputError(f"there is no image {uri}", hint="push it, or correct target.image_uri")
    if found.architectures and wanted not in found.architectures:
        raise SpecError(
            "target.instance_type",
            f"{target.instance_type!r} has {wanted}; the image runs on "
            f"{', '.join(found.architectures)}: the container would end with an exec format error",
            hint="build it for that processor, or choose another instance family",
        )
    return Image(found.uri, found.digest, wanted)


def check_facts(aws: Aws, resolved: ResolvedFleet, book: PriceBook) -> tuple[Check, ...]:
    """Return what was checked against AWS's answers. Raises DeployerError for the first that is wrong."""
    vcpus = quotas.check(resolved, book, lambda code: quota(aws, "ec2", code))
    return (*_facts(aws, resolved), *vcpus)


def _facts(aws: Aws, resolved: ResolvedFleet) -> Iterator[Check]:
    image = resolved.image
    pinned = "" if image.digest else "; not pinned: it has no digest"
    yield Check(
        "image", "ok" if image.digest else "note", f"{image.uri} on {image.architecture}{pinned}"
    )
    drain = resolved.drain
    words = f"{drain.notice_s} + {drain.delay_s} + {drain.server_s} = {drain.total_s} s of {drain.limit_s}"
    yield Check("drain", "ok", f"{words} (notice, load balancer, server); {drain.basis}")
    yield from _listener(resolved)
    yield from _capacity(resolved)
    if not resolved.role.made and Roles(aws).role(resolved.role.name) is None:
        raise InputError(f"there is no role {resolved.role.arn}", hint="correct target.role_arn")
    yield from _subnets(aws, resolved)
    yield _alarms(aws, resolved)


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


def _subnets(aws: Aws, resolved: ResolvedFleet) -> Iterator[Check]:
    """The subnets of a VPC that is there: in it, and in two zones for the load balancer."""
    network = resolved.target.network
    if network.made:
        return
    balancer = network.balancer_subnets or network.subnets
    wanted = tuple(dict.fromkeys((*network.subnets, *balancer)))
    with translated("describing the subnets"):
        try:
            rows: Any = aws.client("ec2").describe_subnets(SubnetIds=list(wanted))["Subnets"]
        except ClientError as error:
            if code_of(error) != "InvalidSubnetID.NotFound":
                raise
            raise SpecError("target.network.subnets", f"AWS says: {error}") from error
    for row in rows:
        if row["VpcId"] != network.vpc_id:
            raise SpecError(
                "target.network.subnets",
                f"{row['SubnetId']} is in {row['VpcId']}, not in {network.vpc_id}",
            )
    zones = {row["AvailabilityZone"] for row in rows if row["SubnetId"] in balancer}
    if resolved.target.listener is not None and len(zones) < ZONES:
        raise SpecError("target.network.balancer_subnets", "must lie in two availability zones")
    yield Check("network", "ok", f"{len(wanted)} subnets of {network.vpc_id} in {len(zones)} zones")


def _alarms(aws: Aws, resolved: ResolvedFleet) -> Check:
    given = resolved.spec.rollout.alarms
    states = {str(r["AlarmName"]): r.get("StateValue") for r in CloudWatch(aws).named_alarms(given)}
    missing = [name for name in given if name not in states]
    if missing:
        raise SpecError("rollout.alarms", f"there is no alarm {missing[0]!r}", hint="make it first")
    firing = [name for name, state in states.items() if state == "ALARM"]
    if firing:
        raise DeployerError(
            f"alarm {firing[0]!r} fires now: it would stop the rollout at once",
            hint="look at it first, or leave it out of rollout.alarms",
        )
    made = len(resolved.rollback_alarms) - len(given)
    words = f"{made} generated, {len(given)} of yours, none of yours fires"
    return Check("alarms", "ok" if resolved.rollback_alarms else "note", words)
