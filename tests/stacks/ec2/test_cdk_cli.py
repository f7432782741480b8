"""The real CDK CLI against moto over HTTP: deploy, update, destroy of a fleet, by hand and by deployer's verbs.

What moto's CloudFormation leaves out, and nobody here can show: scaling policies, warm pools and lifecycle hooks of
a group, attributes of a target group, creation signals, and the instance refresh: an update replaces no instance.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

import deployer
from deployer.bundle.build import build
from deployer.deployments.ec2.verbs import FleetDeployment, FleetStatus
from deployer.errors import EnvironmentProblem, InputError
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet
from stacks import CDK_CLI

pytestmark = [
    pytest.mark.cdk,
    pytest.mark.slow,
    pytest.mark.skipif(
        "DEPLOYER_ALL_FLEETS" not in os.environ, reason="a minute long (DEPLOYER_ALL_FLEETS=1)"
    ),
]

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
STACK = "deployer-digits"


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
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, document: ResolvedFleet) -> None:
        """Write the document where the app looks for it."""
        (self.folder / "resolved.json").write_text(json.dumps(document.to_json()))

    def deploy(self, document: ResolvedFleet) -> dict[str, str]:
        """Deploy the document and return the outputs."""
        self.write(document)
        self.cdk("deploy", "--require-approval", "never", "--outputs-file", "outputs.json")
        found: dict[str, str] = json.loads((self.folder / "outputs.json").read_text())[STACK]
        return found


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    script = Path(__file__).with_name("server.py")
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, str(script), str(port)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not listens(port):
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            (tmp_path / "cdk.json").write_text((ROOT / "cdk.json").read_text())
            # moto finds a template in its S3 by this host's name only.
            yield Cloud(f"http://localhost:{port}", tmp_path)
        finally:
            server.terminate()
            server.wait(timeout=30)


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def certificate(cloud: Cloud) -> str:
    """Put a certificate into ACM and return its ARN."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "digits.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    body = signed.public_bytes(serialization.Encoding.PEM)
    made = cloud.client("acm").import_certificate(Certificate=body, PrivateKey=private)
    return str(made["CertificateArn"])


