"""The real CDK CLI against a server over HTTP: bootstrap, deploy, describe, update, destroy.

The server is moto's with a labelled shim (``server.py``) for what moto's CloudFormation leaves out; real boto3
looks at what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from deployer.spec.resolved import Resolved

pytestmark = [pytest.mark.cdk, pytest.mark.slow]

STACK = "deployer-digits"
MADE = ("--app", "cdk.out")
"""Take the assembly that the command before has made: it need not be synthesized twice."""


@pytest.fixture(scope="module")
def account(cloud: Any, examples: Mapping[str, Resolved]) -> Any:
    """The account, bootstrapped."""
    cloud.write(examples["realtime"])
    cloud.cdk("bootstrap", "aws://123456789012/us-east-1")
    return cloud


def described(cloud: Any, document: Resolved) -> None:
    """Look at the deployment with boto3: what runs is what the document says."""
    sagemaker = cloud.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName="digits")
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointConfigName"] == document.config_name
    config = sagemaker.describe_endpoint_config(EndpointConfigName=document.config_name)
    (variant,) = config["ProductionVariants"]
    assert (variant["InstanceType"], variant["ModelName"]) == ("ml.c5.large", document.model_name)
    assert config["DataCaptureConfig"]["InitialSamplingPercentage"] == 10
    model = sagemaker.describe_model(ModelName=document.model_name)
    assert model["PrimaryContainer"]["ModelDataUrl"] == document.artifact.s3_uri
    assert model["ExecutionRoleArn"] == document.role.arn
    assert [row["ModelName"] for row in sagemaker.list_models()["Models"]] == [document.model_name]
    scaling = cloud.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["ResourceId"] == "endpoint/digits/variant/AllTraffic"
    assert document.scaling is not None
    assert target["MaxCapacity"] == document.scaling.max_capacity
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 600.0
    iam = cloud.client("iam")
    assert iam.list_role_policies(RoleName=document.role.name)["PolicyNames"] == ["deployer"]
    attached = iam.list_attached_role_policies(RoleName=document.role.name)["AttachedPolicies"]
    assert attached == []


def test_a_real_time_endpoint_is_deployed_described_updated_and_destroyed(
    account: Any, examples: Mapping[str, Resolved], resolver: Callable[..., Resolved]
) -> None:
    first = examples["realtime"]
    account.deploy(first)
    outputs = json.loads((account.folder / "outputs.json").read_text())
    assert outputs[STACK]["BundleDigest"] == first.artifact.digest
    described(account, first)
    p99 = "deployer/digits/p99"
    assert account.alarms() == {
        "deployer/digits/5xx": 0.005,
        "deployer/digits/model-errors": 0.005,
        p99: 100_000.0,
    }

    made = len(account.calls())
    assert "no changes" in account.deploy(first)
    assert account.calls(since=made) == [], "deploying the same twice changes nothing"

    spec = first.spec
    wish = replace(
        spec, scaling=replace(spec.scaling, max_instances=8), slo=replace(spec.slo, p99_ms=80.0)
    )
    second = resolver(wish, digest="4e" * 32)
    assert (second.model_name, second.config_name) != (first.model_name, first.config_name)
    account.write(second)
    assert "MaxCapacity" in account.cdk("diff")
    account.cdk("deploy", "--require-approval", "never", *MADE)
    described(account, second)
    assert account.alarms()[p99] == 80_000.0
    (update,) = [row for row in account.calls() if row["operation"] == "update_endpoint"]
    assert update["parameters"]["RetainAllVariantProperties"] is True
    assert update["parameters"]["EndpointConfigName"] == second.config_name
    names = update["parameters"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [row["AlarmName"] for row in names] == list(account.alarms())

    account.cdk("destroy", "--force", *MADE)
    assert account.left() == []


def test_the_other_modes_are_deployed_beside_each_other_and_destroyed(
    account: Any, examples: Mapping[str, Resolved]
) -> None:
    modes = {name: examples[name] for name in ("serverless", "async", "batch")}
    for document in modes.values():
        account.deploy(document)
    sagemaker = account.client("sagemaker")
    for document in (modes["serverless"], modes["async"]):
        endpoint = sagemaker.describe_endpoint(EndpointName=document.endpoint_name)
        assert endpoint["EndpointStatus"] == "InService"
        assert endpoint["EndpointConfigName"] == document.config_name
    (variant,) = sagemaker.describe_endpoint_config(
        EndpointConfigName=modes["serverless"].config_name
    )["ProductionVariants"]
    assert variant["ServerlessConfig"]["ProvisionedConcurrency"] == 2
    scaling = account.client("application-autoscaling")
    rows = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert {row["ResourceId"].split("/")[1]: row["MinCapacity"] for row in rows} == {
        "receipts": 2,
        "transcripts": 0,
    }
    model = sagemaker.describe_model(ModelName=modes["batch"].model_name)
    assert model["ExecutionRoleArn"] == modes["batch"].role.arn
    account.cdk("destroy", "--force", *MADE)
    names = account.left()
    assert not [name for name in names if "archive" in name]
    assert {"receipts", "transcripts"} <= set(names), "others are left alone"
    for name in ("serverless", "async"):
        account.remove(f"deployer-{modes[name].spec.name}")
    assert account.left() == []
