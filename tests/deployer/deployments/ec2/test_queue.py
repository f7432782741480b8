"""A fleet that works from a queue: its plan, its status, and one message there and back, against moto over HTTP."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from click.testing import CliRunner

import deployer
from deployer.bundle.build import build
from deployer.cli.main import cli
from deployer.clients.base import Body
from deployer.deployments.ec2.nouns import FleetStatus
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet

pytestmark = pytest.mark.usefixtures("fake_aws")

REGION = "us-east-1"
HANDLER = (
    "def predict_fn(data, model):\n    return data\n\n\ndef model_fn(folder):\n    return None\n"
)


def package(folder: Path, requirements: str) -> Path:
    (folder / "m").mkdir()
    (folder / "m" / "weights.bin").write_bytes(b"weights")
    (folder / "h.py").write_text(HANDLER)
    (folder / "sample.json").write_text("14")
    (folder / "needs.txt").write_text(requirements)
    return build(
        folder / "m",
        folder / "out",
        name="digits",
        handler=folder / "h.py",
        samples=folder / "sample.json",
        requirements=folder / "needs.txt",
    ).path


def write(folder: Path, bundle: Path) -> Path:
    target = {
        "kind": "ec2-fleet",
        "instance_type": "c7i.large",
        "image_uri": "registry.example/digits@sha256:" + "7b" * 32,
        "queue": {},
    }
    scaling = {"kind": "queue-backlog", "target": 100.0, "min_instances": 0, "max_instances": 4}
    data = {"name": "digits", "bundle": str(bundle), "target": target, "scaling": scaling}
    path = folder / "deployment.toml"
    path.write_text(serde.to_toml(serde.from_dict(data)))
    return path


def test_a_queue_is_planned_and_priced_and_its_worker_has_boto3(tmp_path: Path) -> None:
    found = deployer.plan(write(tmp_path, package(tmp_path, "boto3==1.44.5\n")))
    assert isinstance(found.resolved, ResolvedFleet)
    assert found.resolved.queue == "deployer-digits"
    assert found.resolved.serve[0] == "worker"
    assert (found.resolved.least, found.resolved.most) == (0, 4)
    assert "SQS requests" in [line.item for line in found.cost.lines]


def test_a_bundle_without_boto3_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = write(tmp_path, package(tmp_path, "boto3-stubs==1.44.5\n"))
    with pytest.raises(InputError, match="does not require boto3") as caught:
        deployer.plan(path)
    assert "--requirements" in (caught.value.hint or "")


def stack(expires: str = "", **outputs: str) -> None:
    """Make a stack as ours: with its tags, its outputs, and both queues."""
    template = {
        "Resources": {
            "Dead": {
                "Type": "AWS::SQS::Queue",
                "Properties": {"QueueName": "deployer-digits-dead"},
            },
            "Work": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "deployer-digits"}},
        },
        "Outputs": {
            "GroupName": {"Value": "deployer-digits"},
            "QueueUrl": {"Value": {"Ref": "Work"}},
            "DeadLettersUrl": {"Value": {"Ref": "Dead"}},
            "Results": {"Value": "s3://answers/digits/results"},
            **{name: {"Value": value} for name, value in outputs.items()},
        },
    }
    tags = {"deployer:name": "digits", **({"deployer:expires": expires} if expires else {})}
    boto3.client("s3").create_bucket(Bucket="answers")
    boto3.client("cloudformation").create_stack(
        StackName="deployer-digits",
        TemplateBody=json.dumps(template),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )


@contextmanager
def worker(answer: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Take one message and give it to ``answer`` while the block runs."""

    def work() -> None:
        sqs = boto3.client("sqs")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = sqs.receive_message(
                QueueUrl=sqs.get_queue_url(QueueName="deployer-digits")["QueueUrl"],
                MessageAttributeNames=["All"],
            )
            for row in found.get("Messages", ()):
                answer(row)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(20)


def values(message: dict[str, Any]) -> dict[str, str]:
    return {name: row["StringValue"] for name, row in message["MessageAttributes"].items()}


def test_one_message_there_and_its_answer_back() -> None:
    stack()
    seen = []

    def answer(message: dict[str, Any]) -> None:
        seen.append((message["Body"], values(message)))
        key = f"digits/results/{values(message)['Key']}"
        boto3.client("s3").put_object(
            Bucket="answers", Key=key, Body=b"[7]", ContentType="application/json"
        )

    with worker(answer):
        found = deployer.invoke("digits", Body(b"\x93NUMPY", "application/x-npy"), region=REGION)
    assert (found.status, found.content, found.content_type) == (200, b"[7]", "application/json")
    ((text, attributes),) = seen
    assert base64.b64decode(text) == b"\x93NUMPY"
    assert (attributes["Encoding"], attributes["ContentType"]) == ("base64", "application/x-npy")


