"""The real CDK CLI against a server over HTTP: bootstrap, deploy, describe, update, destroy.

The server is moto's with a labelled shim (``server.py``) for what moto's CloudFormation leaves out; real boto3
looks at what is there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.spec import serde
from deployer.spec.resolved import Resolved
from stacks import CDK_CLI

pytestmark = [pytest.mark.cdk, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "deploy_sagemaker" / "realtime.toml"
STACK = "deployer-digits"
REGION = "us-east-1"


@dataclass(frozen=True)
class Cloud:
    """The server, and the CDK CLI in a folder that is pointed at it."""

    url: str
    folder: Path

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls that CloudFormation made for templates, in order."""
        with urllib.request.urlopen(f"{self.url}/shim/calls") as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return [row for row in found if not row["operation"].startswith("describe")]

    def cdk(self, *arguments: str) -> str:
        """Run the pinned CLI and return what it said; it must succeed."""
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "CDK_HOME": str(self.folder / "cdk-home"),
            "CI": "true",
        }
        done = subprocess.run(
            ["npx", "--yes", CDK_CLI, *arguments, "--no-notices"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, document: Resolved) -> None:
        """Write the document where the app looks for it."""
        (self.folder / "resolved.json").write_text(json.dumps(document.to_json()))

    def deploy(self, document: Resolved) -> str:
        """Write the document and deploy it."""
        self.write(document)
        outputs = ("--outputs-file", "outputs.json")
        return self.cdk("deploy", "--require-approval", "never", *outputs)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    port = free_port()
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), str(port)],
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while not answers(port):
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            (tmp_path / "cdk.json").write_text((ROOT / "cdk.json").read_text())
            # moto finds a template in its S3 by this host's name only.
            yield Cloud(f"http://localhost:{port}", tmp_path)
        finally:
            server.terminate()
            server.wait(timeout=30)


def described(cloud: Cloud, document: Resolved) -> None:
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


def alarms(cloud: Cloud) -> dict[str, float]:
    found = cloud.client("cloudwatch").describe_alarms(AlarmNamePrefix="deployer/")["MetricAlarms"]
    return {row["AlarmName"]: row["Threshold"] for row in found}


def left(cloud: Cloud) -> list[str]:
    """Return the names of all that is ours and still there."""
    sagemaker = cloud.client("sagemaker")
    names = [row["EndpointName"] for row in sagemaker.list_endpoints()["Endpoints"]]
    names += [
        row["EndpointConfigName"] for row in sagemaker.list_endpoint_configs()["EndpointConfigs"]
    ]
    names += [row["ModelName"] for row in sagemaker.list_models()["Models"]]
    names += list(alarms(cloud))
    scaling = cloud.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    names += [row["ResourceId"] for row in targets]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    names += [row["PolicyName"] for row in policies]
    roles = cloud.client("iam").list_roles()["Roles"]
    names += [row["RoleName"] for row in roles if row["RoleName"].startswith("deployer-")]
    boards = cloud.client("cloudwatch").list_dashboards()["DashboardEntries"]
    return names + [row["DashboardName"] for row in boards]


def test_bootstrap_deploy_describe_update_destroy(
    cloud: Cloud, resolver: Callable[..., Resolved]
) -> None:
    first = resolver(serde.load(EXAMPLE))
    cloud.write(first)
    cloud.cdk("bootstrap", f"aws://123456789012/{REGION}")
    cloud.deploy(first)
    outputs = json.loads((cloud.folder / "outputs.json").read_text())
    assert outputs[STACK]["BundleDigest"] == first.artifact.digest
    described(cloud, first)
    p99 = "deployer/digits/p99"
    assert alarms(cloud) == {
        "deployer/digits/5xx": 0.005,
        "deployer/digits/model-errors": 0.005,
        p99: 100_000.0,
    }

    made = len(cloud.calls())
    assert "no changes" in cloud.deploy(first)
    assert len(cloud.calls()) == made, "deploying the same twice changes nothing"

    spec = first.spec
    wish = replace(
        spec, scaling=replace(spec.scaling, max_instances=8), slo=replace(spec.slo, p99_ms=80.0)
    )
    second = resolver(wish, digest="4e" * 32)
    assert (second.model_name, second.config_name) != (first.model_name, first.config_name)
    cloud.deploy(second)
    described(cloud, second)
    assert alarms(cloud)[p99] == 80_000.0
    (update,) = [row for row in cloud.calls() if row["operation"] == "update_endpoint"]
    assert update["parameters"]["RetainAllVariantProperties"] is True
    assert update["parameters"]["EndpointConfigName"] == second.config_name
    names = update["parameters"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [row["AlarmName"] for row in names] == list(alarms(cloud))

    cloud.cdk("destroy", "--force")
    assert left(cloud) == []
