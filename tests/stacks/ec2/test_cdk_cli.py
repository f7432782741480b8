"""The real CDK CLI against moto over HTTP: deploy, update, destroy of a fleet, by hand and by deployer's verbs.

What moto's CloudFormation leaves out, and nobody here can show: scaling policies, warm pools and lifecycle hooks of
a group, attributes of a target group, creation signals, and the instance refresh: an update replaces no instance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import deployer
from deployer.bundle.build import build
from deployer.deployments.ec2.nouns import FleetDeployed, FleetStatus
from deployer.errors import EnvironmentProblem, InputError
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet

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


@pytest.fixture
def cloud(clouds: Any, tmp_path: Path) -> Iterator[Any]:
    """An account on this machine, empty, with what fleets need more of the server."""
    with clouds.started(tmp_path, Path(__file__).with_name("server.py")) as made:
        yield made


def deployed(cloud: Any, document: ResolvedFleet) -> dict[str, str]:
    """Deploy the document with the CLI and return the outputs."""
    cloud.deploy(document)
    found: dict[str, str] = cloud.outputs(STACK)
    return found


def certificate(cloud: Any) -> str:
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


def group(cloud: Any) -> dict[str, Any]:
    (found,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return dict(found)


def described(cloud: Any, document: ResolvedFleet, said: dict[str, str]) -> None:
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


def user_data(cloud: Any) -> str:
    """Return the newest launch script."""
    ec2 = cloud.client("ec2")
    (row,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(
        LaunchTemplateId=row["LaunchTemplateId"], Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    import base64

    return base64.b64decode(versions[0]["LaunchTemplateData"]["UserData"]).decode()


def test_deploy_update_destroy(cloud: Any, fleet_resolver: Callable[..., ResolvedFleet]) -> None:
    spec = serde.load(ROOT / "examples" / "deploy_ec2" / "spot.toml")
    target: Any = spec.target
    listener = replace(target.listener, certificate_arn=certificate(cloud))
    wish = replace(spec, target=replace(target, listener=listener))
    first = fleet_resolver(wish)
    cloud.write(first)
    cloud.cdk("bootstrap", f"aws://123456789012/{REGION}")
    described(cloud, first, deployed(cloud, first))
    assert f"DIGEST={'3f' * 32}" in user_data(cloud)

    scaling: Any = wish.scaling
    wider = replace(wish, scaling=replace(scaling, max_instances=16))
    second = fleet_resolver(wider, digest="4e" * 32)
    described(cloud, second, deployed(cloud, second))
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
    cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert isinstance(made, FleetDeployed)
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


def works_from_a_queue(cloud: Any, folder: Path) -> None:
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
    assert isinstance(made, FleetDeployed)
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
