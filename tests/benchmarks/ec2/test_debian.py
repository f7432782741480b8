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
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet
from stacks.constructs import launch

TESTS = Path(__file__).parents[2]
ROOT = os.environ.get("DEPLOYER_DEBIAN_ROOT", "")
pytestmark = pytest.mark.skipif(not ROOT, reason="DEPLOYER_DEBIAN_ROOT names no root")


def load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


STAGE = load("ec2_machine", TESTS / "stacks" / "ec2" / "machine.py")


@pytest.fixture
def bundle(tmp_path: Path) -> Any:
    return STAGE.bundle_in(tmp_path)


@pytest.fixture
def document(bundle: Any) -> ResolvedFleet:
    resolve = load("ec2_conftest", TESTS / "stacks" / "ec2" / "conftest.py").resolve_fleet
    path = TESTS.parent / "examples" / "deploy_ec2" / "minimal.toml"
    found: ResolvedFleet = resolve(serde.load(path), digest=bundle.digest)
    return found


@pytest.fixture
def machine(tmp_path: Path, fake_aws: Any, document: ResolvedFleet, bundle: Any) -> Iterator[Any]:
    found = STAGE.machine_in(tmp_path / "machine", document, bundle)
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


def test_an_instance_starts_in_a_debian_of_its_own(machine: Any, document: ResolvedFleet) -> None:
    done = machine.boot(launch.render(document), inside(machine))
    assert done.returncode == 0, done.stdout + done.stderr
    machine.wait_for(STAGE.HOOK, "--lifecycle-action-result CONTINUE")
    assert machine.post(b"14") == b"42.0"
    print(STAGE.sent_log(document))


def test_it_fails_closed_there_on_a_wrong_digest(machine: Any, document: ResolvedFleet) -> None:
    wrong = replace(document, artifact=replace(document.artifact, digest="0" * 64))
    done = machine.boot(launch.render(wrong), inside(machine))
    assert done.returncode == 1
    assert machine.called(STAGE.HOOK, "--lifecycle-action-result ABANDON")
    assert "bundle refused: its digest is" in STAGE.sent_log(document)
