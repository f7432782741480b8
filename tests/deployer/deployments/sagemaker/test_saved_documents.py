"""A saved plan, a resolved document and an upload meet the same rule book as a specification."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import deployer
from deployer.deployments.ec2 import resolve as ec2
from deployer.deployments.local import planner
from deployer.deployments.plan import Plan
from deployer.deployments.sagemaker import resolve as sagemaker
from deployer.errors import RuleBroken
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import Listener
from deployer.spec.resolved import Image, Place
from deployer.spec.rollout import Canary
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import Ec2Fleet, Local, SageMakerRealtime
from inference_code.contract import ServingConfig

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ARN = "123456789012.dkr.ecr.us-east-1.amazonaws.com/digits"


def document(target: Any) -> Any:
    """Resolve a good specification, and put a canary of one instance into it by hand."""
    spec = DeploymentSpec("digits", "none.tar.gz", target)
    place = Place("123456789012", "us-east-1", "target.region")
    image = Image(f"{ARN}@sha256:{'7b' * 32}", "7b" * 32)
    if isinstance(target, Ec2Fleet):
        asked = ec2.Asked()
        found: Any = ec2.resolve(
            spec, place, image, "3f" * 32, ServingConfig(), "ami-1", asked=asked, now=NOW
        )
    else:
        found = sagemaker.resolve(
            spec, place, image, "3f" * 32, asked=sagemaker.Asked(), now=NOW, vcpus=2
        )
    return replace(found, spec=replace(spec, rollout=Canary(10)))


FLEET = Ec2Fleet("c5.large", listener=Listener("http"))


@pytest.mark.parametrize(
    ("target", "id"),
    [(SageMakerRealtime("ml.c5.large"), "rollout-part"), (FLEET, "rollout-part-ec2")],
)
def test_a_resolved_document_is_not_deployed_by_hand_past_a_rule(
    target: Any, id: str, fake_aws: Any, tmp_path: Path
) -> None:
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(document(target).to_json()))
    with pytest.raises(RuleBroken) as caught:
        deployer.deploy(path)
    assert caught.value.broken == (id,)
    assert fake_aws.changing == []


def test_nothing_is_uploaded_for_one() -> None:
    with pytest.raises(RuleBroken, match="cannot be cut from a fleet of 1"):
        deployer.upload(document(SageMakerRealtime("ml.c5.large")))


def test_a_saved_plan_of_this_machine_is_judged_again(tmp_path: Path) -> None:
    spec = DeploymentSpec("echo", "none.tar.gz", Local(), TargetTracking(target=5.0))
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(Plan(spec, "3f" * 32, (), None).to_json()))
    with pytest.raises(RuleBroken, match=r"scaling.kind: .* needs target.balancer"):
        deployer.deploy(path)
    with pytest.raises(RuleBroken, match=r"scaling.kind: .* needs target.balancer"):
        planner.plan(spec)
