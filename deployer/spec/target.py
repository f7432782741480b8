"""Where a model runs. ``startup_s`` and ``cold_start_s`` are assumptions until measured on AWS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from deployer.errors import SpecError
from deployer.spec import checks
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


@dataclass(frozen=True)
class Local:
    """Server processes on this machine."""

    kind: ClassVar[str] = "local"
    instances: int = 1
    port: int = 8080

    def __post_init__(self) -> None:
        checks.between("target.instances", self.instances, 1, 64)
        checks.between("target.port", self.port, 1, 65535)


@dataclass(frozen=True)
class SageMakerRealtime(EndpointHosting):
    """A real-time endpoint. ``startup_s``: from the scaling decision to the first request served.

    No AWS figure for CPU instances is published; practitioners report 5 to 10 minutes for GPU ones.
    ``routing`` chooses the instance for a request, at random unless said otherwise.
    """

    kind: ClassVar[str] = "sagemaker-realtime"
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
        if self.provisioned_concurrency > self.max_concurrency:
            raise SpecError(
                "target.provisioned_concurrency",
                f"{self.provisioned_concurrency} is above target.max_concurrency",
            )
        checks.between("target.cold_start_s", self.cold_start_s, 0, 180)
        checks.between("target.idle_s", self.idle_s, 0, 86400)


@dataclass(frozen=True)
class SageMakerAsync(EndpointHosting):
    """An asynchronous endpoint: requests and answers travel through S3."""

    kind: ClassVar[str] = "sagemaker-async"
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
        if self.model_data == "files":
            raise SpecError("target.model_data", "batch transform takes a tar only")
        if self.volume_gb is not None:
            raise SpecError("target.volume_gb", "batch transform chooses its storage itself")
        s3_uri("target.input_s3_uri", self.input_s3_uri)
        s3_uri("target.output_s3_uri", self.output_s3_uri)
        checks.one_of("target.strategy", self.strategy, STRATEGIES)
        checks.one_of("target.split", self.split, SPLITS)
        checks.one_of("target.assemble", self.assemble, ASSEMBLIES)
        checks.at_least("target.max_concurrent", self.max_concurrent, 1)
        if self.max_payload_mb * self.max_concurrent > 100:
            raise SpecError(
                "target.max_concurrent",
                f"{self.max_concurrent} requests of {self.max_payload_mb} MB are more than 100 MB",
            )


@dataclass(frozen=True)
class Ec2Fleet:
    """An EC2 Auto Scaling group behind an Application Load Balancer.

    ``volume_gb`` is the gp3 root volume of each instance; ``alb_ipv4`` the public addresses of the load
    balancer, assumed 2 (one a subnet) because AWS does not say how many it bills.
    """

    kind: ClassVar[str] = "ec2-fleet"
    instance_type: str
    region: str = "us-east-1"
    instances: int = 1
    volume_gb: int = 20
    alb_ipv4: int = 2
    startup_s: float = 120.0

    def __post_init__(self) -> None:
        checks.instance_type("target.instance_type", self.instance_type, sagemaker=False)
        checks.one_of("target.region", self.region, checks.REGIONS)
        checks.between("target.instances", self.instances, 1, 1000)
        checks.between("target.volume_gb", self.volume_gb, 8, 16384)
        checks.between("target.alb_ipv4", self.alb_ipv4, 0, 16)
        checks.between("target.startup_s", self.startup_s, 0, 3600)


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
