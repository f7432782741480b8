"""What an EC2 fleet may say beyond its instances; every key may be left out.

Times in seconds, sizes in GB. Limits are those of the services' own models.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.hosting import arn
from deployer.spec.records import QUIET

PUBLIC, NAT, ENDPOINTS = "public", "nat", "endpoints"
EGRESS = (PUBLIC, NAT, ENDPOINTS)
HTTPS, HTTP = "https", "http"
POOL_STATES = ("stopped", "running")
ZONES = 2
"""Availability zones of a new network: the fewest that a load balancer takes."""

ENDPOINT_SERVICES = (
    "autoscaling",
    "cloudformation",
    "ecr.api",
    "ecr.dkr",
    "logs",
    "ssm",
    "ssmmessages",
)
"""What instances call that must be reached without the internet; S3 has a gateway, which costs nothing."""

KEEP_ALIVE_S = 75
"""How long the server keeps an idle connection; a load balancer must let go of it before."""

_VPC = re.compile(r"vpc-[0-9a-f]{8,17}")
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")
_AMI = re.compile(r"ami-[0-9a-f]{8,17}")


def ami(key: str, value: str) -> None:
    """Refuse what is not the id of a machine image; empty is left out."""
    if value and not _AMI.fullmatch(value):
        raise SpecError(
            key, f"{value!r} is no id of a machine image", hint="write it like ami-0a1b"
        )


@dataclass(frozen=True)
class FleetNetwork:
    """Where the fleet lies: in a new VPC, or in ``subnets`` of the one that ``vpc_id`` names.

    ``egress`` is how instances reach S3, ECR and CloudWatch. In a new VPC ``public`` gives them a public
    address in two public subnets, ``nat`` puts them in private subnets behind ``nat_gateways``, ``endpoints``
    in private subnets that reach AWS's services and nothing else. In an existing VPC that way must be there
    already, and ``public`` only gives them a public address. The load balancer lies in ``balancer_subnets``;
    left out, in ``subnets``.
    """

    egress: str = PUBLIC
    vpc_id: str = field(default="", metadata=QUIET)
    subnets: tuple[str, ...] = field(default=(), metadata=QUIET)
    balancer_subnets: tuple[str, ...] = field(default=(), metadata=QUIET)
    cidr: str = field(default="10.0.0.0/16", metadata=QUIET)
    nat_gateways: int = field(default=1, metadata=QUIET)

    def __post_init__(self) -> None:
        checks.one_of("target.network.egress", self.egress, EGRESS)
        if self.vpc_id and not _VPC.fullmatch(self.vpc_id):
            raise SpecError("target.network.vpc_id", f"{self.vpc_id!r} is no id of a VPC")
        for key in ("subnets", "balancer_subnets"):
            for subnet in getattr(self, key):
                if not _SUBNET.fullmatch(subnet):
                    raise SpecError(f"target.network.{key}", f"{subnet!r} is no id of a subnet")
        block = network_block("target.network.cidr", self.cidr)
        if not 16 <= block.prefixlen <= 24:
            raise SpecError("target.network.cidr", f"{self.cidr!r} must lie between /16 and /24")
        checks.between("target.network.nat_gateways", self.nat_gateways, 1, ZONES)

    @property
    def made(self) -> bool:
        """Whether the VPC is made."""
        return not self.vpc_id

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of a new VPC's four subnets: two public, two private."""
        whole = network_block("target.network.cidr", self.cidr)
        return tuple(str(block) for block in whole.subnets(prefixlen_diff=2))


def endpoint_services(queue: bool) -> tuple[str, ...]:
    """Return the services that get an interface endpoint; a worker calls SQS too."""
    return (*ENDPOINT_SERVICES, "sqs") if queue else ENDPOINT_SERVICES


def network_block(key: str, value: str) -> ipaddress.IPv4Network:
    """Return a block of IPv4 addresses such as 10.0.0.0/16. Raises SpecError."""
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise SpecError(key, f"{value!r} is no block of IPv4 addresses: {error}") from None


