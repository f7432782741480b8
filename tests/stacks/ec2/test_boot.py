"""The launch script runs, ends with a server that answers, and fails closed with its reason."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.spec.fleet_resolved import ResolvedFleet
from stacks.constructs import launch

pytestmark = [
    pytest.mark.cdk,
    pytest.mark.serve,
    pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not on PATH"),
]


def load_machine() -> Any:
    """Import ``machine.py`` beside this file, which is in no package."""
    path = Path(__file__).with_name("machine.py")
    spec = importlib.util.spec_from_file_location("ec2_machine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ec2_machine"] = module
    spec.loader.exec_module(module)
    return module


STAGE = load_machine()
HOOK = STAGE.HOOK
sent_log = STAGE.sent_log


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real bundle."""
    return STAGE.bundle_in(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def document(fleets: Mapping[str, ResolvedFleet], bundle: Any) -> ResolvedFleet:
    """The example `minimal`, of the real bundle."""
    found = fleets["minimal"]
    key = found.artifact.key.replace(found.artifact.digest, bundle.digest)
    return replace(found, artifact=replace(found.artifact, digest=bundle.digest, key=key))


@pytest.fixture
def machine(tmp_path: Path, fake_aws: Any, document: ResolvedFleet, bundle: Any) -> Iterator[Any]:
    """An instance, see ``machine.py``."""
    found = STAGE.machine_in(tmp_path / "machine", document, bundle)
    yield found
    found.stop()


def test_it_ends_with_a_server_that_answers(machine: Any, document: ResolvedFleet) -> None:
    done = machine.boot(launch.render(document))
    assert done.returncode == 0, done.stdout + done.stderr
    machine.wait_for(
        HOOK, "--lifecycle-action-result CONTINUE", machine.metadata.values["instance-id"]
    )
    assert machine.post(b"14") == b"42.0"
    machine.wait_for("signal-resource", "--status SUCCESS", "--logical-resource-id Group")
    assert machine.called("docker pull -q", document.image.uri)
    assert machine.called("docker run", "--read-only", ":/opt/ml/model:ro", "--publish 8080:8080")
    log = sent_log(document)
    for step in ("settings", "bundle", "verify", "docker", "image", "units"):
        assert f"step {step}: " in log
    assert "ready: /ping answers 200" in log


def test_a_queues_worker_takes_the_place_of_the_server(
    machine: Any, document: ResolvedFleet, fleets: Mapping[str, ResolvedFleet]
) -> None:
    queued = replace(fleets["queue"], artifact=document.artifact, image=document.image)
    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    dead = sqs.create_queue(QueueName=f"{queued.queue}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 3})
    url = sqs.create_queue(QueueName=queued.queue, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    key = {"Key": {"DataType": "String", "StringValue": "order-7"}}
    sqs.send_message(QueueUrl=url, MessageBody="14", MessageAttributes=key)
    done = machine.boot(launch.render(queued))
    assert done.returncode == 0, done.stdout + done.stderr
    machine.wait_for(HOOK, "--lifecycle-action-result CONTINUE")
    assert machine.called("docker run", "--network host")
    assert "ready: the worker says that it is ready" in sent_log(document)
    bucket, _, prefix = queued.results_s3_uri.removeprefix("s3://").partition("/")
    s3.get_waiter("object_exists").wait(
        Bucket=bucket, Key=f"{prefix}/order-7", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    answer = s3.get_object(Bucket=bucket, Key=f"{prefix}/order-7")
    assert answer["Body"].read() == b"42.0"


def failed(machine: Any, document: ResolvedFleet, done: Any) -> str:
    """The instance gave up: it said so to its hook and to the stack, and no unit was started."""
    assert done.returncode == 1, done.stdout
    assert machine.called(HOOK, "--lifecycle-action-result ABANDON")
    assert machine.called("signal-resource", "--status FAILURE")
    assert not machine.called("systemctl start")
    return sent_log(document)


def test_a_wrong_digest_fails_closed(machine: Any, document: ResolvedFleet) -> None:
    wrong = replace(document, artifact=replace(document.artifact, digest="0" * 64))
    log = failed(machine, document, machine.boot(launch.render(wrong)))
    assert "bundle refused: its digest is" in log
    assert "FAILED in step verify" in log


def test_a_changed_member_fails_closed(
    machine: Any, document: ResolvedFleet, tmp_path: Path
) -> None:
    import tarfile

    s3 = boto3.client("s3")
    path = tmp_path / "changed.tar.gz"
    s3.download_file(document.artifact.bucket, document.artifact.key, str(path))
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "x", filter="data")
    weights = tmp_path / "x" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted((tmp_path / "x").rglob("*")):
            if file.is_file():
                archive.add(file, str(file.relative_to(tmp_path / "x")))
    s3.upload_file(str(path), document.artifact.bucket, document.artifact.key)
    log = failed(machine, document, machine.boot(launch.render(document)))
    assert "'weights.bin' is not the file of the manifest" in log


def test_a_missing_object_fails_closed(machine: Any, document: ResolvedFleet) -> None:
    boto3.client("s3").delete_object(Bucket=document.artifact.bucket, Key=document.artifact.key)
    log = failed(machine, document, machine.boot(launch.render(document)))
    assert "NoSuchKey" in log
    assert "FAILED in step bundle" in log


def test_a_bucket_of_another_account_fails_closed(machine: Any, document: ResolvedFleet) -> None:
    script = launch.render(document).replace("ACCOUNT=123456789012", "ACCOUNT=999999999999")
    log = failed(machine, document, machine.boot(script))
    assert "AccessDenied" in log


def test_no_network_fails_closed(machine: Any, document: ResolvedFleet) -> None:
    machine.variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    script = launch.render(document).replace("AWS_MAX_ATTEMPTS=5", "AWS_MAX_ATTEMPTS=1")
    done = machine.boot(script)
    assert done.returncode == 1
    assert machine.called(HOOK, "--lifecycle-action-result ABANDON")
    assert not machine.called("systemctl start")
    log = machine.log.read_text()
    assert "Could not connect to the endpoint URL" in log
    assert "FAILED in step bundle" in log
    assert "the log could not be sent" in log


def can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_fails_closed(machine: Any, document: ResolvedFleet) -> None:
    if not can_mount():
        pytest.skip("may not mount a small file system here")
    machine.root.mkdir()
    mount = f'mount -t tmpfs -o size=128k none {machine.root} && exec "$@"'
    done = machine.boot(launch.render(document), ["unshare", "--mount", "bash", "-c", mount, "-"])
    log = failed(machine, document, done)
    assert "No space left on device" in log
    assert "FAILED in step bundle" in log


def test_a_server_that_never_answers_is_given_up(machine: Any, document: ResolvedFleet) -> None:
    broken = replace(document, serve=("serve", "--no-such-option"))
    script = launch.render(broken).replace("BOOT_TIMEOUT_S=600", "BOOT_TIMEOUT_S=3")
    assert machine.boot(script).returncode == 0
    machine.wait_for(HOOK, "--lifecycle-action-result ABANDON")
    log = sent_log(document)
    assert "FAILED: not within 3 s: /ping answers 200" in log
    assert "unrecognized arguments: --no-such-option" in log


@pytest.mark.parametrize(
    ("item", "value", "why"),
    [
        ("spot/instance-action", '{"action": "terminate"}', "spot notice"),
        ("autoscaling/target-lifecycle-state", "Terminated", "the group wants Terminated"),
    ],
)
def test_the_watcher_drains_the_server_and_answers_the_hook(
    machine: Any, document: ResolvedFleet, item: str, value: str, why: str
) -> None:
    quick = replace(document, serve=("serve", "--drain-s", "5", "--lame-duck-s", "1"))
    assert machine.boot(launch.render(quick)).returncode == 0
    machine.wait_for(HOOK, "CONTINUE")
    watcher = subprocess.Popen(
        [str(machine.root / "drain.sh")], env=machine.variables, stdout=subprocess.PIPE, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            watcher.wait(timeout=1)  # nothing ends the instance yet
        assert not machine.called("systemctl stop")
        machine.metadata.values[item] = value
        said, _ = watcher.communicate(timeout=60)
    finally:
        watcher.kill()
    assert why in said
    assert watcher.returncode == 0
    assert machine.called("systemctl stop deployer-model.service")
    assert machine.called("--lifecycle-hook-name terminating", "--lifecycle-action-result CONTINUE")
    log = (machine.folder / "deployer-model.service.log").read_text()
    assert "listening" in log


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(document: ResolvedFleet, tmp_path: Path) -> None:
    for name in ("model.sh", "drain.sh", "ready.sh", "docker"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "docker.service").write_text(f"[Service]\nExecStart={tmp_path}/docker\n")
    for name in launch.UNITS:
        text = launch.unit(name, document).replace("/opt/deployer", str(tmp_path))
        assert "@" not in text
        (tmp_path / name).write_text(text.replace("/usr/bin/docker", f"{tmp_path}/docker"))
    units = [str(tmp_path / name) for name in launch.UNITS]
    done = verify(units, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    broken = tmp_path / launch.UNITS[0]
    broken.write_text(broken.read_text().replace("Restart=always", "Restart=perhaps"))
    assert "perhaps" in verify(units, tmp_path).stderr


def verify(units: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    command = ["systemd-analyze", "verify", "--man=no", *units]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_script_is_bash(fleets: Mapping[str, ResolvedFleet], tmp_path: Path) -> None:
    for name, found in fleets.items():
        path = tmp_path / name
        path.write_text(launch.render(found))
        done = subprocess.run(
            ["bash", "-n", str(path)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), name


def test_a_value_with_quotes_stays_one_value(
    fleets: Mapping[str, ResolvedFleet],
) -> None:
    found = replace(fleets["minimal"], environment={"GREETING": "it's $(touch /tmp/x) `y`"})
    variables = launch.render(found).partition("ROOT=${DEPLOYER_ROOT")[0]
    script = variables + 'printf "%s" "$ENVIRONMENT"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "GREETING=it's $(touch /tmp/x) `y`\n"