def test_what_a_worker_gave_up_is_answered_with_its_reason_and_stays_a_dead_letter() -> None:
    stack()
    sqs = boto3.client("sqs")
    dead = sqs.get_queue_url(QueueName="deployer-digits-dead")["QueueUrl"]

    def answer(message: dict[str, Any]) -> None:
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in {**values(message), "Reason": "415: no such type"}.items()
        }
        sqs.send_message(QueueUrl=dead, MessageBody="x", MessageAttributes=attributes)

    with worker(answer):
        found = deployer.invoke("digits", Body(b"{}"), region=REGION)
    assert (found.status, found.content) == (415, b"415: no such type")
    status = deployer.status("digits", region=REGION)
    assert isinstance(status, FleetStatus)
    assert (status.waiting, status.taken, status.dead) == (0, 1, 1)


def test_the_command_line_shows_the_queue(tmp_path: Path) -> None:
    path = write(tmp_path, package(tmp_path, "boto3\n"))
    planned = CliRunner().invoke(cli, ["plan", str(path)])
    assert planned.exit_code == 0, planned.stderr
    assert "deployer-digits, results in s3://deployer-123456789012-us-east-1/" in planned.stdout
    stack()
    shown = CliRunner().invoke(cli, ["status", "digits", "--region", REGION])
    assert "0 wait, 0 are worked on, 0 given up" in shown.stdout, shown.stderr
    assert "answers in s3://answers/digits/results" in shown.stdout
    told = CliRunner().invoke(cli, ["status", "digits", "--region", REGION, "--json"])
    assert json.loads(told.stdout)["waiting"] == 0


def test_an_answer_that_does_not_come_is_said_with_where_it_would_be() -> None:
    stack()
    with pytest.raises(EnvironmentProblem, match="was not answered within") as caught:
        deployer.invoke("digits", Body(b"{}"), timeout_s=0.3, region=REGION)
    assert "s3://answers/digits/results/" in (caught.value.hint or "")


def test_a_fleet_whose_time_is_over_is_found_by_its_tags_and_removed() -> None:
    now = datetime.now(UTC)
    over = (now - timedelta(minutes=1)).isoformat(timespec="seconds")
    stack(expires=over)
    s3, bucket = boto3.client("s3"), f"deployer-123456789012-{REGION}"
    s3.create_bucket(Bucket=bucket)
    tags = urlencode({"deployer:name": "digits", "deployer:expires": over})
    s3.put_object(Bucket=bucket, Key="deployer/digits/bundles/x", Body=b"", Tagging=tags)
    assert [item.name for item in deployer.expired(region=REGION)] == ["digits"]
    (done,) = deployer.reap(region=REGION)
    assert "stack deployer-digits" in done.removed
    assert deployer.expired(region=REGION) == ()
    stack(expires=(now + timedelta(hours=1)).isoformat(timespec="seconds"))
    assert deployer.expired(region=REGION) == ()


def test_a_tag_that_is_no_time_removes_nothing() -> None:
    stack(expires="tomorrow")
    with pytest.raises(DeployerError, match="which is no time"):
        deployer.reap(region=REGION)


def test_a_fleet_goes_back_to_the_newest_document_that_it_does_not_run(tmp_path: Path) -> None:
    from deployer.aws import session
    from deployer.aws.storage import Storage
    from deployer.deployments.ec2 import rollback

    aws = session.connect((REGION, "the test"))
    found = deployer.plan(write(tmp_path, package(tmp_path, "boto3\n")))
    assert isinstance(found.resolved, ResolvedFleet)
    first = found.resolved
    second = replace(first, environment={"A": "2"})
    Storage(aws, first.artifact.bucket).make({})
    rollback.keep(aws, first)
    stack(DocumentDigest=first.digest)
    with pytest.raises(InputError, match="has run nothing before"):
        rollback.before(aws, "digits")
    rollback.keep(aws, second)
    assert rollback.before(aws, "digits") == (first.digest, second)
    boto3.client("cloudformation").delete_stack(StackName="deployer-digits")
    stack(DocumentDigest=second.digest)
    assert rollback.before(aws, "digits")[1].digest == first.digest