@dataclass(frozen=True)
class Listener:
    """Where requests come in. HTTPS needs ``certificate_arn``; HTTP must be asked for by ``protocol``.

    Closed to everybody but ``allow_cidrs``. ``deregistration_delay_s`` left out follows the objective.
    ``access_logs`` go to a bucket that is made and kept for ``target.log_days``.
    """

    protocol: str = HTTPS
    certificate_arn: str = field(default="", metadata=QUIET)
    allow_cidrs: tuple[str, ...] = field(default=(), metadata=QUIET)
    internal: bool = field(default=False, metadata=QUIET)
    idle_timeout_s: int = field(default=60, metadata=QUIET)
    deregistration_delay_s: int | None = None
    access_logs: bool = field(default=True, metadata=QUIET)

    def __post_init__(self) -> None:
        checks.one_of("target.listener.protocol", self.protocol, (HTTPS, HTTP))
        arn("target.listener.certificate_arn", self.certificate_arn, "acm")
        for block in self.allow_cidrs:
            network_block("target.listener.allow_cidrs", block)
        checks.between("target.listener.idle_timeout_s", self.idle_timeout_s, 1, 4000)
        if self.idle_timeout_s >= KEEP_ALIVE_S:
            raise SpecError(
                "target.listener.idle_timeout_s",
                f"{self.idle_timeout_s} is not below the server's keep-alive of {KEEP_ALIVE_S} s: "
                "requests would meet connections that it has just closed",
            )
        if self.deregistration_delay_s is not None:
            delay = self.deregistration_delay_s
            checks.between("target.listener.deregistration_delay_s", delay, 0, 3600)


@dataclass(frozen=True)
class FleetType:
    """One of several instance types. ``weight`` is how many units of capacity one instance counts for."""

    instance_type: str
    weight: int = 1

    def __post_init__(self) -> None:
        checks.instance_type("target.types.instance_type", self.instance_type, sagemaker=False)
        checks.between("target.types.weight", self.weight, 1, 999)


@dataclass(frozen=True)
class Spot:
    """Use spot capacity above ``on_demand_base`` units, but for ``on_demand_percent`` of what is above.

    Instances that AWS is likely to take back are replaced early (capacity rebalancing).
    """

    on_demand_base: int = 1
    on_demand_percent: int = 0

    def __post_init__(self) -> None:
        checks.between("target.spot.on_demand_base", self.on_demand_base, 0, 1000)
        checks.between("target.spot.on_demand_percent", self.on_demand_percent, 0, 100)


@dataclass(frozen=True)
class WarmPool:
    """Keep at least ``size`` instances started once and waiting, ``stopped`` or ``running``."""

    size: int = 1
    state: str = "stopped"

    def __post_init__(self) -> None:
        checks.between("target.warm_pool.size", self.size, 0, 1000)
        checks.one_of("target.warm_pool.state", self.state, POOL_STATES)


@dataclass(frozen=True)
class Health:
    """How /ping is asked, and how long a new instance may take until it answers 200."""

    interval_s: int = 10
    timeout_s: int = 5
    healthy: int = 2
    unhealthy: int = 2
    boot_timeout_s: int = 600

    def __post_init__(self) -> None:
        checks.between("target.health.interval_s", self.interval_s, 5, 300)
        checks.between("target.health.timeout_s", self.timeout_s, 2, 120)
        for key in ("healthy", "unhealthy"):
            checks.between(f"target.health.{key}", getattr(self, key), 2, 10)
        checks.between("target.health.boot_timeout_s", self.boot_timeout_s, 60, 7200)


@dataclass(frozen=True)
class FleetQueue:
    """An SQS queue in place of the load balancer; after ``max_receives`` a message is a dead letter.

    ``visibility_s`` is how long a message that a worker has taken is hidden; it extends it while it works.
    Results go to ``results_s3_uri``; left out, under the deployment's prefix in its bucket.
    """

    visibility_s: int = 60
    max_receives: int = 3
    retention_s: int = 4 * 86400
    results_s3_uri: str = field(default="", metadata=QUIET)

    def __post_init__(self) -> None:
        checks.between("target.queue.visibility_s", self.visibility_s, 10, 43200)
        checks.between("target.queue.max_receives", self.max_receives, 1, 1000)
        checks.between("target.queue.retention_s", self.retention_s, 60, 1209600)
