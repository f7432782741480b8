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
    Place,
    Policies,
    Resolved,
    Role,
)
from deployer.spec.target import Ec2Fleet

SCHEMA_VERSION = 1
LOAD_BALANCER = "{LoadBalancer}"
TARGET_GROUP = "{TargetGroup}"


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
    scaling: Policies | None = None
    alarms: tuple[Alarm, ...] = field(default=(), metadata=QUIET)
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
        data = _written(records.plain(replace(self, spec=None)))  # type: ignore[arg-type]
        return {"schema_version": SCHEMA_VERSION, "spec": serde.to_dict(self.spec), **data}


def _written(data: dict[str, Any]) -> dict[str, Any]:
    """Return a document as it is kept: what stands on an expression has keys of its own.

    The digest of a document tells whether a fleet runs it, so that the form outlives the types.
    """
    alarms = data.pop("alarms", [])
    plain = [row for row in alarms if not _is_expression(row)]
    computed = [_renamed(row, "metric", "value") for row in alarms if _is_expression(row)]
    scaling = data.get("scaling", {})
    for row in scaling.get("stepping", ()):
        row.pop("aggregation")
        if _is_expression(row["alarm"]):
            row["computed"] = _renamed(row.pop("alarm"), "metric", "value")
    if "tracking" in scaling:
        rows = scaling["tracking"]
        scaling["tracking"] = [
            _renamed(row, "metric", "value") if _is_expression(row) else row for row in rows
        ]
    return {
        **data,
        **({"alarms": plain} if plain else {}),
        **({"computed_alarms": computed} if computed else {}),
    }


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kept document with the keys of the types; what is malformed is left to whoever reads it."""
    found = dict(data)
    if isinstance(computed := found.get("computed_alarms"), list):
        found["alarms"] = [*found.get("alarms", ()), *_rows(computed, "value", "metric")]
        del found["computed_alarms"]
    if isinstance(found.get("scaling"), Mapping):
        scaling = dict(found["scaling"])
        scaling |= {"tracking": _rows(scaling.get("tracking", []), "value", "metric")}
        steps = _rows(scaling.get("stepping", []), "computed", "alarm")
        found["scaling"] = scaling | {"stepping": [_on_expression(row) for row in steps]}
    return found


def _on_expression(row: Any) -> Any:
    if not isinstance(row, Mapping) or not isinstance(row.get("alarm"), Mapping):
        return row
    return {**row, "alarm": _renamed(row["alarm"], "value", "metric")}


def _rows(found: Any, old: str, new: str) -> Any:
    if not isinstance(found, list):
        return found
    return [_renamed(row, old, new) if isinstance(row, Mapping) else row for row in found]


def _is_expression(row: Mapping[str, Any]) -> bool:
    return "expression" in row.get("metric", ())


def _renamed(row: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in row.items()}


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
        _read({k: v for k, v in data.items() if k != "schema_version"}),
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
