"""A fleet of real servers behind a real HAProxy: start, replace, scale, roll out, roll back, destroy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from deployer import api
from deployer.clients.base import Body
from deployer.deployments.local import planner
from deployer.deployments.local import server as servers
from deployer.deployments.local import verbs as local
from deployer.deployments.state import Store
from deployer.errors import ConditionFailed, DeployerError, InputError
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.rollout import Canary, Rolling
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import Local

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.serve,
    pytest.mark.skipif(
        HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)"
    ),
]
BODY = Body(json.dumps("hello").encode())
SLOW = """
import time
from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        self.version = context.model.read_text()

    def predict(self, items):
        time.sleep({seconds})
        return [{{"version": self.version, "echo": item}} for item in items]
"""
Traffic = Callable[[int], AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    for name in store.names():
        local.destroy(name)


@pytest.fixture
def ports() -> Callable[[int], int]:
    def free(count: int) -> int:
        for first in range(20000 + os.getpid() % 20000, 65000 - count, count):
            if all(servers.port_free(first + i) for i in range(count)):
                return first
        raise AssertionError("no free range")

    return free


def answer(port: int) -> str:
    found = local.invoke("echo", BODY)
    assert found.status == 200
    return json.loads(found.content)["version"]


def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


def test_a_fleet_starts_behind_its_balancer_and_leaves_nothing(
    store: Store, echo_bundle: Callable[..., Path], ports: Callable[[int], int]
) -> None:
    port = ports(5)
    wish = DeploymentSpec("echo", str(echo_bundle()), Local(2, port, balancer=True))
    assert [step.action for step in planner.plan(wish).steps] == ["front", "start", "start"]
    record = api.deploy(wish)
    assert record.balancer is not None
    assert record.balancer.port == port
    assert answer(port) == "1"
    assert local.status("echo").healthy
    assert api.plan(wish).changes == ()

    for pid in servers.members(record.servers[0]):  # the supervisor starts another in its place
        os.kill(pid, signal.SIGKILL)
    until(lambda: {s.pid for s in store.get("echo").servers}.isdisjoint({record.servers[0].pid}))
    until(lambda: local.status("echo").healthy)

    removed = local.destroy("echo")
    assert f"balancer on port {port}" in removed
    assert not (store.root / "echo").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.skipif("DEPLOYER_ALL_FLEETS" not in os.environ, reason="long (DEPLOYER_ALL_FLEETS=1)")
def test_a_slow_canary_is_rolled_back_and_a_good_version_is_not(
    store: Store, echo_bundle: Callable[..., Path], ports: Callable[[int], int], traffic: Traffic
) -> None:
    slow = SLOW.format(seconds=0.12)
    port = ports(9)
    target = Local(2, port, balancer=True)
    wish = DeploymentSpec(
        "echo",
        str(echo_bundle("1")),
        target,
        rollout=Canary(percent=40, bake_s=5),
        slo=Slo(p99_ms=50),
    )
    before = api.deploy(wish)
    with traffic(port) as counts:
        bad = DeploymentSpec(
            "echo", str(echo_bundle("slow", slow)), target, rollout=wish.rollout, slo=wish.slo
        )
        with pytest.raises(
            ConditionFailed, match=r"rolled back: .* took longer than slo.p99_ms 50"
        ):
            api.deploy(bad)
        assert store.get("echo").bundle_digest == before.bundle_digest
        assert {s.pid for s in store.get("echo").servers} == {s.pid for s in before.servers}
        with pytest.raises(DeployerError, match=r"these weights are broken.*runs the old version"):
            api.deploy(
                DeploymentSpec("echo", str(echo_bundle("broken")), target, rollout=Rolling())
            )
        record = api.deploy(
            DeploymentSpec("echo", str(echo_bundle("2")), target, rollout=Rolling(batch_percent=50))
        )
        assert {s.bundle_digest for s in record.servers} == {record.bundle_digest}
        assert answer(port) == "2"
    assert counts["failed"] == []
    assert counts["ok"] > 100
    assert local.status("echo").healthy


def test_it_scales_out_and_in_by_the_policy(
    store: Store, echo_bundle: Callable[..., Path], ports: Callable[[int], int], traffic: Traffic
) -> None:
    port = ports(7)
    policy = TargetTracking(
        target=6000.0, max_instances=3, scale_out_cooldown_s=0, scale_in_cooldown_s=0
    )
    target = Local(1, port, balancer=True, period_s=0.5)
    api.deploy(DeploymentSpec("echo", str(echo_bundle()), target, policy))
    with traffic(port) as counts:  # about 500 a second; 100 a second for each is wanted
        until(lambda: local.status("echo").serving == 3)
    until(lambda: len(store.get("echo").servers) == 1, within_s=60)
    assert counts["failed"] == []
    assert store.get("echo").instances == 1


def test_a_deployment_does_not_change_between_having_a_balancer_and_not(
    store: Store, echo_bundle: Callable[..., Path], ports: Callable[[int], int]
) -> None:
    port = ports(3)
    api.deploy(DeploymentSpec("echo", str(echo_bundle()), Local(1, port)))
    with pytest.raises(InputError, match="runs without a balancer and should run with one"):
        api.plan(DeploymentSpec("echo", str(echo_bundle()), Local(1, port, balancer=True)))
