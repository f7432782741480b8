"""Start a bundle's server with local mode before it, and stop both."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer import processes
from deployer.bundle import archive
from deployer.bundle.bundle import open_bundle
from deployer.deployments.local import foreground
from deployer.deployments.local import server as servers
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.localmode import storage
from deployer.localmode.container import Container
from deployer.localmode.front import Front
from deployer.progress import Say, silent
from inference_code.contract import PORT_ENV

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_POLL_S = 0.05


@contextmanager
def running(
    bundle: Path, *, name: str | None = None, port: int = 0, objects: Path | None = None
) -> Iterator[str]:
    """Answer SageMaker Runtime's calls for a bundle while the block runs; yields boto3's ``endpoint_url``.

    ``name`` is the endpoint's, by default the bundle's; ``objects`` the folder of asynchronous calls' objects.
    """
    endpoint = _endpoint(name, bundle)
    with (
        tempfile.TemporaryDirectory(prefix="deployer-local-mode-") as folder,
        foreground.running(bundle) as url,
        _front(servers.HOST, port, endpoint, url, objects or Path(folder)) as front,
    ):
        front.start()
        yield front.url


def serve(
    bundle: Path,
    *,
    name: str | None = None,
    host: str = servers.HOST,
    port: int = 8080,
    workers: int | None = None,
    threads: int | None = None,
    objects: Path | None = None,
    say: Say = silent,
) -> None:
    """Do as ``running`` in the foreground until SIGINT or SIGTERM, then drain; the log goes to stderr.

    Raises EnvironmentProblem when the port is in use, DeployerError when the server ends by itself.
    """
    endpoint = _endpoint(name, bundle)
    with tempfile.TemporaryDirectory(prefix="deployer-local-mode-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(bundle, model_dir)
        inner = servers.free_port()
        root = objects or Path(folder) / "objects"
        stop = threading.Event()
        before = {
            number: signal.signal(number, lambda *_: stop.set())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with _front(host, port, endpoint, f"http://{servers.HOST}:{inner}", root) as front:
                process = _start(model_dir, inner, workers, threads)
                _attend(process, stop, manifest.serving.drain_s, lambda: _open(front, inner, say))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _front(host: str, port: int, name: str, url: str, root: Path) -> Iterator[Front]:
    try:
        front = Front(host, port, name, Container(url), storage.Objects(root))
    except (OSError, OverflowError) as error:
        raise EnvironmentProblem(
            f"cannot listen on {host}:{port}: {error}", hint="choose another with --port"
        ) from error
    try:
        yield front
    finally:
        front.close()


def _start(
    model_dir: Path, port: int, workers: int | None, threads: int | None
) -> subprocess.Popen[bytes]:
    """Start the bundle's server as SageMaker starts its container: the port comes by the environment."""
    options = ["--host", servers.HOST]
    for flag, value in (("--workers", workers), ("--threads", threads)):
        options += [] if value is None else [flag, str(value)]
    return subprocess.Popen(
        processes.command(model_dir, "serve", options),
        cwd=processes.working_dir(model_dir),
        env=processes.environment(model_dir, {PORT_ENV: str(port)}),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,  # Ctrl-C reaches it through us, once
    )


def _open(front: Front, inner: int, say: Say) -> bool:
    """Open the front once the container is healthy, as an endpoint gets in service; tell whether it is."""
    if servers.ping_ms(inner) is None:
        return False
    front.start()
    say(
        f"endpoint {front.endpoint} at {front.url} (Ctrl-C stops); "
        f'boto3.client("sagemaker-runtime", endpoint_url="{front.url}")'
    )
    return True


def _attend(
    process: subprocess.Popen[bytes],
    stop: threading.Event,
    drain_s: float,
    opened: Callable[[], bool],
) -> None:
    """Open the front, wait until asked to stop, then drain. Raises DeployerError when the server ends itself."""
    in_service = False
    try:
        while not stop.wait(_POLL_S):
            in_service = in_service or opened()
            if process.poll() is not None:
                raise DeployerError(
                    f"the server ended by itself with exit status {process.returncode}",
                    hint="its own words are above; `deployer check BUNDLE` plays its start",
                )
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + drain_s + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _endpoint(name: str | None, bundle: Path) -> str:
    chosen = name if name is not None else open_bundle(bundle).manifest.name
    if not _NAME.fullmatch(chosen):
        raise InputError(
            f"{chosen!r} is no name of an endpoint",
            hint="at most 63 letters, digits and inner hyphens; name one with --name",
        )
    return chosen