def group(cloud: Cloud) -> dict[str, Any]:
    (found,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return dict(found)


def described(cloud: Cloud, document: ResolvedFleet, said: dict[str, str]) -> None:
    """Look at the fleet with boto3: what runs is what the document says."""
    assert said["BundleDigest"] == document.artifact.digest
    assert said["DocumentDigest"] == document.digest
    found = group(cloud)
    assert found["AutoScalingGroupName"] == "deployer-digits"
    assert (found["MinSize"], found["MaxSize"]) == (document.least, document.most)
    assert found["TargetGroupARNs"] == [said["TargetGroupArn"]]
    assert found["HealthCheckType"] == "ELB"
    policy = found["MixedInstancesPolicy"]
    overrides = policy["LaunchTemplate"]["Overrides"]
    assert [row["InstanceType"] for row in overrides] == ["c7i.large", "c6i.large", "c6i.xlarge"]
    states = {row["InstanceId"]: row["LifecycleState"] for row in found["Instances"]}
    assert len(states) == document.least
    assert set(states.values()) == {"InService"}
    elb = cloud.client("elbv2")
    health = elb.describe_target_health(TargetGroupArn=said["TargetGroupArn"])
    targets = {
        row["Target"]["Id"]: row["TargetHealth"]["State"]
        for row in health["TargetHealthDescriptions"]
    }
    # moto makes a changed group anew and leaves the instances of the old one registered.
    assert {name: targets[name] for name in states} == dict.fromkeys(states, "healthy")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert said["Url"] == f"https://{balancer['DNSName']}"
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
    assert "TLS13" in listener["SslPolicy"]


def user_data(cloud: Cloud) -> str:
    """Return the newest launch script."""
    ec2 = cloud.client("ec2")
    (row,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(
        LaunchTemplateId=row["LaunchTemplateId"], Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    import base64

    return base64.b64decode(versions[0]["LaunchTemplateData"]["UserData"]).decode()


def test_deploy_update_destroy(cloud: Cloud, fleet_resolver: Callable[..., ResolvedFleet]) -> None:
    spec = serde.load(ROOT / "examples" / "deploy_ec2" / "spot.toml")
    target: Any = spec.target
    listener = replace(target.listener, certificate_arn=certificate(cloud))
    wish = replace(spec, target=replace(target, listener=listener))
    first = fleet_resolver(wish)
    cloud.write(first)
    cloud.cdk("bootstrap", f"aws://123456789012/{REGION}")
    described(cloud, first, cloud.deploy(first))
    assert f"DIGEST={'3f' * 32}" in user_data(cloud)

    scaling: Any = wish.scaling
    wider = replace(wish, scaling=replace(scaling, max_instances=16))
    second = fleet_resolver(wider, digest="4e" * 32)
    described(cloud, second, cloud.deploy(second))
    assert group(cloud)["MaxSize"] == 16
    assert f"DIGEST={'4e' * 32}" in user_data(cloud)

    cloud.cdk("destroy", "--force")
    assert cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert cloud.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    states = [
        row["State"]["Name"]
        for reservation in cloud.client("ec2").describe_instances()["Reservations"]
        for row in reservation["Instances"]
    ]
    assert set(states) <= {"terminated", "shutting-down"}
    names = [row["Name"] for row in cloud.client("s3").list_buckets()["Buckets"]]
    assert [name for name in names if "balancer" in name], "the access logs outlive the stack"


HANDLER = (
    "def predict_fn(data, model):\n    return data\n\n\ndef model_fn(folder):\n    return None\n"
)
SPEC = """
name = "digits"
bundle = "{bundle}"

[target]
kind = "ec2-fleet"
instance_type = "c7i.large"
instances = 2
image_uri = "registry.example/digits@sha256:{image}"

[target.listener]
protocol = "http"
allow_cidrs = ["203.0.113.0/24"]
"""


def wish(folder: Path) -> Path:
    """Write a real bundle and a deployment.toml of it."""
    (folder / "m").mkdir()
    (folder / "m" / "weights.bin").write_bytes(b"weights")
    (folder / "h.py").write_text(HANDLER)
    (folder / "sample.json").write_text("14")
    samples, handler = folder / "sample.json", folder / "h.py"
    bundle = build(folder / "m", folder / "out", name="digits", handler=handler, samples=samples)
    path = folder / "deployment.toml"
    path.write_text(SPEC.format(bundle=bundle.path, image="7b" * 32))
    return path


def test_deployer_deploys_looks_and_destroys(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CDK_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    path = wish(tmp_path)
    with pytest.raises(EnvironmentProblem, match="not bootstrapped"):
        deployer.deploy(path)
    (tmp_path / "cdk.json").unlink()
    cloud.cdk("bootstrap", f"aws://123456789012/{REGION}")
    made = deployer.deploy(path)
    assert isinstance(made, FleetDeployment)
    assert made.url.startswith("http://")
    assert made.url.endswith("/invocations")
    status = deployer.status("digits")
    assert isinstance(status, FleetStatus)
    assert status.healthy
    assert [row[1:] for row in status.instances] == [("InService", "healthy")] * 2
    assert deployer.deploy(path).changed == 0, "deploying the same twice changes nothing"
    assert deployer.status("digits", region=REGION) == status, "another machine sees the same"

    second = path.with_name("second.toml")
    second.write_text(path.read_text() + '\n[target.environment]\nMODE = "2"\n')
    assert deployer.deploy(second).changed == 1
    assert "MODE=2" in user_data(cloud)
    back = deployer.rollback("digits")
    assert "MODE=2" not in user_data(cloud)
    assert deployer.rollback("digits").runs == back.left, "a second rollback returns"

    s3 = cloud.client("s3")
    (bucket,) = [r["Name"] for r in s3.list_buckets()["Buckets"] if "balancer" in r["Name"]]
    s3.put_object(Bucket=bucket, Key="AWSLogs/1.log", Body=b"a request")
    removed = deployer.destroy("digits")
    assert "stack deployer-digits" in removed
    assert f"bucket {bucket} with 1 access logs" in removed
    names = [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert [name for name in names if not name.startswith("cdk-")] == []
    assert cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    with pytest.raises(InputError):
        deployer.status("digits", region=REGION)
    works_from_a_queue(cloud, tmp_path)


QUEUE_SPEC = """
name = "letters"
bundle = "{bundle}"

[target]
kind = "ec2-fleet"
instance_type = "c7i.large"
image_uri = "registry.example/digits@sha256:{image}"

[target.queue]
visibility_s = 30

[scaling]
kind = "queue-backlog"
target = 100.0
min_instances = 1
max_instances = 4
"""


def works_from_a_queue(cloud: Cloud, folder: Path) -> None:
    """Deploy a fleet with a queue and a time to live, look at it, and have it reaped."""
    (folder / "needs.txt").write_text("boto3\n")
    bundle = build(
        folder / "m",
        folder / "out",
        name="letters",
        handler=folder / "h.py",
        samples=folder / "sample.json",
        requirements=folder / "needs.txt",
    )
    path = folder / "queue.toml"
    path.write_text(QUEUE_SPEC.format(bundle=bundle.path, image="7b" * 32))
    made = deployer.deploy(path, ttl_s=1.0)
    assert isinstance(made, FleetDeployment)
    sqs = cloud.client("sqs")
    assert made.url.endswith("/deployer-letters")
    found = sqs.get_queue_attributes(QueueUrl=made.url, AttributeNames=["All"])["Attributes"]
    assert found["VisibilityTimeout"] == "30"
    assert "deployer-letters-dead" in found["RedrivePolicy"]
    status = deployer.status("letters")
    assert isinstance(status, FleetStatus)
    assert (status.serving, status.waiting, status.dead) == (1, 0, 0)
    assert "DEPLOYER_QUEUE=deployer-letters" in user_data(cloud)
    (gone,) = deployer.reap(region=REGION)
    assert "stack deployer-letters" in gone.removed
    assert sqs.list_queues().get("QueueUrls", []) == []
