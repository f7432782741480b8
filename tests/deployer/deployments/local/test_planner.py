from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deployments.local import planner
from deployer.deployments.local import steps as to
from deployer.deployments.plan import Plan
from deployer.deployments.state import Server
from deployer.errors import InputError, NotSupported, RuleBroken
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import Canary
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import Ec2Fleet, Local, SageMakerRealtime, Target


def server(port: int, digest: str = "new") -> Server:
    return Server(port, 1000 + port, "boot:1", "token", digest)


def test_a_first_deployment_only_starts() -> None:
    assert planner.decide([80, 81], "new", (), ()) == (to.start(80), to.start(81))


def test_what_runs_the_very_bundle_is_kept() -> None:
    steps = planner.decide([80], "new", [server(80)], {80})
    assert steps == (to.keep(80, 1080),)


def test_a_dead_server_is_started_again() -> None:
    assert planner.decide([80], "new", [server(80)], ()) == (to.start(80),)


def test_starts_come_before_replacements_before_stops() -> None:
    observed = [server(80, "old"), server(70)]
    assert planner.decide([80, 81], "new", observed, {80, 70}) == (
        to.start(81),
        to.replace(80, 1080, "old"),
        to.stop(70, 1070),
    )


@given(
    wanted=st.lists(st.integers(1, 9), unique=True, min_size=1),
    observed=st.dictionaries(st.integers(1, 9), st.sampled_from(["old", "new"])),
    alive=st.sets(st.integers(1, 9)),
)
def test_after_the_steps_exactly_the_wanted_ports_run_the_new_bundle(
    wanted: list[int], observed: dict[int, str], alive: set[int]
) -> None:
    servers = [server(port, digest) for port, digest in observed.items()]
    running = {port: observed[port] for port in alive if port in observed}
    for step in planner.decide(wanted, "new", servers, alive):
        port = int(step.name)
        match step.action:
            case "create":
                assert port not in running
                running[port] = "new"
            case "update":
                assert running[port] == "old"
                running[port] = "new"
            case "delete":
                running.pop(port, None)
            case "keep":
                assert running[port] == "new"
    assert running == dict.fromkeys(wanted, "new")


@pytest.mark.parametrize("target", [SageMakerRealtime("ml.c5.large"), Ec2Fleet("c5.large")])
def test_another_target_is_named_plainly(target: Target) -> None:
    spec = DeploymentSpec("a", "b.tar.gz", target)
    with pytest.raises(NotSupported, match=f"target '{target.kind}' is not there yet"):
        planner.local_target(spec)


def test_scaling_and_rollouts_that_local_cannot_do_are_named_plainly() -> None:
    with pytest.raises(RuleBroken, match=r"scaling.kind: 'target-tracking' needs target.balancer"):
        planner.plan(DeploymentSpec("a", "b", Local(), scaling=TargetTracking()))
    with pytest.raises(RuleBroken, match=r"rollout.kind: 'canary' needs target.balancer"):
        planner.plan(DeploymentSpec("a", "b", Local(), rollout=Canary()))


def test_ports_past_the_last_one_are_refused() -> None:
    with pytest.raises(RuleBroken, match="need ports to 65536"):
        planner.plan(DeploymentSpec("a", "b", Local(instances=2, port=65535)))


def test_a_plan_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    steps = (to.start(81), to.replace(80, 5, "old"), to.stop(70, 6), to.keep(82, 7))
    plan = Plan(DeploymentSpec("a", "b.tar.gz", Local(instances=3)), "d" * 64, steps, None)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()))
    assert to.load(path) == plan
    assert plan.summary == "Plan: 1 to add, 1 to replace, 1 to remove, 1 unchanged."


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema_version": 2}', '{"schema_version": 1, "spec": {}}'],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match=r"plan\.json"):
        to.load(tmp_path / "plan.json")
