"""Real server processes on 127.0.0.1, deployed, replaced, broken and removed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer import api
from deployer.clients.base import Body
from deployer.deployments.local import planner
from deployer.deployments.local import server as servers
from deployer.deployments.local import verbs as local
from deployer.deployments.state import Store
from deployer.errors import DeployerError, EnvironmentProblem, InputError, Unreachable
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local

pytestmark = pytest.mark.serve
BODY = Body(b'"hello"')


@pytest.fixture
def store() -> Iterator[Store]:
    """The test's own state; whatever it left running is stopped."""
    store = Store()
    yield store
    for name in store.names():
        for server in store.get(name).servers:
            servers.stop(server, 0)


def free_ports(count: int) -> int:
    """Return the first of ``count`` free ports in a row."""
    for _ in range(100):
        first = servers.free_port()
        if first + count < 65536 and all(servers.port_free(first + i) for i in range(count)):
            return first
    raise AssertionError("no free range")


def spec(bundle: Path, *, instances: int = 1, port: int) -> DeploymentSpec:
    return DeploymentSpec("echo", str(bundle), Local(instances, port))


def answers(count: int) -> list[str]:
    found = [json.loads(local.invoke("echo", BODY).content) for _ in range(count)]
    assert all(answer["echo"] == "hello" for answer in found)
    return [answer["version"] for answer in found]


def test_deploy_invoke_status_destroy(store: Store, echo_bundle: Callable[..., Path]) -> None:
    port = free_ports(2)
    wish = spec(echo_bundle(), instances=2, port=port)
    record = api.deploy(wish)
    assert [server.port for server in record.servers] == [port, port + 1]
    status = local.status("echo")
    assert status.healthy
    assert status.serving == 2
    assert answers(4) == ["1"] * 4
    counts = [
        sum('"request' in line or "invocations" in line for line in log.lines)
        for log in local.logs("echo", lines=50)
    ]
    assert len(counts) == 2
    removed = local.destroy("echo")
    assert len(removed) == 3
    assert store.find("echo") is None
    assert not (store.root / "echo").exists()
    assert all(servers.members(server) == () for server in record.servers)
    assert servers.port_free(port)


def test_deploying_twice_changes_nothing(store: Store, echo_bundle: Callable[..., Path]) -> None:
    wish = spec(echo_bundle(), port=free_ports(1))
    first = api.deploy(wish)
    assert planner.plan(wish).changes == ()
    assert api.deploy(wish) == first


def test_a_new_bundle_replaces_the_old_one(store: Store, echo_bundle: Callable[..., Path]) -> None:
    port = free_ports(2)
    old = api.deploy(spec(echo_bundle("1"), instances=2, port=port))
    wish = spec(echo_bundle("2"), instances=2, port=port)
    steps = planner.plan(wish).steps
    assert all(step.action == "update" for step in steps)
    record = api.deploy(wish)
    assert answers(2) == ["2", "2"]
    assert not any(servers.runs(server) for server in old.servers)
    assert {server.bundle_digest for server in record.servers} == {record.bundle_digest}
    folders = [path.name for path in (store.root / "echo" / "bundles").iterdir()]
    assert folders == [record.bundle_digest[:12]]


def test_a_version_that_does_not_start_never_stops_the_old_one(
    store: Store, echo_bundle: Callable[..., Path]
) -> None:
    port = free_ports(1)
    before = api.deploy(spec(echo_bundle("1"), port=port))
    with pytest.raises(DeployerError, match=r"the old one was kept.*these weights are broken"):
        api.deploy(spec(echo_bundle("broken"), port=port))
    assert store.get("echo").servers == before.servers
    assert answers(1) == ["1"]


def test_a_first_version_that_does_not_start_leaves_nothing(
    store: Store, echo_bundle: Callable[..., Path]
) -> None:
    port = free_ports(1)
    with pytest.raises(DeployerError, match="these weights are broken; nothing is left"):
        api.deploy(spec(echo_bundle("broken"), port=port))
    assert store.find("echo") is None
    assert servers.port_free(port)


def test_fewer_instances_stop_the_last_ones(store: Store, echo_bundle: Callable[..., Path]) -> None:
    port = free_ports(2)
    api.deploy(spec(echo_bundle(), instances=2, port=port))
    record = api.deploy(spec(echo_bundle(), instances=1, port=port))
    assert [server.port for server in record.servers] == [port]
    assert servers.port_free(port + 1)


def test_a_killed_server_is_seen_passed_over_and_started_again(
    store: Store, echo_bundle: Callable[..., Path]
) -> None:
    port = free_ports(2)
    wish = spec(echo_bundle(), instances=2, port=port)
    victim = api.deploy(wish).servers[0]
    for pid in servers.members(victim):
        os.kill(pid, signal.SIGKILL)
    while servers.runs(victim):
        pass
    status = local.status("echo")
    assert [server.health for server in status.servers] == ["dead", "serving"]
    assert not status.healthy
    assert answers(4) == ["1"] * 4
    record = api.deploy(wish)
    assert record.servers[0].pid != victim.pid
    assert local.status("echo").healthy


def test_no_server_left_is_told(store: Store, echo_bundle: Callable[..., Path]) -> None:
    record = api.deploy(spec(echo_bundle(), port=free_ports(1)))
    servers.stop(record.servers[0], 0)
    with pytest.raises(Unreachable, match="none of the 1 servers"):
        local.invoke("echo", BODY)


def test_another_process_with_the_same_number_is_left_alone(
    store: Store, echo_bundle: Callable[..., Path]
) -> None:
    """A record from before a restart may name a number that is somebody else's now: ours, here."""
    record = api.deploy(spec(echo_bundle(), port=free_ports(1)))
    server = record.servers[0]
    stranger = dataclasses.replace(server, pid=os.getpid(), token="another")
    assert not servers.runs(stranger)
    assert servers.stop(stranger, 0)  # this very process would be dead now
    assert servers.runs(server)


def test_a_port_in_use_is_told_before_anything_starts(
    store: Store, echo_bundle: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} is in use"):
            api.deploy(spec(echo_bundle(), port=port))
    assert store.find("echo") is None


def test_a_saved_plan_runs_as_it_is_or_is_refused_as_stale(
    store: Store, echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    plan = api.plan(spec(echo_bundle(), port=free_ports(1)))
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    assert plan.resolved is None
    api.deploy(tmp_path / "plan.json")
    with pytest.raises(InputError, match="the plan is stale"):
        api.deploy(tmp_path / "plan.json")


def test_serving_lends_a_server_to_a_block(echo_bundle: Callable[..., Path]) -> None:
    with api.serving(echo_bundle(), workers=2) as url:
        run = api.loadtest(url, rate=50, duration_s=1)
    assert run.successes == run.offered
    assert run.details["workers"] == 2
    with pytest.raises(Unreachable):
        api.loadtest(url, rate=50, duration_s=1, bundle=echo_bundle())
