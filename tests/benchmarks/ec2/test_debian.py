"""The launch script in a Debian of its own, with Debian's AWS CLI and Python, ending with the server answering.

As root on Debian, once:

    debootstrap --variant=minbase --include=python3,curl,ca-certificates bookworm ROOT
    chroot ROOT sh -c 'apt-get update && apt-get install -y --no-install-recommends awscli'

then ``DEPLOYER_DEBIAN_ROOT=ROOT pytest tests/benchmarks/ec2``. What is stood in for says
``tests/stacks/ec2/machine.py``; the server runs on this interpreter, which is mounted into the root.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.bundle.build import build
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet
from stacks.constructs import launch

TESTS = Path(__file__).parents[2]
ROOT = os.environ.get("DEPLOYER_DEBIAN_ROOT", "")
pytestmark = pytest.mark.skipif(not ROOT, reason="DEPLOYER_DEBIAN_ROOT names no root")

HANDLER = """
import json

def model_fn(folder):
    return 3.0

def input_fn(body, content_type):
    return json.loads(body)

def predict_fn(number, factor):
    return number * factor

def output_fn(number, accept):
    return json.dumps(number)
"""


def load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tmp_path: Path) -> Any:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_bytes(os.urandom(300_000))
    (tmp_path / "h.py").write_text(HANDLER)
    (tmp_path / "sample.json").write_text("14")
    samples, handler = tmp_path / "sample.json", tmp_path / "h.py"
    return build(tmp_path / "m", tmp_path / "out", name="digits", handler=handler, samples=samples)


@pytest.fixture
def document(bundle: Any) -> ResolvedFleet:
    resolve = load("ec2_conftest", TESTS / "stacks" / "ec2" / "conftest.py").resolve_fleet
    path = TESTS.parent / "examples" / "deploy_ec2" / "minimal.toml"
    found: ResolvedFleet = resolve(serde.load(path), digest=bundle.digest)
    return found


@pytest.fixture
def machine(tmp_path: Path, fake_aws: Any, document: ResolvedFleet, bundle: Any) -> Iterator[Any]:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=document.artifact.bucket)
    s3.upload_file(str(bundle.path), document.artifact.bucket, document.artifact.key)
    boto3.client("logs").create_log_group(logGroupName=document.log_group)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    aws = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    make = load("ec2_machine", TESTS / "stacks" / "ec2" / "machine.py").Machine
    found = make(tmp_path / "machine", aws, port, document.image.uri)
    # Debian's AWS CLI is older than AWS_ENDPOINT_URL.
    found.variables |= {"STAGE_AWS": "/usr/bin/aws", "STAGE_ENDPOINT": fake_aws.url}
    shims = found.folder / "shims"
    found.variables["PATH"] = f"{shims}:/usr/sbin:/usr/bin:/sbin:/bin"
    yield found
    found.stop()


def inside(machine: Any) -> list[str]:
    """Return what starts a command in the root, with the stage and this interpreter mounted."""
    folders = dict.fromkeys([str(machine.folder), sys.prefix, sys.base_prefix])
    mounts = [f"mkdir -p {ROOT}{path} && mount --bind {path} {ROOT}{path}" for path in folders]
    mounts.append(f"echo 127.0.0.1 localhost > {ROOT}/etc/hosts")
    mounts += [f"mount -t proc proc {ROOT}/proc", f"mount --rbind /dev {ROOT}/dev"]
    script = " && ".join([*mounts, f'exec chroot {ROOT} "$@"'])
    return ["unshare", "--mount", "bash", "-c", script, "-"]


HOOK = "complete-lifecycle-action --auto-scaling-group-name deployer-digits --lifecycle-hook-name launching"


def sent_log(document: ResolvedFleet) -> str:
    rows = boto3.client("logs").filter_log_events(logGroupName=document.log_group)["events"]
    return "\n".join(row["message"] for row in rows)


def test_an_instance_starts_in_a_debian_of_its_own(machine: Any, document: ResolvedFleet) -> None:
    done = machine.boot(launch.render(document), inside(machine))
    assert done.returncode == 0, done.stdout + done.stderr
    machine.wait_for(HOOK, "--lifecycle-action-result CONTINUE")
    assert machine.post(b"14") == b"42.0"
    print(sent_log(document))


def test_it_fails_closed_there_on_a_wrong_digest(machine: Any, document: ResolvedFleet) -> None:
    wrong = replace(document, artifact=replace(document.artifact, digest="0" * 64))
    done = machine.boot(launch.render(wrong), inside(machine))
    assert done.returncode == 1
    assert machine.called(HOOK, "--lifecycle-action-result ABANDON")
    assert "bundle refused: its digest is" in sent_log(document)
