"""DeployPlan: what deploying would change, as plain data that is shown, saved and run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from deployer.errors import DeployerError, InputError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StartServer:
    """Start a server process on a free port."""

    action: ClassVar[str] = "start"
    mark: ClassVar[str] = "+"
    port: int


@dataclass(frozen=True)
class ReplaceServer:
    """Stop the server on a port and start the new version there; that port is silent in between.

    In a fleet the new one starts on another port first.
    """

    action: ClassVar[str] = "replace"
    mark: ClassVar[str] = "~"
    port: int
    pid: int
    old_digest: str


@dataclass(frozen=True)
class StopServer:
    """Drain and stop a server that is no longer wanted."""

    action: ClassVar[str] = "stop"
    mark: ClassVar[str] = "-"
    port: int
    pid: int


@dataclass(frozen=True)
class KeepServer:
    """Leave a server as it is: it runs this very bundle."""

    action: ClassVar[str] = "keep"
    mark: ClassVar[str] = "="
    port: int
    pid: int


@dataclass(frozen=True)
class SetFront:
    """Start, or set anew, the balancer on ``port`` and the supervisor behind it."""

    action: ClassVar[str] = "front"
    mark: ClassVar[str] = "+"
    port: int


Step = SetFront | StartServer | ReplaceServer | StopServer | KeepServer
_STEPS: dict[str, type[Step]] = {
    kind.action: kind for kind in (SetFront, StartServer, ReplaceServer, StopServer, KeepServer)
}


@dataclass(frozen=True)
class DeployPlan:
    """Steps, in order, that make what runs equal to ``spec`` with the bundle of ``bundle_digest``."""

    spec: DeploymentSpec
    bundle_digest: str
    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if not isinstance(step, KeepServer))

    @property
    def summary(self) -> str:
        """The last line of a plan: how many to add, replace and remove."""
        if not self.changes:
            return f"No changes. {self.spec.name} runs as specified."
        kinds = [step.action for step in self.steps]
        return (
            f"Plan: {kinds.count('start')} to add, {kinds.count('replace')} to replace, "
            f"{kinds.count('stop')} to remove, {kinds.count('keep')} unchanged."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan.json document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "spec": serde.to_dict(self.spec),
            "bundle_digest": self.bundle_digest,
            "steps": [{"action": step.action, **asdict(step)} for step in self.steps],
            "summary": self.summary,
        }


def load(path: Path) -> DeployPlan:
    """Read plan.json. Raises InputError naming the file."""
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except DeployerError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot read {str(path)!r} as a plan: {error}",
            hint="`deployer plan deployment.toml -o plan.json` writes one",
        ) from error


def _from_json(data: Any) -> DeployPlan:
    if not isinstance(data, Mapping):
        raise InputError("it must be an object")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"schema_version is {data.get('schema_version')!r}, not {SCHEMA_VERSION}")
    return DeployPlan(
        serde.from_dict(data["spec"]),
        str(data["bundle_digest"]),
        tuple(_step(dict(item)) for item in data["steps"]),
    )


def _step(item: dict[str, Any]) -> Step:
    return _STEPS[item.pop("action")](**item)
