"""What AWS says of the account before a fleet is made, held against its document: reads only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployer.aws.metrics import CloudWatch
from deployer.aws.quotas import quota
from deployer.aws.roles import Roles
from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.deployments.aws import images
from deployer.deployments.aws.checks import given_alarms, given_role
from deployer.deployments.ec2 import checks, quotas
from deployer.deployments.plan import Check
from deployer.errors import SpecError
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
    """Return the container image pinned by its digest.

    Raises InputError for none, SpecError for one of another processor than the instances have.
    """
    image, architectures = images.find(aws, spec.name, target.image_uri, target.instance_type)
    if architectures and image.architecture not in architectures:
        raise SpecError(
            "target.instance_type",
            f"{target.instance_type!r} has {image.architecture}; the image runs on "
            f"{', '.join(architectures)}: the container would end with an exec format error",
            hint="build it for that processor, or choose another instance family",
        )
    return image


def check(aws: Aws, resolved: ResolvedFleet, book: PriceBook) -> tuple[Check, ...]:
    """Return what was checked against AWS's answers. Raises DeployerError for the first that is wrong."""
    vcpus = quotas.check(resolved, book, lambda code: quota(aws, "ec2", code))
    return (*_facts(aws, resolved), *vcpus)


def _facts(aws: Aws, resolved: ResolvedFleet) -> Iterator[Check]:
    image = resolved.image
    pinned = "" if image.digest else "; not pinned: it has no digest"
    yield Check(
        "image", "ok" if image.digest else "note", f"{image.uri} on {image.architecture}{pinned}"
    )
    yield from checks.stated(resolved)
    role = resolved.role
    given_role(role, there=role.made or Roles(aws).role(role.name) is not None)
    yield _types(aws, resolved)
    yield from _subnets(aws, resolved)
    yield _alarms(aws, resolved)


def _types(aws: Aws, resolved: ResolvedFleet) -> Check:
    """The instance types: AWS knows each in this region. Raises SpecError naming the key of the first it does not."""
    target = resolved.target
    rows = [
        (f"target.types[{i}].instance_type", r.instance_type) for i, r in enumerate(target.types)
    ]
    rows = rows or [("target.instance_type", target.instance_type)]
    client = aws.client("ec2")
    for key, name in rows:
        with translated(f"asking for the instance type {name}"):
            try:
                client.describe_instance_types(InstanceTypes=[name])
            except ClientError as error:
                if code_of(error) != "InvalidInstanceType":
                    raise
                problem = f"{name!r} is no instance type that EC2 has in {aws.region}"
                raise SpecError(key, problem, hint="correct its name") from error
    return Check("instance type", "ok", f"{', '.join(name for _, name in rows)} known to EC2")


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
    rows = CloudWatch(aws).named_alarms(given)
    given_alarms(given, {str(r["AlarmName"]): str(r.get("StateValue", "")) for r in rows})
    made = len(resolved.rollback_alarms) - len(given)
    words = f"{made} generated, {len(given)} of yours, none of yours fires"
    return Check("alarms", "ok" if resolved.rollback_alarms else "note", words)
