"""The steps of a plan on this machine, and the plan.json that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.deployments.plan import SCHEMA_VERSION, Action, Plan, Step
from deployer.errors import DeployerError, InputError
from deployer.spec import serde

_WORDS: dict[Action, str] = {
    "create": "start",
    "update": "replace",
    "keep": "keep",
    "delete": "stop",
}
FRONT = "front"
"""The word of plan.json for setting the balancer and its supervisor."""


@dataclass(frozen=True)
class ServerStep(Step):
    """What happens to the server, or the balancer, on ``port``.

    A server that is there runs as process ``pid``; one that is replaced runs the bundle of ``old_digest``. While it
    is replaced its port is silent, but behind a balancer, where the new one starts on another port first.
    """

    port: int = 0
    pid: int = 0
    old_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plan.json holds it."""
        word = FRONT if self.kind == "balancer" else _WORDS[self.action]
        data: dict[str, Any] = {"action": word, "port": self.port}
        if self.pid:
            data["pid"] = self.pid
        if self.old_digest:
            data["old_digest"] = self.old_digest
        return data


def start(port: int) -> ServerStep:
    """Start a server process on a free port."""
    return ServerStep("create", "server", str(port), port=port)


def replace(port: int, pid: int, old_digest: str) -> ServerStep:
    """Stop the server on a port and start the new version."""
    return ServerStep("update", "server", str(port), port=port, pid=pid, old_digest=old_digest)


def stop(port: int, pid: int) -> ServerStep:
    """Drain and stop a server that is no longer wanted."""
    return ServerStep("delete", "server", str(port), port=port, pid=pid)


def keep(port: int, pid: int) -> ServerStep:
    """Leave a server as it is: it runs this very bundle."""
    return ServerStep("keep", "server", str(port), port=port, pid=pid)


def set_front(port: int) -> ServerStep:
    """Start, or set anew, the balancer on ``port`` and the supervisor behind it."""
    return ServerStep("create", "balancer", str(port), port=port)


_MAKERS: Mapping[str, Callable[..., ServerStep]] = {
    "start": start,
    "replace": replace,
    "stop": stop,
    "keep": keep,
    FRONT: set_front,
}


def load(path: Path) -> Plan[None]:
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


def _from_json(data: Any) -> Plan[None]:
    if not isinstance(data, Mapping):
        raise InputError("it must be an object")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"schema_version is {data.get('schema_version')!r}, not {SCHEMA_VERSION}")
    steps = tuple(_step(dict(item)) for item in data["steps"])
    return Plan(serde.from_dict(data["spec"]), str(data["bundle_digest"]), steps, None)


def _step(item: dict[str, Any]) -> ServerStep:
    return _MAKERS[item.pop("action")](**item)
