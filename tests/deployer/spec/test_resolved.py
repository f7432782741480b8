"""resolved.json survives the round trip whole, and a wrong or unknown key is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import InputError, NotSupported, SpecError
from deployer.spec import resolved as documents
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.hosting import Capture, Metrics, Network
from deployer.spec.resolved import (
    INSTANCE_COUNT,
    Alarm,
    Artifact,
    Image,
    Metric,
    Place,
    Resolved,
    Role,
    Scaling,
    ScheduledAction,
    Statement,
    Stepping,
    StepRange,
    Tracking,
)
from deployer.spec.rollout import Canary
from deployer.spec.scaling import CustomMetric, TargetTracking
from deployer.spec.target import SageMakerRealtime

DIGEST = "3f" * 32
SPEC = DeploymentSpec(
    "digits",
    "dist/digits.tar.gz",
    SageMakerRealtime(
        "ml.c5.large",
        instances=2,
        environment={"LOG": "info"},
        network=Network(("subnet-1",), ("sg-1",), True),
        capture=Capture(10),
        metrics=Metrics(),
        health_check_timeout_s=120,
    ),
    TargetTracking(metric="custom", target=3.0, custom=CustomMetric("Mine", "Depth")),
    Canary(25, alarms=("mine",)),
    Slo(p99_ms=100.0),
    {"team": "vision"},
)
METRIC = Metric("AWS/SageMaker", "ModelLatency", "p99", {"EndpointName": "digits"})
ALARM = Alarm("digits-p99", "p99 over the objective", METRIC, 100_000.0, low_samples="ignore")
RESOLVED = Resolved(
    spec=SPEC,
    place=Place("123456789012", "us-east-1", "target.region"),
    image=Image(f"123456789012.dkr.ecr.us-east-1.amazonaws.com/d@sha256:{DIGEST}", DIGEST),
    artifact=Artifact("b", f"deployer/digits/{DIGEST}/model.tar.gz", DIGEST, False, "d.tar.gz"),
    role=Role(
        "deployer-digits",
        "arn:aws:iam::123456789012:role/deployer-digits",
        True,
        (Statement("Read", ("s3:GetObject",), ("arn:aws:s3:::b/*",), {"StringEquals/a": "b"}),),
    ),
    model_name="digits-0123456789ab",
    config_name="digits-ba9876543210",
    endpoint_name="digits",
    tags={"deployer:name": "digits"},
    instances=2,
    capture_s3_uri="s3://b/capture",
    scaling=Scaling(
        dimension=INSTANCE_COUNT,
        min_capacity=1,
        max_capacity=4,
        basis="scaling.target",
        tracking=(Tracking("track", 3.0, 300, 60, metric=METRIC),),
        stepping=(
            Stepping("wake", (StepRange(1, 0.0, None), StepRange(-1, None, 0.0)), ALARM, 60),
        ),
        schedules=(ScheduledAction("night", "cron(0 22 * * ? *)", 1),),
    ),
    alarms=(ALARM,),
    rollback_alarms=("digits-p99", "mine"),
    retain_capacity=True,
    rollout_timeout_s=3600,
    expires="2026-12-01T00:00:00+00:00",
)


def test_a_resolved_document_survives_json() -> None:
    text = json.dumps(RESOLVED.to_json())
    assert documents.from_json(json.loads(text)) == RESOLVED


def test_a_specification_with_every_option_survives_toml(tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(serde.to_toml(SPEC))
    again = serde.load(path)
    assert again.target == SPEC.target
    assert (again.scaling, again.rollout) == (SPEC.scaling, SPEC.rollout)


def changed(**changes: Any) -> dict[str, Any]:
    return {**RESOLVED.to_json(), **changes}


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (changed(colour="red"), "colour"),
        (changed(role={"name": "r", "arn": "a"}), "role.made"),
        (changed(role={"name": "r", "arn": "a", "made": "yes"}), "role.made"),
        (changed(image={"uri": "u", "tag": "x"}), "image.tag"),
        (
            changed(alarms=[{**RESOLVED.to_json()["alarms"][0], "period_s": 1.5}]),
            "alarms[0].period_s",
        ),
        (changed(spec={**RESOLVED.to_json()["spec"], "colour": "red"}), "colour"),
        ({k: v for k, v in changed().items() if k != "tags"}, "tags"),
    ],
)
def test_a_wrong_key_is_named(data: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        documents.from_json(data)
    assert caught.value.key == key


def test_another_version_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="schema_version is 2, not 1"):
        documents.from_json(changed(schema_version=2))
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(InputError, match=r"r\.json"):
        documents.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    "key", ["variants", "shadow_variants", "inference_components", "instance_pools"]
)
def test_what_comes_later_is_refused_by_name(key: str) -> None:
    target = {"kind": "sagemaker-realtime", "instance_type": "ml.c5.large", key: []}
    with pytest.raises(NotSupported, match=rf"target\.{key}: .* not there yet"):
        serde.from_dict({"name": "digits", "bundle": "b", "target": target})
