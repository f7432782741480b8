"""plan, deploy, status and destroy of a fleet: real boto3 and the real CDK CLI against moto over HTTP."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

import deployer
from deployer.deployments.ec2 import cdk
from deployer.distribution import install_hint
from deployer.errors import DeployerError, EnvironmentProblem, InputError, RuleBroken, SpecError
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet

pytestmark = pytest.mark.usefixtures("fake_aws")

HANDLER = (
    "def predict_fn(data, model):\n    return data\n\n\ndef model_fn(folder):\n    return None\n"
)
IMAGE = "registry.example/digits@sha256:" + "7b" * 32


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from deployer.bundle.build import build

    folder = tmp_path_factory.mktemp("bundle")
    (folder / "m").mkdir()
    (folder / "m" / "weights.bin").write_bytes(b"weights")
    (folder / "h.py").write_text(HANDLER)
    (folder / "sample.json").write_text("14")
    built = build(
        folder / "m",
        folder / "out",
        name="digits",
        handler=folder / "h.py",
        samples=folder / "sample.json",
    )
    return built.path


def write(folder: Path, bundle: Path, rest: dict[str, Any] | None = None, **target: Any) -> Path:
    base = {
        "kind": "ec2-fleet",
        "instance_type": "c7i.large",
        "image_uri": IMAGE,
        "listener": {"protocol": "http", "allow_cidrs": ["203.0.113.0/24"]},
    }
    data = {"name": "digits", "bundle": str(bundle), "target": base | target, **(rest or {})}
    path = folder / "deployment.toml"
    path.write_text(serde.to_toml(serde.from_dict(data)))
    return path


def test_a_plan_asks_changes_nothing_and_prices_every_part(
    bundle: Path, tmp_path: Path, fake_aws: Any
) -> None:
    found = deployer.plan(write(tmp_path, bundle))
    assert isinstance(found.resolved, ResolvedFleet)
    assert [(step.action, step.kind) for step in found.steps] == [
        ("create", "bucket"),
        ("create", "bundle"),
        ("create", "stack"),
    ]
    assert found.resolved.ami_id.startswith("ami-")
    assert found.resolved.image.uri == IMAGE
    assert found.cost.month_least > 0
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    document = json.loads(json.dumps(found.to_json()))
    assert document["summary"] == "Plan: 3 to add, 0 to change, 0 to remove, 0 unchanged."
    notes = [check.seen for check in found.checks if check.outcome == "note"]
    assert any("plain HTTP" in note for note in notes)
    assert any("none is left when it or its zone fails" in note for note in notes)


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"instance_type": "c99i.large"}, {}, "target.instance_type"),
    ({"instances": 4}, {"rollout": {"kind": "canary", "percent": 10}}, "rollout.percent"),
    ({"listener": None}, {}, "target.listener"),
    (
        {"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1"},
        {},
        "target.kms_key_arn",
    ),
    (
        {"instances": 2},
        {"rollout": {"kind": "rolling", "alarms": ["none-of-this-name"]}},
        "rollout.alarms",
    ),
    (
        {
            "network": {
                "vpc_id": "vpc-0a1b2c3d",
                "subnets": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"],
            }
        },
        {},
        "target.network.subnets",
    ),
]


@pytest.mark.parametrize(("target", "rest", "name"), BAD)
def test_what_would_fail_later_is_refused_at_plan_time_by_its_key(
    bundle: Path, tmp_path: Path, target: dict[str, Any], rest: dict[str, Any], name: str
) -> None:
    with pytest.raises(SpecError) as caught:
        deployer.plan(write(tmp_path, bundle, rest, **target))
    assert caught.value.key == name
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_graphics_cards_are_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RuleBroken, match=r"'g5.xlarge' has a graphics card: .* are not there yet"):
        deployer.plan(write(tmp_path, bundle, instance_type="g5.xlarge"))


def test_the_quotas_of_vcpus_are_held_against_the_largest_fleet(
    bundle: Path, tmp_path: Path, fake_aws: Any
) -> None:
    path = write(tmp_path, bundle, instances=8)
    unknown = [row for row in deployer.plan(path).checks if row.subject == "quota"]
    assert [row.outcome for row in unknown] == ["note"]
    fake_aws.behaviour.quotas["L-1216C47A"] = 16.0
    tight = [row for row in deployer.plan(path).checks if row.subject == "quota"]
    assert tight[0].seen.startswith("16 of 16 vCPUs")
    assert "it may not fit" in tight[0].seen
    fake_aws.behaviour.quotas["L-1216C47A"] = 15.0
    with pytest.raises(DeployerError, match="is 15 vCPUs; the largest fleet needs 16"):
        deployer.plan(path)


def test_an_image_for_another_processor_is_refused(bundle: Path, tmp_path: Path) -> None:
    """The image in ECR says what it runs on; moto answers the manifest that was put."""
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="deployer/digits")
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:" + "1" * 64,
                "size": 1,
                "platform": {"architecture": "amd64", "os": "linux"},
            }
        ],
    }
    ecr.put_image(repositoryName="deployer/digits", imageManifest=json.dumps(index), imageTag="1")
    path = write(tmp_path, bundle, image_uri="", instance_type="c7g.large")
    with pytest.raises(SpecError) as caught:
        deployer.plan(path)
    assert caught.value.key == "target.instance_type"
    assert "exec format" in caught.value.message


def test_a_document_of_another_account_is_refused(bundle: Path, tmp_path: Path) -> None:
    found = deployer.plan(write(tmp_path, bundle))
    document = found.to_json()["resolved"]
    document["place"]["account"] = "999999999999"
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="resolved for account 999999999999"):
        deployer.deploy(path)


def test_without_node_it_says_what_to_install(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = deployer.plan(write(tmp_path, bundle))
    assert isinstance(found.resolved, ResolvedFleet)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EnvironmentProblem) as caught:
        cdk.deploy(found.resolved, lambda line: None)
    assert caught.value.hint == install_hint("cdk")


def test_the_cli_is_the_tested_one() -> None:
    stacks = pytest.importorskip("stacks")
    assert cdk.CDK_CLI == stacks.CDK_CLI
