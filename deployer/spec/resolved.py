"""Resolved: a specification and all that planning determined; both routes to SageMaker take it verbatim.

``resolved.json`` is written by ``deployer plan`` and read by ``deployer deploy`` and by the stacks. Nothing
in it is looked up again: names, digests, the numbers of scaling and alarms are as they stand here. Times in
seconds; words of CloudWatch and Application Auto Scaling (statistics, comparisons, dimensions) are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deployer.errors import DeployerError, InputError
from deployer.spec import records, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.records import QUIET

SCHEMA_VERSION = 1
VARIANT = "AllTraffic"
"""The one variant of an endpoint: the name must stay the same from one config to the next."""

INSTANCE_COUNT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED_CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"


@dataclass(frozen=True)
class Place:
    """The account and region, each with where they were read; ``profile`` of the credentials, if named."""

    account: str
    region: str
    region_source: str
    partition: str = "aws"
    profile: str = ""


@dataclass(frozen=True)
class Image:
    """``uri`` ends in ``@sha256:...`` when ``digest`` is known; ``architecture`` is x86_64 or arm64."""

    uri: str
    digest: str = ""
    architecture: str = "x86_64"


@dataclass(frozen=True)
class Artifact:
    """The bundle in S3. ``key`` is an object (a tar) or, with ``files``, a prefix that ends in ``/``.

    ``digest`` is the bundle's, in hex; ``source`` the local path it is uploaded from.
    """

    bucket: str
    key: str
    digest: str
    files: bool
    source: str

    @property
    def s3_uri(self) -> str:
        """The address that SageMaker is given."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Statement:
    """One permission of the execution role; ``conditions`` maps ``Operator/key`` to a value."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), metadata=QUIET
    )

    def to_json(self) -> dict[str, Any]:
        """Return it as a policy document of IAM holds it."""
        row: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        for where, value in sorted(self.conditions.items()):
            operator, _, key = where.partition("/")
            row.setdefault("Condition", {}).setdefault(operator, {})[key] = value
        return row


@dataclass(frozen=True)
class Role:
    """The execution role. ``made``: the deployment makes it, with ``statements``; else it exists."""

    name: str
    arn: str
    made: bool
    statements: tuple[Statement, ...] = field(default=(), metadata=QUIET)


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric. ``statistic`` may be a percentile such as ``p99``."""

    namespace: str
    name: str
    statistic: str
    dimensions: Mapping[str, str]
    unit: str = field(default="", metadata=QUIET)


@dataclass(frozen=True)
class Input:
    """One metric of an expression, under a name."""

    id: str
    metric: Metric


@dataclass(frozen=True)
class Expression:
    """A value that CloudWatch computes by ``expression`` from ``inputs``: metric math."""

    label: str
    expression: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Alarm:
    """A CloudWatch alarm on a metric or on an expression.

    ``missing`` is TreatMissingData; ``low_samples`` that of percentiles.
    """

    name: str
    description: str
    metric: Metric | Expression
    threshold: float
    comparison: str = "GreaterThanThreshold"
    period_s: int = 60
    periods: int = 1
    missing: str = "notBreaching"
    low_samples: str = field(default="", metadata=QUIET)


@dataclass(frozen=True)
class Tracking:
    """A target-tracking policy on a predefined metric type, or on ``metric``; EC2's have no cooldowns."""

    name: str
    target: float
    in_cooldown_s: int | None = None
    out_cooldown_s: int | None = None
    predefined: str = field(default="", metadata=QUIET)
    metric: Metric | Expression | None = None


@dataclass(frozen=True)
class StepRange:
    """Between the bounds (distance of the metric from the alarm's threshold) capacity changes by ``change``."""

    change: int
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Stepping:
    """A step policy and the alarm that sets it off. ``aggregation``: Average, Minimum or Maximum.

    EC2's have no cooldown.
    """

    name: str
    ranges: tuple[StepRange, ...]
    alarm: Alarm
    cooldown_s: int | None = None
    aggregation: str = "Average"


@dataclass(frozen=True)
class ScheduledAction:
    """At ``schedule`` (a cron expression, UTC) capacity is set to ``capacity``: both bounds."""

    name: str
    schedule: str
    capacity: int


@dataclass(frozen=True, kw_only=True)
class Policies:
    """What changes the size of a fleet. ``basis`` says where the target value is from."""

    basis: str
    tracking: tuple[Tracking, ...] = field(default=(), metadata=QUIET)
    stepping: tuple[Stepping, ...] = field(default=(), metadata=QUIET)
    schedules: tuple[ScheduledAction, ...] = field(default=(), metadata=QUIET)


@dataclass(frozen=True, kw_only=True)
class Scaling(Policies):
    """The scalable target of the variant, with its policies."""

    dimension: str
    min_capacity: int
    max_capacity: int


@dataclass(frozen=True)
class Resolved:
    """The whole specification and what planning determined.

    ``model_name`` and ``config_name`` end in a hash of all that they hold; ``endpoint_name`` stays. A batch
    target has neither config nor endpoint: both are empty. ``instances`` is what a new fleet starts with.
    ``alarms`` are made; ``rollback_alarms`` names all that stop a rollout. ``retain_capacity`` is for
    updates: a fixed fleet takes the new count. ``expires`` is an ISO time or empty. ``placeholders`` names what was
    not looked up: nothing can be made of such a document.
    """

    spec: DeploymentSpec
    place: Place
    image: Image
    artifact: Artifact
    role: Role
    model_name: str
    config_name: str
    endpoint_name: str
    tags: Mapping[str, str]
    instances: int = 1
    capture_s3_uri: str = field(default="", metadata=QUIET)
    output_s3_uri: str = field(default="", metadata=QUIET)
    failure_s3_uri: str = field(default="", metadata=QUIET)
    scaling: Scaling | None = None
    alarms: tuple[Alarm, ...] = field(default=(), metadata=QUIET)
    rollback_alarms: tuple[str, ...] = field(default=(), metadata=QUIET)
    retain_capacity: bool = field(default=False, metadata=QUIET)
    rollout_timeout_s: int | None = None
    expires: str = field(default="", metadata=QUIET)
    placeholders: tuple[str, ...] = field(default=(), metadata=QUIET)

    @property
    def resource_id(self) -> str:
        """The variant as Application Auto Scaling names it."""
        return f"endpoint/{self.endpoint_name}/variant/{VARIANT}"

    def to_json(self) -> dict[str, Any]:
        """Return the resolved.json document."""
        data = records.plain(replace(self, spec=None))  # type: ignore[arg-type]
        spec = serde.to_dict(self.spec)
        return {"schema_version": SCHEMA_VERSION, "spec": spec, **data}


def from_json(data: Any) -> Resolved:
    """Build a Resolved from its document. Raises InputError, or SpecError naming the key."""
    if not isinstance(data, Mapping):
        raise InputError("it must be an object")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"schema_version is {data.get('schema_version')!r}, not {SCHEMA_VERSION}")
    return records.read(
        Resolved,
        "",
        {k: v for k, v in data.items() if k != "schema_version"},
        readers={DeploymentSpec: serde.from_dict},
    )


def load(path: Path) -> Resolved:
    """Read resolved.json. Raises InputError naming the file and the key."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except DeployerError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {str(path)!r} as resolved.json: {error}",
            hint="`deployer plan deployment.toml --resolved resolved.json` writes one",
        ) from error
