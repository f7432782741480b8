"""Where a model runs. ``startup_s`` and ``cold_start_s`` are assumptions until measured on AWS.

What a target has not is a class variable that says so (no region, no instance type, one instance): whoever holds any
target may ask it, and only what is a field is a key of the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.fleet import (
    FleetNetwork,
    FleetQueue,
    FleetType,
    Health,
    Listener,
    Spot,
    WarmPool,
    ami,
)
from deployer.spec.hosting import (
    ROUTINGS,
    AsyncOutput,
    Capture,
    EndpointHosting,
    Hosting,
    InstanceHosting,
    s3_uri,
)
from deployer.spec.records import QUIET

STRATEGIES = ("multi-record", "single-record")
SPLITS = ("none", "line", "recordio", "tfrecord")
ASSEMBLIES = ("none", "line")
SERVERLESS_MEMORY_MB = (1024, 2048, 3072, 4096, 5120, 6144)
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653)
"""For how many days CloudWatch Logs can keep a log."""


@dataclass(frozen=True)
class Local:
    """Server processes on this machine.

    With ``balancer`` HAProxy listens on ``port`` and the servers behind it on the ports that follow; such a fleet
    scales and rolls out as in the cloud. Scaling looks every ``period_s``; left out, as often as AWS does: every
    60 s, 10 s for concurrency.
    """

    kind: ClassVar[str] = "local"
    region: ClassVar[str] = ""
    instance_type: ClassVar[str] = ""
    image_uri: ClassVar[str] = ""
    role_arn: ClassVar[str] = ""
    kms_key_arn: ClassVar[str] = ""
    bucket: ClassVar[str] = ""
    model_data: ClassVar[str] = "tar"
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    metrics: ClassVar[None] = None
    queue: ClassVar[None] = None
    instances: int = 1
    port: int = 8080
    balancer: bool = field(default=False, metadata=QUIET)
    period_s: float | None = None

    def __post_init__(self) -> None:
        checks.between("target.instances", self.instances, 1, 64)
        checks.between("target.port", self.port, 1, 65535)
        if self.period_s is not None:
            checks.between("target.period_s", self.period_s, 0.5, 3600)


@dataclass(frozen=True)
class SageMakerRealtime(EndpointHosting):
    """A real-time endpoint. ``startup_s``: from the scaling decision to the first request served.

    No AWS figure for CPU instances is published; practitioners report 5 to 10 minutes for GPU ones.
    ``routing`` chooses the instance for a request, at random unless said otherwise.
    """

    kind: ClassVar[str] = "sagemaker-realtime"
    queue: ClassVar[None] = None
    balancer: ClassVar[bool] = False
    instance_type: str
    region: str = "us-east-1"
    instances: int = 1
    startup_s: float = 300.0
    routing: str = field(default="random", metadata=QUIET)
    capture: Capture | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("target.routing", self.routing, ROUTINGS)
        checks.instance_type("target.instance_type", self.instance_type, sagemaker=True)
        checks.one_of("target.region", self.region, checks.REGIONS)
        checks.between("target.instances", self.instances, 1, 1000)
        checks.between("target.startup_s", self.startup_s, 0, 3600)


@dataclass(frozen=True)
class SageMakerServerless(Hosting):
    """A serverless endpoint: billed per millisecond of work, scales to zero, starts cold.

    ``cold_start_s`` and ``idle_s`` (how long an idle container is kept) are not published by AWS.
    """

    kind: ClassVar[str] = "sagemaker-serverless"
    queue: ClassVar[None] = None
    balancer: ClassVar[bool] = False
    instance_type: ClassVar[str] = ""
    instances: ClassVar[int] = 1
    model_data: ClassVar[str] = "tar"
    metrics: ClassVar[None] = None
    region: str = "us-east-1"
    memory_mb: int = 2048
    max_concurrency: int = 20
    provisioned_concurrency: int = 0
    cold_start_s: float = 5.0
    idle_s: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("target.region", self.region, checks.REGIONS)
        if self.memory_mb not in SERVERLESS_MEMORY_MB:
            known = ", ".join(map(str, SERVERLESS_MEMORY_MB))
            checks.one_of("target.memory_mb", str(self.memory_mb), tuple(known.split(", ")))
        checks.between("target.max_concurrency", self.max_concurrency, 1, 200)
        checks.between("target.provisioned_concurrency", self.provisioned_concurrency, 0, 200)
        checks.between("target.cold_start_s", self.cold_start_s, 0, 180)
        checks.between("target.idle_s", self.idle_s, 0, 86400)


@dataclass(frozen=True)
class SageMakerAsync(EndpointHosting):
    """An asynchronous endpoint: requests and answers travel through S3."""

    kind: ClassVar[str] = "sagemaker-async"
    queue: ClassVar[None] = None
    balancer: ClassVar[bool] = False
    instance_type: str
    region: str = "us-east-1"
    instances: int = 1
    max_concurrent: int = 4
    startup_s: float = 300.0
    output: AsyncOutput = field(default=AsyncOutput(), metadata=QUIET)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance_type("target.instance_type", self.instance_type, sagemaker=True)
        checks.one_of("target.region", self.region, checks.REGIONS)
        checks.between("target.instances", self.instances, 0, 1000)
        checks.between("target.max_concurrent", self.max_concurrent, 1, 1000)
        checks.between("target.startup_s", self.startup_s, 0, 3600)


@dataclass(frozen=True)
class SageMakerBatch(InstanceHosting):
    """Batch transform jobs over objects in S3. ``input_s3_uri`` and ``output_s3_uri`` may come with the job.

    ``strategy`` packs as many records into a request as fit, or one; ``split`` cuts an object into records,
    ``assemble`` joins their answers. ``max_concurrent`` requests at a time to one instance; with the
    payload's limit it may not come to more than 100 MB.
    """

    kind: ClassVar[str] = "sagemaker-batch"
    queue: ClassVar[None] = None
    balancer: ClassVar[bool] = False
    metrics: ClassVar[None] = None
    instance_type: str
    region: str = "us-east-1"
    instances: int = 1
    max_payload_mb: int = 6
    input_s3_uri: str = field(default="", metadata=QUIET)
    output_s3_uri: str = field(default="", metadata=QUIET)
    content_type: str = field(default="", metadata=QUIET)
    accept: str = field(default="", metadata=QUIET)
    strategy: str = field(default="multi-record", metadata=QUIET)
    split: str = field(default="none", metadata=QUIET)
    assemble: str = field(default="none", metadata=QUIET)
    max_concurrent: int = field(default=1, metadata=QUIET)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance_type("target.instance_type", self.instance_type, sagemaker=True)
        checks.one_of("target.region", self.region, checks.REGIONS)
        checks.between("target.instances", self.instances, 1, 100)
        checks.between("target.max_payload_mb", self.max_payload_mb, 1, 100)
        s3_uri("target.input_s3_uri", self.input_s3_uri)
        s3_uri("target.output_s3_uri", self.output_s3_uri)
        checks.one_of("target.strategy", self.strategy, STRATEGIES)
        checks.one_of("target.split", self.split, SPLITS)
        checks.one_of("target.assemble", self.assemble, ASSEMBLIES)
        checks.at_least("target.max_concurrent", self.max_concurrent, 1)


@dataclass(frozen=True)
class Ec2Fleet(Hosting):
    """An EC2 Auto Scaling group behind an Application Load Balancer, or behind a queue.

    ``volume_gb`` is the encrypted gp3 root volume of each instance; ``alb_ipv4`` the public addresses of the
    load balancer, assumed 2 (one a subnet) because AWS does not say how many it bills. ``types`` are all that
    the group may use, ``instance_type`` among them. ``ami_id`` left out is the newest Amazon Linux 2023.
    ``image_uri``, ``role_arn`` and the others are those of every hosting. Requests come in by ``listener`` or by
    ``queue``: one of them must be said.
    """

    kind: ClassVar[str] = "ec2-fleet"
    balancer: ClassVar[bool] = False
    model_data: ClassVar[str] = "tar"
    metrics: ClassVar[None] = None
    instance_type: str
    region: str = "us-east-1"
    instances: int = 1
    volume_gb: int = 20
    alb_ipv4: int = 2
    startup_s: float = 120.0
    ami_id: str = field(default="", metadata=QUIET)
    log_days: int = field(default=30, metadata=QUIET)
    types: tuple[FleetType, ...] = field(default=(), metadata=QUIET)
    spot: Spot | None = None
    warm_pool: WarmPool | None = None
    network: FleetNetwork = field(default=FleetNetwork(), metadata=QUIET)
    listener: Listener | None = None
    queue: FleetQueue | None = None
    health: Health = field(default=Health(), metadata=QUIET)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance_type("target.instance_type", self.instance_type, sagemaker=False)
        checks.one_of("target.region", self.region, checks.REGIONS)
        checks.between("target.instances", self.instances, 0, 1000)
        checks.between("target.volume_gb", self.volume_gb, 8, 16384)
        checks.between("target.alb_ipv4", self.alb_ipv4, 0, 16)
        checks.between("target.startup_s", self.startup_s, 0, 3600)
        ami("target.ami_id", self.ami_id)
        if self.log_days not in LOG_DAYS:
            known = ", ".join(map(str, LOG_DAYS))
            raise SpecError("target.log_days", f"{self.log_days} is not one of {known}")


Target = (
    Local | SageMakerRealtime | SageMakerServerless | SageMakerAsync | SageMakerBatch | Ec2Fleet
)
TARGETS: dict[str, type[Target]] = {
    kind.kind: kind
    for kind in (
        Local,
        SageMakerRealtime,
        SageMakerServerless,
        SageMakerAsync,
        SageMakerBatch,
        Ec2Fleet,
    )
}
