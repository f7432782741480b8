"""Nothing drops when servers leave a fleet, and without the drain something does. See tests/benchmarks/fleet."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from deployer import api
from deployer.deployments.local import server as servers
from deployer.deployments.local import verbs as local
from deployer.deployments.state import Store
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local
from inference_code.contract import ServingConfig

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.serve,
    pytest.mark.skipif(
        HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)"
    ),
]
HANDLER = """
import time

from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        time.sleep(0.02)
        return list(items)
"""


def package(folder: Path, drain_s: float) -> Path:
    (folder / "samples").mkdir()
    (folder / "samples" / "one.json").write_text('"hello"')
    (folder / "weights.txt").write_text("none")
    (folder / "handler.py").write_text(HANDLER)
    return api.package(
        folder / "weights.txt",
        folder / "dist",
        name="echo",
        handler=folder / "handler.py",
        samples=folder / "samples",
        serving=ServingConfig(drain_s=drain_s),
    ).path


@pytest.mark.parametrize(("drain_s", "lossless"), [(20.0, True), (0.0, False)])
def test_scale_in_and_sigterm_lose_nothing_and_only_with_the_drain(
    tmp_path: Path,
    traffic: Callable[[int], AbstractContextManager[dict[str, Any]]],
    drain_s: float,
    lossless: bool,
) -> None:
    port = next(
        first
        for first in range(30000 + os.getpid() % 20000, 60000, 7)
        if all(servers.port_free(first + i) for i in range(7))
    )
    bundle = str(package(tmp_path, drain_s))
    store = Store()
    try:
        record = api.deploy(DeploymentSpec("echo", bundle, Local(3, port, balancer=True)))
        with traffic(port) as counts:
            _answered(counts, 100)
            os.kill(record.servers[0].pid, signal.SIGTERM)
            while servers.ping_ms(record.servers[0].port) is not None:
                time.sleep(0.01)
            # It drains still, so it is not the one that stays.
            api.deploy(DeploymentSpec("echo", bundle, Local(1, port, balancer=True)))
            _answered(counts, counts["ok"] + 100)
    finally:
        if "echo" in store.names():
            local.destroy("echo")
    assert bool(counts["failed"]) != lossless, counts["failed"][:3]


def _answered(counts: dict[str, Any], goal: int) -> None:
    """Wait until ``goal`` requests have been answered, however slow the machine is."""
    give_up = time.monotonic() + 60
    while counts["ok"] < goal:
        assert time.monotonic() < give_up, counts
        time.sleep(0.01)
