"""An account on this machine: the server of ``server.py``, boto3 pointed at it, and the real CDK CLI."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from stacks import CDK_CLI

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
SERVER = Path(__file__).with_name("server.py")
Document = dict[str, Any]


def environment() -> dict[str, str]:
    """Return our environment without anything of a real account."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}


@dataclass(frozen=True)
class Cloud:
    """The server, and a project's folder in which the CDK CLI is pointed at it."""

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

    def calls(self, since: int = 0) -> list[Document]:
        """Return the calls that CloudFormation made for templates, in order, without those that only read."""
        with urllib.request.urlopen(f"{self.url}/shim/calls") as answer:
            found: list[Document] = json.load(answer)
        return [row for row in found if not row["operation"].startswith("describe")][since:]

    def cdk(self, *arguments: str) -> str:
        """Run the pinned CLI and return what it said; it must succeed."""
        done = subprocess.run(
            ["npx", "--yes", CDK_CLI, *arguments, "--no-notices"],
            cwd=self.folder,
            env=environment()
            | {
                "AWS_ENDPOINT_URL": self.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": REGION,
                "CDK_HOME": str(self.folder / "cdk-home"),
                "CI": "true",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, document: Resolved | ResolvedFleet) -> None:
        """Write the document where the app looks for it."""
        (self.folder / "resolved.json").write_text(json.dumps(document.to_json()))

    def deploy(self, document: Resolved | ResolvedFleet) -> str:
        """Write the document and deploy it with the CLI."""
        self.write(document)
        outputs = ("--outputs-file", "outputs.json")
        return self.cdk("deploy", "--require-approval", "never", *outputs)

    def outputs(self, stack: str) -> dict[str, str]:
        """Return what the CLI wrote of a stack when it deployed."""
        found: dict[str, dict[str, str]] = json.loads((self.folder / "outputs.json").read_text())
        return found[stack]

    def apply(self, stack: str, template: Mapping[str, Any]) -> list[Document]:
        """Make a stack, or update it, without the CLI; return the calls made for it."""
        before = len(self.calls())
        client = self.client("cloudformation")
        stacks = client.list_stacks(StackStatusFilter=["CREATE_COMPLETE", "UPDATE_COMPLETE"])
        there = stack in [row["StackName"] for row in stacks["StackSummaries"]]
        act = client.update_stack if there else client.create_stack
        act(
            StackName=stack,
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        return self.calls(since=before)

    def remove(self, stack: str) -> None:
        """Delete a stack without the CLI."""
        self.client("cloudformation").delete_stack(StackName=stack)

    def alarms(self) -> dict[str, float]:
        """Return our alarms with their thresholds."""
        found = self.client("cloudwatch").describe_alarms(AlarmNamePrefix="deployer/")
        return {row["AlarmName"]: row["Threshold"] for row in found["MetricAlarms"]}

    def left(self) -> list[str]:
        """Return the names of all that is ours and still there."""
        sagemaker, scaling = self.client("sagemaker"), self.client("application-autoscaling")
        roles = self.client("iam").list_roles()["Roles"]
        of_sagemaker = {"ServiceNamespace": "sagemaker"}
        targets = scaling.describe_scalable_targets(**of_sagemaker)["ScalableTargets"]
        policies = scaling.describe_scaling_policies(**of_sagemaker)["ScalingPolicies"]
        schedules = scaling.describe_scheduled_actions(**of_sagemaker)["ScheduledActions"]
        boards = self.client("cloudwatch").list_dashboards()["DashboardEntries"]
        return [
            *(row["EndpointName"] for row in sagemaker.list_endpoints()["Endpoints"]),
            *(
                row["EndpointConfigName"]
                for row in sagemaker.list_endpoint_configs()["EndpointConfigs"]
            ),
            *(row["ModelName"] for row in sagemaker.list_models()["Models"]),
            *self.alarms(),
            *(row["ResourceId"] for row in targets),
            *(row["PolicyName"] for row in policies),
            *(row["ScheduledActionName"] for row in schedules),
            *(row["RoleName"] for row in roles if row["RoleName"].startswith("deployer-")),
            *(row["DashboardName"] for row in boards),
        ]


@contextmanager
def started(folder: Path, script: Path = SERVER) -> Iterator[Cloud]:
    """Run the server of ``script``; ``folder`` becomes a project with our cdk.json."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, str(script), str(port)],
            env=environment() | {"AWS_EC2_METADATA_DISABLED": "true"},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (folder / "cdk.json").write_text((ROOT / "cdk.json").read_text())
        # moto finds a template in its S3 by this host's name only.
        yield Cloud(f"http://localhost:{port}", folder)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
