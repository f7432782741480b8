"""Real processes that are interrupted: exit codes, saved state, and nothing left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployer import api
from deployer.deployments.local import server as servers
from deployer.deployments.state import Store
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local

pytestmark = pytest.mark.serve

SLOW = """
import time
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        time.sleep(600)

    def predict(self, items):
        return list(items)
"""


@contextmanager
def deployer(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A running command, gone after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deployer", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], bool], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def spec(folder: Path, bundle: Path) -> str:
    """Write a specification for one server on a free port; return its path."""
    wish = DeploymentSpec("echo", str(bundle), Local(1, servers.free_port()))
    (folder / "spec.toml").write_text(serde.to_toml(wish))
    return str(folder / "spec.toml")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deployment_is_recorded_and_can_be_destroyed(
    number: signal.Signals, echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    store = Store()
    with deployer("deploy", spec(tmp_path, echo_bundle(handler=SLOW))) as process:
        until(lambda: bool((record := store.find("echo")) and record.servers))
        process.send_signal(number)
        assert process.wait(20) == 130
        told = process.stderr.read() if process.stderr else ""
    assert "error: stopped while deploying 'echo'; the state is saved" in told
    assert "Traceback" not in told
    server = store.get("echo").servers[0]
    assert servers.runs(server)
    api.destroy("echo")
    assert servers.members(server) == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_drains_exits_0_and_frees_its_port(
    number: signal.Signals, echo_bundle: Callable[..., Path]
) -> None:
    port = servers.free_port()
    with deployer("serve", str(echo_bundle()), "--port", str(port)) as process:
        until(lambda: servers.ping_ms(port) is not None)
        assert Store().bundle_at(port) == echo_bundle()
        run = api.loadtest(f"http://127.0.0.1:{port}", rate=50, duration_s=0.5)
        assert run.successes == run.offered  # its own samples were sent
        process.send_signal(number)
        assert process.wait(30) == 0
    assert servers.port_free(port)
    assert Store().bundle_at(port) is None


def test_an_ended_check_leaves_no_server(
    echo_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with deployer("check", str(echo_bundle())) as process:
        until(lambda: any(tmp_path.glob("deployer-check-*/server.log")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    assert not list(tmp_path.glob("deployer-check-*"))
    running = Path("/proc").glob("[0-9]*/cmdline")
    assert not any(str(tmp_path).encode() in read(path) for path in running)


def test_an_interrupted_load_test_writes_nothing(web: SimpleNamespace, tmp_path: Path) -> None:
    behaviour = web.Behaviour()
    (tmp_path / "body.json").write_text("[1]")
    with web.server(behaviour) as url:
        output = tmp_path / "run.json"
        words = ("loadtest", url, "--rate", "50", "--duration", "60s", "-o", str(output))
        with deployer(*words, "--data", str(tmp_path / "body.json")) as process:
            until(lambda: len(behaviour.seen) > 5)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            told = process.stderr.read() if process.stderr else ""
    assert "error: stopped after" in told
    assert not output.exists()


def test_two_deployers_of_one_name_at_once_one_is_refused(
    echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with Store().lock("echo"), deployer("deploy", spec(tmp_path, echo_bundle())) as process:
        assert process.wait(20) == 2
        told = process.stderr.read() if process.stderr else ""
    assert "error: another deployer is changing 'echo' now" in told
    assert Store().find("echo") is None


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
