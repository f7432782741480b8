"""ResolvedFleet: a specification of an EC2 fleet and all that planning determined; the stack takes it verbatim.

It is the ``resolved.json`` of an ``ec2-fleet`` target. Times in seconds. The full names of a load balancer and
of its target group are known only when they are made: a dimension says ``{LoadBalancer}`` or ``{TargetGroup}``
in their place, and the stack puts them in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer.errors import DeployerError, InputError
from deployer.spec import naming, records, serde
from deployer.spec import resolved as sagemaker
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.records import QUIET
from deployer.spec.resolved import (
    Alarm,
    Artifact,
    Image,
    Metric,
    Place,
    Resolved,
    Role,
    ScheduledAction,
    StepRange,
)
from deployer.spec.target import Ec2Fleet

SCHEMA_VERSION = 1
LOAD_BALANCER = "{LoadBalancer}"
TARGET_GROUP = "{TargetGroup}"


@dataclass(frozen=True)
class Input:
    """One metric of a computed one, under a name."""

    id: str
    metric: Metric


@dataclass(frozen=True)
class Computed:
    """A value that CloudWatch computes by ``expression`` from ``inputs``."""

    label: str
    expression: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class ComputedAlarm:
    """An alarm on a computed value; ``missing`` is TreatMissingData."""

    name: str
    description: str
    value: Computed
    threshold: float
    comparison: str = "GreaterThanThreshold"
    period_s: int = 60
    periods: int = 1
    missing: str = "notBreaching"


@dataclass(frozen=True)
class FleetTracking:
    """A target-tracking policy on a predefined metric type, a metric, or a computed value."""

    name: str
    target: float
    predefined: str = field(default="", metadata=QUIET)
    metric: Metric | None = None
    value: Computed | None = None


@dataclass(frozen=True)
class FleetStepping:
    """A step policy and the alarm that sets it off, on a metric or on a computed value."""

    name: str
    ranges: tuple[StepRange, ...]
    alarm: Alarm | None = None
    computed: ComputedAlarm | None = None


@dataclass(frozen=True)
class FleetScaling:
    """The policies of the group. ``basis`` says where the target value is from."""

    basis: str
    tracking: tuple[FleetTracking, ...] = field(default=(), metadata=QUIET)
    stepping: tuple[FleetStepping, ...] = field(default=(), metadata=QUIET)
    schedules: tuple[ScheduledAction, ...] = field(default=(), metadata=QUIET)


@dataclass(frozen=True)
class Refresh:
    """The instance refresh that brings a new version in; percentages are of the group.

    New instances come before old ones go, so ``least_percent`` is 100 unless the group has a warm-up of 0.
    After each of ``checkpoints`` it waits for ``checkpoint_delay_s``; an alarm stops it and CloudFormation
    brings the version before back.
    """

    least_percent: int
    most_percent: int
    warmup_s: int
    bake_s: int = 0
    checkpoints: tuple[int, ...] = field(default=(), metadata=QUIET)
    checkpoint_delay_s: int = 0


@dataclass(frozen=True)
class DrainBudget:
    """What one countdown from the wish to stop to the exit adds up to.

    ``notice_s`` until the load balancer sees that /ping fails, ``delay_s`` for what it has under way, ``server_s``
    what the server has for the rest. ``limit_s`` is what AWS gives: 110 s with spot.
    """

    notice_s: int
    delay_s: int
    server_s: int
    limit_s: int
    basis: str

    @property
    def total_s(self) -> int:
        """Seconds in all."""
        return self.notice_s + self.delay_s + self.server_s

    @property
    def stop_s(self) -> int:
        """Seconds from SIGTERM to the exit: a server told before the load balancer goes on taking requests."""
        return self.notice_s + self.server_s


@dataclass(frozen=True)
class ResolvedFleet:
    """The whole specification and what planning determined.

    ``group``, ``log_group`` and ``queue`` (empty behind a load balancer) are names. ``least`` and ``most`` bound
    the group, which starts with the least; both are units of capacity where types have weights. ``serve`` are
    the arguments of the container. ``rollback_alarms`` names all that stop a rollout. ``expires`` is an ISO
    time or empty. ``placeholders`` names what was not looked up: nothing can be made of such a document.
    """

    spec: DeploymentSpec
    place: Place
    image: Image
    artifact: Artifact
    role: Role
    ami_id: str
    group: str
    log_group: str
    tags: Mapping[str, str]
    least: int
    most: int
    drain: DrainBudget
    refresh: Refresh
    serve: tuple[str, ...]
    environment: Mapping[str, str]
    queue: str = field(default="", metadata=QUIET)
    results_s3_uri: str = field(default="", metadata=QUIET)
    scaling: FleetScaling | None = None
    alarms: tuple[Alarm, ...] = field(default=(), metadata=QUIET)
    computed_alarms: tuple[ComputedAlarm, ...] = field(default=(), metadata=QUIET)
    rollback_alarms: tuple[str, ...] = field(default=(), metadata=QUIET)
    expires: str = field(default="", metadata=QUIET)
    placeholders: tuple[str, ...] = field(default=(), metadata=QUIET)

    @property
    def target(self) -> Ec2Fleet:
        """The specification's target."""
        assert isinstance(self.spec.target, Ec2Fleet)
        return self.spec.target

    @property
    def stack(self) -> str:
        """The name of the CloudFormation stack."""
        return naming.stack(self.spec.name)

    @property
    def digest(self) -> str:
        """What the stack was made of, in hex: the sha256 of all but where the credentials were read."""
        place = replace(self.place, region_source="", profile="")
        artifact = replace(self.artifact, source="")
        spec = replace(self.spec, bundle="-", assumptions=Assumptions())
        data = replace(self, place=place, artifact=artifact, spec=spec).to_json()
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the resolved.json document."""
        data = records.plain(replace(self, spec=None))  # type: ignore[arg-type]
        return {"schema_version": SCHEMA_VERSION, "spec": serde.to_dict(self.spec), **data}


def is_fleet(data: Any) -> bool:
    """Whether a document is of an ec2-fleet target."""
    if not isinstance(data, Mapping) or not isinstance(data.get("spec"), Mapping):
        return False
    target = data["spec"].get("target")
    return isinstance(target, Mapping) and target.get("kind") == Ec2Fleet.kind


def from_json(data: Any) -> ResolvedFleet:
    """Build a ResolvedFleet from its document. Raises InputError, or SpecError naming the key."""
    if not is_fleet(data):
        raise InputError("it is no document of an ec2-fleet target")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"schema_version is {data.get('schema_version')!r}, not {SCHEMA_VERSION}")
    return records.read(
        ResolvedFleet,
        "",
        {k: v for k, v in data.items() if k != "schema_version"},
        readers={DeploymentSpec: serde.from_dict},
    )


def load(path: Path) -> Resolved | ResolvedFleet:
    """Read resolved.json of either target. Raises InputError naming the file and the key."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return sagemaker.load(path)  # which says what is wrong
    if not is_fleet(data):
        return sagemaker.load(path)
    try:
        return from_json(data)
    except DeployerError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
