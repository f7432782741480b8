"""What a SageMaker target may say beyond its instances; every key may be left out.

Times in seconds, sizes in GB. Limits are those of SageMaker's service model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.records import QUIET

ROUTINGS = ("random", "least-outstanding")
MODEL_DATA = ("tar", "files")
SCRAPE_PERIODS_S = (10, 30, 60, 120, 180, 240, 300)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENV_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def s3_uri(key: str, value: str) -> None:
    """Refuse what is not ``s3://BUCKET/KEY``; empty is left out."""
    if value and (len(value) > 512 or not _S3.fullmatch(value)):
        raise SpecError(
            key, f"{value!r} is not an S3 address", hint="write it like s3://bucket/key"
        )


def arn(key: str, value: str, service: str) -> None:
    """Refuse what is not an ARN of the service; empty is left out."""
    if value and (not _ARN.fullmatch(value) or value.split(":")[2] != service):
        raise SpecError(key, f"{value!r} is not an ARN of {service}")


@dataclass(frozen=True)
class Network:
    """Where the container's network interfaces lie. ``isolated``: it may make no call to anything.

    ``subnets`` and ``security_groups`` go together; without them SageMaker's own network is used.
    """

    subnets: tuple[str, ...] = field(default=(), metadata=QUIET)
    security_groups: tuple[str, ...] = field(default=(), metadata=QUIET)
    isolated: bool = field(default=False, metadata=QUIET)

    def __post_init__(self) -> None:
        for key, most in (("subnets", 16), ("security_groups", 5)):
            checks.between(f"target.network.{key}", len(getattr(self, key)), 0, most)


@dataclass(frozen=True)
class Capture:
    """Keep ``percent`` of the requests and answers under ``s3_uri`` (left out: in the bundle's bucket)."""

    percent: int
    s3_uri: str = field(default="", metadata=QUIET)

    def __post_init__(self) -> None:
        checks.between("target.capture.percent", self.percent, 1, 100)
        s3_uri("target.capture.s3_uri", self.s3_uri)


@dataclass(frozen=True)
class Metrics:
    """What SageMaker publishes of an endpoint's containers.

    ``enhanced``: metrics by instance and container; ``scrape``: those of the server's own ``/metrics``;
    both every ``period_s``.
    """

    enhanced: bool = True
    scrape: bool = True
    period_s: int = 60

    def __post_init__(self) -> None:
        if self.period_s not in SCRAPE_PERIODS_S:
            known = ", ".join(map(str, SCRAPE_PERIODS_S))
            raise SpecError("target.metrics.period_s", f"{self.period_s} is not one of {known}")


@dataclass(frozen=True)
class AsyncOutput:
    """Where answers and failures of an asynchronous endpoint go, and whom SNS tells.

    Left out, answers go to the bundle's bucket.
    """

    s3_uri: str = field(default="", metadata=QUIET)
    failure_s3_uri: str = field(default="", metadata=QUIET)
    success_topic_arn: str = field(default="", metadata=QUIET)
    error_topic_arn: str = field(default="", metadata=QUIET)

    def __post_init__(self) -> None:
        for key in ("s3_uri", "failure_s3_uri"):
            s3_uri(f"target.output.{key}", getattr(self, key))
        for key in ("success_topic_arn", "error_topic_arn"):
            arn(f"target.output.{key}", getattr(self, key), "sns")


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """What every SageMaker target may say.

    ``image_uri``: left out, the newest image of the repository ``deployer/NAME``. ``role_arn``: left out,
    a role with just the needed permissions is made. ``bucket``: left out, ``deployer-ACCOUNT-REGION``.
    ``environment`` reaches the container; SageMaker takes at most 100 entries of 1024 characters.
    """

    image_uri: str = field(default="", metadata=QUIET)
    role_arn: str = field(default="", metadata=QUIET)
    kms_key_arn: str = field(default="", metadata=QUIET)
    bucket: str = field(default="", metadata=QUIET)
    environment: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), metadata=QUIET
    )

    def __post_init__(self) -> None:
        if self.image_uri and (len(self.image_uri) > 255 or re.search(r"\s", self.image_uri)):
            raise SpecError("target.image_uri", f"{self.image_uri!r} is no name of an image")
        arn("target.role_arn", self.role_arn, "iam")
        arn("target.kms_key_arn", self.kms_key_arn, "kms")
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            raise SpecError("target.bucket", f"{self.bucket!r} is no name of a bucket")
        checks.between("target.environment", len(self.environment), 0, 100)
        for name, value in self.environment.items():
            if not _ENV_NAME.fullmatch(name) or len(name) > 1024 or len(value) > 1024:
                raise SpecError(
                    f"target.environment.{name}", "is no variable of at most 1024 characters"
                )


@dataclass(frozen=True, kw_only=True)
class InstanceHosting(Hosting):
    """What every SageMaker target on instances may say.

    ``model_data`` ``files`` stores the bundle's files one by one instead of a tar: a change of code alone
    then moves no weights. ``volume_gb`` is the storage of an instance type without its own.
    """

    model_data: str = field(default="tar", metadata=QUIET)
    volume_gb: int | None = None
    network: Network | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("target.model_data", self.model_data, MODEL_DATA)
        if self.volume_gb is not None:
            checks.between("target.volume_gb", self.volume_gb, 1, 512)


@dataclass(frozen=True, kw_only=True)
class EndpointHosting(InstanceHosting):
    """What an endpoint on instances may say; a timeout left out is SageMaker's default."""

    health_check_timeout_s: int | None = None
    download_timeout_s: int | None = None
    metrics: Metrics | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("health_check_timeout_s", "download_timeout_s"):
            if (value := getattr(self, key)) is not None:
                checks.between(f"target.{key}", value, 60, 3600)
