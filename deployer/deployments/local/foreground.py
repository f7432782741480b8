"""Serve a bundle while somebody waits: for a block of Python, or for Ctrl-C in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer import processes
from deployer.bundle import archive
from deployer.deployments.local import server as servers
from deployer.deployments.state import Store
from deployer.errors import DeployerError, EnvironmentProblem
from deployer.progress import Say, silent


@contextmanager
def running(
    bundle: Path,
    *,
    port: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    limit_s: float = servers.STARTUP_S,
) -> Iterator[str]:
    """Serve a bundle on this machine while the block runs; yields the URL of its server.

    Raises EnvironmentProblem when the port is in use, DeployerError when the server does not start.
    """
    chosen = port or servers.free_port()
    _need_port(servers.HOST, chosen)
    store = Store()
    with tempfile.TemporaryDirectory(prefix="deployer-serving-") as folder:
        model_dir, log = Path(folder) / "model", Path(folder) / "server.log"
        digest = archive.unpack(bundle, model_dir).digest
        options = _options(workers, threads)
        server = servers.start(model_dir, chosen, log=log, digest=digest, options=options)
        try:
            servers.wait_ready(server, log, limit_s=limit_s)
            with store.serving(chosen, bundle):
                yield f"http://{servers.HOST}:{chosen}"
        finally:
            servers.stop(server, servers.GRACE_S)


def serve(
    bundle: Path,
    *,
    host: str = servers.HOST,
    port: int = 8080,
    workers: int | None = None,
    threads: int | None = None,
    store: Store | None = None,
    say: Say = silent,
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then drain; its log goes to stderr.

    Raises EnvironmentProblem when the port is in use, DeployerError when the server ends by itself.
    """
    _need_port(host, port)
    with tempfile.TemporaryDirectory(prefix="deployer-serve-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(bundle, model_dir)
        options = ["--host", host, "--port", str(port), *_options(workers, threads)]
        process = subprocess.Popen(
            processes.command(model_dir, "serve", options),
            cwd=processes.working_dir(model_dir),
            env=processes.environment(model_dir),
            stdout=sys.stderr.fileno(),
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        say(f"serving {manifest.name} at http://{host}:{port} (Ctrl-C stops)")
        with (store or Store()).serving(port, bundle):
            _attend(process, manifest.serving.drain_s)


def _attend(process: subprocess.Popen[bytes], drain_s: float) -> None:
    """Wait for the server; pass on a request to stop, and give it the time to drain."""

    def pass_on(number: int, frame: object) -> None:
        process.send_signal(number)
        asked.append(number)

    asked: list[int] = []
    before = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        while process.poll() is None:
            try:
                process.wait(timeout=drain_s + 10 if asked else 1)
            except subprocess.TimeoutExpired:
                if asked:
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not asked:
        raise DeployerError(
            f"the server ended by itself with exit status {process.returncode}",
            hint="its own words are above; `deployer check BUNDLE` plays its start",
        )


def _options(workers: int | None, threads: int | None) -> list[str]:
    found = []
    for name, value in (("--workers", workers), ("--threads", threads)):
        if value is not None:
            found += [name, str(value)]
    return found


def _need_port(host: str, port: int) -> None:
    if not servers.port_free(port, host):
        raise EnvironmentProblem(
            f"port {port} on {host} is in use or not ours to take",
            hint="choose another with --port, or stop what listens there",
        )
