"""The command line and the Python API on SageMaker, as a user calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

import deployer
from deployer.cli.main import cli
from deployer.spec import serde
from deployer.spec.scaling import TargetTracking


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="deployer")


@pytest.fixture
def toml(cloud: Any, tmp_path: Path) -> Path:
    cloud.fake.behaviour.looks = 1  # changes are over at the first look: nothing is waited for
    path = tmp_path / "deployment.toml"
    path.write_text(serde.to_toml(cloud.spec()))
    return path


def test_the_journey_on_the_command_line(
    cloud: Any, toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = run("plan", str(toml), "--check")
    assert planned.exit_code == 1
    assert "+ endpoint" in planned.stdout
    assert "Per month of 730 h by size, without what follows the traffic: $" in planned.stdout
    assert "account 123456789012 (from the credentials: env)" in planned.stderr
    assert "region us-east-1 (from target.region), no profile named" in planned.stderr
    resolved = toml.with_name("resolved.json")
    deployed = run("deploy", str(resolved), "--json")
    assert deployed.exit_code == 0, deployed.stderr
    document = json.loads(deployed.stdout)
    assert document["config"] == json.loads(resolved.read_text())["config_name"]
    assert run("plan", str(toml), "--check").exit_code == 0
    asked = tmp_path / "one.json"
    asked.write_text("{}")
    assert run("invoke", "digits", "--data", str(asked)).exit_code == 0
    toml.write_text(serde.to_toml(cloud.spec("2")))
    assert run("deploy", str(toml), "--ttl", "1s").exit_code == 0
    status = run("status", "digits")
    assert status.exit_code == 0
    assert "may be removed after" in status.stdout
    back = run("rollback", "digits", "--json")
    assert json.loads(back.stdout)["runs"] == document["config"]
    monkeypatch.setenv("DEPLOYER_STATE_DIR", str(tmp_path / "another-machine"))
    refused = run("destroy", "digits")
    assert refused.exit_code == 2
    assert "needs a yes" in refused.stderr
    gone = run("destroy", "digits", "--yes", "--region", "us-east-1")
    assert gone.exit_code == 0, gone.stderr
    assert "Nothing is left of digits." in gone.stdout
    assert cloud.everything() == []


def test_a_silent_rollback_ends_with_1(cloud: Any, toml: Path) -> None:
    cloud.deploy(cloud.spec())
    toml.write_text(serde.to_toml(cloud.spec("2")))
    config = cloud.plan(cloud.spec("2")).resolved.config_name
    cloud.fake.behaviour.broken[config] = ""
    done = run("deploy", str(toml))
    assert done.exit_code == 1
    assert "error: endpoint 'digits' rolled back" in done.stderr


def test_python_says_the_same_in_functions(cloud: Any, toml: Path) -> None:
    plan: Any = deployer.plan(toml, ttl_s=3600.0)
    done: Any = deployer.deploy(plan.resolved)
    assert done.endpoint == "digits"
    assert deployer.invoke("digits", deployer.Body(b"{}")).status == 200
    assert deployer.expired() == ()
    assert deployer.destroy("digits")[-1].startswith("role")


def test_a_deployment_killed_by_sigkill_is_gone_on_with(cloud: Any, toml: Path) -> None:
    environment = {**os.environ, **cloud.fake.environment}
    words = [sys.executable, "-m", "deployer", "deploy", str(toml)]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    cloud.fake.inject(28, "killed", process.pid)
    assert process.wait(60) == -9
    assert boto3.client("sagemaker").list_models()["Models"], "it was in the middle"
    assert run("deploy", str(toml)).exit_code == 0
    assert run("plan", str(toml), "--check").exit_code == 0


PROFILE = {
    "schema_version": 1,
    "name": "echo",
    "bundle_digest": "0" * 64,
    "precision": "fp32",
    "hardware": {"cpu": "made up"},
    "workers": 1,
    "threads": 1,
    "max_batch": 1,
    "max_wait_ms": 0.0,
    "queue_limit": 64,
    "service_time_ms": {"1": {"law": "deterministic", "mean": 10.0}},
    "request_bytes": 100.0,
    "response_bytes": 100.0,
    "memory_mb": 100.0,
    "startup_s": 1.0,
    "date": "2026-11-21",
}


def test_the_scaling_target_follows_from_profile_and_objective(
    cloud: Any, toml: Path, tmp_path: Path
) -> None:
    toml.write_text(serde.to_toml(cloud.spec(scaling=TargetTracking(min_instances=2))))
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    plan: Any = deployer.plan(toml, profile=profile)
    target = plan.resolved.scaling.tracking[0].target
    # One request of 10 ms at a time: below 100 a second, of which half is aimed at, times 60 s.
    assert 1500 < target < 3000
    assert "derived" in plan.resolved.scaling.basis
    assert plan.cost.per_thousand is not None
    assert plan.checks[-1].seen.startswith("measured of bundle 000000000000, not of the one")
    toml.write_text(toml.read_text().replace("p99_ms = 100.0", "p99_ms = 1.0"))
    with pytest.raises(deployer.DeployerError, match="no rate of requests meets the objective"):
        deployer.plan(toml, profile=profile)
