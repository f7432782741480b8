"""What runs on this machine, on disk: one folder for each deployment, one writer at a time.

::

    STATE/NAME.lock               held while something changes NAME
    STATE/NAME/deployment.json    the record, replaced whole after every step
    STATE/NAME/bundles/DIGEST/    the unpacked bundle that its servers run
    STATE/NAME/logs/PORT.log      what each server says
    STATE/NAME/fleet/             of a fleet: its specification, and what its balancer reads
    STATE/serving/PORT.json       a `deployer serve` in some terminal

STATE is $DEPLOYER_STATE_DIR, or $XDG_STATE_HOME/deployer, or ~/.local/state/deployer.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.spec import checks

SCHEMA_VERSION = 1
_PARTS = ("balancer", "supervisor")
_POLL_S = 0.02


@dataclass(frozen=True)
class Server:
    """One server process. ``identity`` tells it from a later process with the same number; its workers

    carry ``token`` in their environment.
    """

    port: int
    pid: int
    identity: str
    token: str
    bundle_digest: str

    @property
    def url(self) -> str:
        """Where it takes requests."""
        return f"http://127.0.0.1:{self.port}/invocations"


@dataclass(frozen=True)
class Deployment:
    """The record of what was deployed under a name. ``bundle`` is the archive's path; date is ISO, UTC.

    A fleet has a ``balancer`` before its servers and a ``supervisor`` that scales them.
    """

    name: str
    target: str
    bundle: str
    bundle_digest: str
    instances: int
    date: str
    servers: tuple[Server, ...] = ()
    balancer: Server | None = None
    supervisor: Server | None = None

    @property
    def kind(self) -> str:
        """The target's kind."""
        return self.target

    @property
    def url(self) -> str:
        """Where requests go: to the balancer, else to the first server; empty while there is none."""
        parts = (self.balancer, *self.servers)
        return next((part.url for part in parts if part is not None), "")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing: servers of this machine answered before they counted."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        data = asdict(self)
        for key in _PARTS:
            if data[key] is None:
                del data[key]
        servers = [{**asdict(server), "url": server.url} for server in self.servers]
        return {"schema_version": SCHEMA_VERSION, **data, "servers": servers}


@dataclass(frozen=True)
class ServerLog:
    """The last lines that one server wrote."""

    port: int
    path: str
    lines: tuple[str, ...]


class Busy(EnvironmentProblem):
    """Another process is changing the deployment."""


class Store:
    """The state folder. Nothing is read or made before a method is called."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def names(self) -> tuple[str, ...]:
        """Return the names of all recorded deployments, sorted."""
        return tuple(sorted(path.parent.name for path in self.root.glob("*/deployment.json")))

    def find(self, name: str) -> Deployment | None:
        """Return the record of ``name``; None when there is none. Raises DeployerError when unreadable."""
        path = self.folder(name) / "deployment.json"
        try:
            return _deployment(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeployerError(
                f"the record {str(path)!r} cannot be read: {error}",
                hint="it was changed by hand or by another version; remove its folder when nothing runs",
            ) from error

    def get(self, name: str) -> Deployment:
        """Return the record of ``name``. Raises InputError naming the deployments that exist."""
        record = self.find(name)
        if record is None:
            known = ", ".join(self.names()) or "none"
            raise InputError(
                f"there is no deployment {name!r}", hint=f"deployments on this machine: {known}"
            )
        return record

    def save(self, record: Deployment) -> None:
        """Replace the record of a deployment, whole or not at all."""
        write_whole(self.folder(record.name) / "deployment.json", _dump(record.to_json()))

    def remove(self, name: str) -> None:
        """Remove the record, the unpacked bundles and the logs of ``name``."""
        shutil.rmtree(self.folder(name), ignore_errors=False)

    def folder(self, name: str) -> Path:
        """Return the folder of a deployment. Raises SpecError for a name that is none."""
        checks.name("name", name)
        return self.root / name

    def log(self, name: str, port: int) -> Path:
        """Return the path of one server's log."""
        return self.folder(name) / "logs" / f"{port}.log"

    def turn(self, name: str) -> int:
        """Return 0, 1, 2, ... on successive calls, across processes: whose turn it is to be asked."""
        with (self.folder(name) / "turn").open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            turn = int(file.read() or 0)
            file.truncate(0)
            file.write(str(turn + 1))
        return turn

    @contextmanager
    def lock(self, name: str, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the one right to change ``name``. Raises Busy when another holds it for longer than ``wait_s``."""
        path = self.folder(name).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot write the state folder {str(self.root)!r}: {error.strerror}",
                hint="set DEPLOYER_STATE_DIR to a folder of yours",
            ) from error
        with file:
            _take(file, name, time.monotonic() + wait_s)
            yield

    @contextmanager
    def serving(self, port: int, bundle: Path) -> Iterator[None]:
        """Note that ``bundle`` is served on ``port`` while the block runs."""
        path = self.root / "serving" / f"{port}.json"
        write_whole(path, _dump({"bundle": str(bundle.resolve())}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def bundle_at(self, port: int) -> Path | None:
        """Return the bundle that this machine's deployments or `deployer serve` answer with on ``port``."""
        for name in self.names():
            record = self.get(name)
            parts = (*record.servers, *filter(None, (record.balancer,)))
            if any(server.port == port for server in parts):
                return Path(record.bundle)
        note = self.root / "serving" / f"{port}.json"
        try:
            return Path(json.loads(note.read_text(encoding="utf-8"))["bundle"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def default_root() -> Path:
    """Return the state folder that the environment names."""
    if chosen := os.environ.get("DEPLOYER_STATE_DIR"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_STATE_HOME"):
        return Path(xdg) / "deployer"
    return Path.home() / ".local" / "state" / "deployer"


def _take(file: TextIO, name: str, until_s: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise Busy(
                    f"another deployer is changing {name!r} now", hint="wait for it, then try again"
                ) from None
            time.sleep(_POLL_S)


def write_whole(path: Path, text: str) -> None:
    """Write a file through a temporary neighbour, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _dump(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1) + "\n"


def _deployment(data: dict[str, Any]) -> Deployment:
    if data.pop("schema_version") != SCHEMA_VERSION:
        raise ValueError("schema_version is of another version")
    servers = data.pop("servers")
    for server in servers:
        server.pop("url")
    parts: dict[str, Any] = {key: Server(**data.pop(key)) for key in _PARTS if key in data}
    return Deployment(**data, servers=tuple(Server(**server) for server in servers), **parts)
