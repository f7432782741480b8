"""One bundle, one image in the fake ECR, and the verbs with a clock that does not wait."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.aws.session import Aws, connect
from deployer.deployments.aws.expiry import remove_each
from deployer.deployments.aws.polling import Polling
from deployer.deployments.backend import Asked
from deployer.deployments.plan import Plan
from deployer.deployments.sagemaker import destroy, reap, rollback, verbs
from deployer.deployments.sagemaker.nouns import SageMakerDeployed
from deployer.pricing import snapshot
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.resolved import Resolved
from deployer.spec.rollout import Canary
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import SageMakerRealtime

MANIFEST = (
    '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": '
    '[{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": "sha256:%s", '
    '"platform": {"os": "linux", "architecture": "amd64"}}]}' % ("a" * 64)
)


SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
"""One for all tests: it keeps AWS's service models, which take seconds to read."""


@dataclass
class Clock:
    """A clock that sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def polling() -> Polling:
    clock = Clock()
    return Polling(poll_s=10, settle_s=40, limit_s=3600, sleep=clock.sleep, clock=clock)


@dataclass
class Cloud:
    """The verbs against the fake AWS."""

    fake: Any
    bundle: Callable[..., Path]
    said: list[str] = field(default_factory=list)
    read_timeout_s: float = 20.0

    def aws(self, account: str = "") -> Aws:
        """The account; ``account`` claims another than the credentials are of."""
        made = Aws(connect().region, read_timeout_s=self.read_timeout_s, session=SESSION)
        if account:
            made.__dict__["identity"] = (account, "aws")
        return made

    @property
    def handler(self) -> str:
        return str(inspect.signature(self.bundle).parameters["handler"].default)

    @staticmethod
    def polling() -> Polling:
        return polling()

    def image(self, name: str = "digits") -> str:
        """Put an image for x86-64 into the repository of a deployment; return its digest's URI."""
        ecr = boto3.client("ecr")
        repository = f"deployer/{name}"
        ecr.create_repository(repositoryName=repository)
        answer = ecr.put_image(repositoryName=repository, imageManifest=MANIFEST, imageTag="1")
        return str(answer["image"]["imageId"]["imageDigest"])

    def spec(self, version: str = "1", **changes: Any) -> DeploymentSpec:
        values: dict[str, Any] = {
            "name": "digits",
            "bundle": str(self.bundle(version)),
            "target": SageMakerRealtime("ml.c5.large", instances=2),
            "scaling": TargetTracking(target=600.0, min_instances=2, max_instances=4),
            "rollout": Canary(50, 300.0),
            "slo": Slo(p99_ms=100.0),
            "tags": {"team": "vision"},
        }
        return DeploymentSpec(**(values | changes))

    def plan(self, spec: DeploymentSpec, **asked: Any) -> Plan[Resolved]:
        return verbs.plan(self.aws(), spec, snapshot.load(), asked=Asked(version="1.0", **asked))

    def apply(self, plan: Plan[Resolved]) -> SageMakerDeployed:
        return verbs.apply(self.aws(), plan, polling=polling(), say=self.said.append)

    def deploy(self, spec: DeploymentSpec) -> SageMakerDeployed:
        aws = self.aws()
        calm, asked = polling(), Asked(version="1.0")
        plan = verbs.plan(aws, spec, snapshot.load(), asked=asked, polling=calm)
        return verbs.apply(aws, plan, polling=calm, say=self.said.append)

    def rollback(self) -> Any:
        return rollback.rollback(self.aws(), "digits", polling=polling(), say=self.said.append)

    def reap(self) -> Any:
        aws = self.aws()
        found = reap.expired(aws, datetime.now(UTC))
        return remove_each([(item, self.destroy) for item in found], self.said.append)

    @staticmethod
    def alarm(name: str) -> None:
        """Make an alarm of the user's own."""
        boto3.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="Mine",
            MetricName="Errors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )

    def changes(self, call: str) -> bool:
        """Whether a call to SageMaker or Application Auto Scaling changes something."""
        return self.fake.is_change(call) and call.startswith(("SageMaker.", "AnyScale"))

    def log(self, line: str) -> None:
        """Let a container of the deployment have said something."""
        logs = boto3.client("logs")
        where = {"logGroupName": "/aws/sagemaker/Endpoints/digits", "logStreamName": "a/b"}
        logs.create_log_group(logGroupName=where["logGroupName"])
        logs.create_log_stream(**where)
        logs.put_log_events(
            **where, logEvents=[{"timestamp": int(time.time() * 1000), "message": line}]
        )

    @staticmethod
    def everything() -> list[str]:
        """Whatever exists in the fake account but the image."""
        client = boto3.client("sagemaker")
        found = [
            *(row["EndpointName"] for row in client.list_endpoints()["Endpoints"]),
            *(r["EndpointConfigName"] for r in client.list_endpoint_configs()["EndpointConfigs"]),
            *(row["ModelName"] for row in client.list_models()["Models"]),
            *(row["Name"] for row in boto3.client("s3").list_buckets()["Buckets"]),
            *(row["RoleName"] for row in boto3.client("iam").list_roles()["Roles"]),
            *(r["AlarmName"] for r in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]),
            *(r["logGroupName"] for r in boto3.client("logs").describe_log_groups()["logGroups"]),
        ]
        scaling = boto3.client("application-autoscaling")
        rows = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return [*found, *(row["ResourceId"] for row in rows)]

    def destroy(self, name: str = "digits") -> tuple[str, ...]:
        return destroy.destroy(self.aws(), name, polling=polling(), say=self.said.append)

    def remaining(self, name: str = "digits") -> tuple[str, ...]:
        return destroy.remaining(self.aws(), name)


@pytest.fixture
def cloud(fake_aws: Any, echo_bundle: Callable[..., Path]) -> Cloud:
    """The fake AWS with an image for the deployment ``digits``."""
    made = Cloud(fake_aws, echo_bundle)
    made.image()
    fake_aws.calls.clear()
    return made
