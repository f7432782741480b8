"""What a fleet keeps on disk beside the record of its servers: the specification that it runs by."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from deployer import processes
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.deployments.local.balanced import control, haproxy
from deployer.deployments.state import Deployment, Server, Store, write_whole
from deployer.errors import DeployerError, EnvironmentProblem, SpecError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local
from inference_code.contract import STATS_ROUTE

LOCK_S = 15.0
"""How long a command waits for the supervisor, or another command, to let go of a fleet."""
_LOOK_S = 2.0


def slots(spec: DeploymentSpec) -> tuple[int, ...]:
    """Return the ports on which servers may run: twice the most, as a rollout starts new ones beside the old.

    Raises SpecError for another target.
    """
    target = spec.target
    if not isinstance(target, Local):
        raise SpecError("target.kind", f"{target.kind!r} is not 'local'")
    return tuple(range(target.port + 1, target.port + 2 * control.most(spec) + 1))


def model_dir(store: Store, name: str, digest: str) -> Path:
    """Return the folder of an unpacked bundle."""
    return store.folder(name) / "bundles" / digest[:12]


def save_spec(store: Store, spec: DeploymentSpec) -> None:
    """Write the specification for the supervisor."""
    text = json.dumps(serde.to_dict(spec), indent=1) + "\n"
    write_whole(store.folder(spec.name) / "fleet" / "spec.json", text)


def load_spec(store: Store, name: str) -> DeploymentSpec:
    """Read it again. Raises DeployerError when it is gone or wrong."""
    path = store.folder(name) / "fleet" / "spec.json"
    try:
        return serde.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DeployerError(f"cannot read {str(path)!r}: {error}") from error


def start_server(store: Store, record: Deployment, digest: str, port: int) -> Server:
    """Start a server of a fleet on one of its ports."""
    log, folder = store.log(record.name, port), model_dir(store, record.name, digest)
    notice_s = haproxy.notice_s(processes.manifest(folder).serving.drain_s)
    options = ("--lame-duck-s", f"{notice_s:g}")
    return servers.start(folder, port, log=log, digest=digest, options=options)


def drains(server: Server) -> bool:
    """Return whether a server was asked to end; one that does not answer says nothing."""
    client = HttpInvoker(f"http://{servers.HOST}:{server.port}/", timeout_s=_LOOK_S)
    try:
        return bool(json.loads(client.request("GET", STATS_ROUTE).content)["draining"])
    except (EnvironmentProblem, ValueError, KeyError):
        return False


def free_slots(spec: DeploymentSpec, record: Deployment) -> list[int]:
    """Return the ports of a fleet on which nothing of it runs, those in use by strangers left out."""
    taken = {server.port for server in record.servers}
    return [port for port in slots(spec) if port not in taken and servers.port_free(port)]


def ensure_supervisor(store: Store, name: str, running: Server | None) -> Server:
    """Return the supervisor that runs, or start one."""
    if running is not None and servers.runs(running):
        return running
    return servers.launch(
        [sys.executable, "-m", "deployer.deployments.local.balanced", name],
        0,
        log=store.folder(name) / "logs" / "supervisor.log",
        digest="",
        env={**os.environ, "DEPLOYER_STATE_DIR": str(store.root.resolve())},
    )
