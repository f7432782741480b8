"""`plan --offline`: what needs no call is resolved, the rest is a placeholder, said, and never deployed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import deployer
from deployer import api
from deployer.cli.main import cli
from deployer.errors import InputError, RuleBroken
from deployer.spec import fleet_resolved, resolved, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import Listener
from deployer.spec.resolved import Place
from deployer.spec.target import Ec2Fleet, Local, SageMakerRealtime

ROOT = Path(__file__).parents[3]
ACCOUNT = "123456789012"
EXAMPLES = [
    *sorted((ROOT / "examples" / "deploy_sagemaker").glob("*.toml")),
    *sorted((ROOT / "examples" / "deploy_ec2").glob("*.toml")),
]
PINNED = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/digits@sha256:" + "7b" * 32
AMI = "ami-0123456789abcdef0"
LISTENER = Listener("http", allow_cidrs=("203.0.113.0/24",))


def realtime(bundle: Path | str = "dist/none.tar.gz", **target: Any) -> DeploymentSpec:
    return DeploymentSpec("digits", str(bundle), SageMakerRealtime("ml.c5.large", **target))


def fleet(bundle: Path | str = "dist/none.tar.gz", **target: Any) -> DeploymentSpec:
    kept = {"listener": LISTENER, **target}
    return DeploymentSpec("digits", str(bundle), Ec2Fleet("c7i.large", **kept))


def offline(spec: DeploymentSpec | Path, **asked: Any) -> Any:
    return deployer.plan(spec, offline_account=ACCOUNT, **asked)


def unchecked(plan: Any) -> set[str]:
    """The subjects that the plan says it did not check."""
    return {row.subject for row in plan.checks if row.seen.startswith("not checked offline: ")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_resolves_without_an_account_and_without_a_bundle(path: Path) -> None:
    plan = offline(path)
    target: Any = plan.spec.target
    is_fleet = isinstance(target, Ec2Fleet)
    assert plan.resolved.placeholders == ("image", "bundle", *(("ami",) if is_fleet else ()))
    assert plan.resolved.place == Place(ACCOUNT, target.region, "target.region")
    assert {"image", "bundle", "permissions", "what exists"} <= unchecked(plan)
    assert ("quota" in unchecked(plan)) == bool(target.instance_type)
    document = json.loads(json.dumps(plan.resolved.to_json()))
    kind: Any = fleet_resolved if is_fleet else resolved
    assert kind.from_json(document) == plan.resolved


def test_the_placeholders_stand_where_aws_and_the_bundle_would() -> None:
    found = offline(fleet()).resolved
    assert (
        found.image.uri == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/deployer/digits:placeholder"
    )
    assert found.artifact.digest == "0" * 64
    assert found.ami_id == "ami-00000000000000000"
    assert found.drain.server_s == 20, "the drain_s that a bundle has unless it says otherwise"


def test_a_tag_in_ecr_is_looked_up_online_and_so_a_placeholder_offline() -> None:
    tagged = PINNED.partition("@")[0] + ":7"
    found = offline(realtime(image_uri=tagged)).resolved
    assert found.placeholders == ("image", "bundle")
    assert found.image.uri == tagged
    pinned = offline(realtime(image_uri=PINNED.replace("@", ":7@"))).resolved
    assert pinned.placeholders == ("bundle",)
    assert pinned.image.uri == PINNED, "by its digest alone, as online"
    outside = offline(fleet(image_uri="registry.example/digits:7", ami_id=AMI)).resolved
    assert outside.placeholders == ("bundle",), "online it is taken as it is named, too"


def test_what_is_given_is_no_placeholder_and_is_not_claimed_to_be_there(
    echo_bundle: Callable[..., Path],
) -> None:
    plan = offline(fleet(echo_bundle(), image_uri=PINNED, ami_id=AMI))
    assert plan.resolved.placeholders == ()
    assert "placeholders" not in plan.resolved.to_json()
    assert {"image", "machine image", "quota", "permissions", "what exists"} == unchecked(plan)
    assert plan.resolved.drain.server_s == 2, "the bundle's own drain_s"


def test_no_step_and_no_change_is_claimed(echo_bundle: Callable[..., Path]) -> None:
    plan = offline(realtime(echo_bundle()))
    assert (plan.steps, plan.changes) == ((), ())
    words = "What exists of digits was not looked at: what deploying would change is not known."
    assert plan.summary == words
    document = plan.to_json()
    assert document["offline"] is True
    assert document["steps"] == []


def test_a_bundle_that_is_there_is_verified(
    tmp_path: Path, echo_bundle: Callable[..., Path]
) -> None:
    broken = tmp_path / "b.tar.gz"
    broken.write_bytes(echo_bundle().read_bytes()[:-100])
    with pytest.raises(InputError):
        offline(realtime(broken))
    with tarfile.open(echo_bundle()) as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    with pytest.raises(InputError, match="takes the archive"):
        offline(fleet(tmp_path / "folder"))


def test_what_the_specification_alone_shows_is_refused_as_online() -> None:
    with pytest.raises(RuleBroken, match="not in ECR"):
        offline(realtime(image_uri="registry.example/digits:7"))
    with pytest.raises(RuleBroken, match=r"target\.listener"):
        offline(fleet(listener=None))


def test_a_profile_of_another_bundle_is_noted_only_where_there_is_a_bundle(
    tmp_path: Path, echo_bundle: Callable[..., Path]
) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    there = offline(realtime(echo_bundle()), profile=profile)
    assert "profile" in {row.subject for row in there.checks}
    assert "profile" not in {row.subject for row in offline(realtime(), profile=profile).checks}


PROFILE = {
    "schema_version": 1, "name": "digits", "bundle_digest": "d" * 64, "precision": "fp32",
    "hardware": {"cpu": "a CPU"}, "workers": 1, "threads": 1, "max_batch": 1, "queue_limit": 128,
    "service_time_ms": {"1": {"law": "deterministic", "mean": 10.0, "quantiles": []}},
    "request_bytes": 100, "response_bytes": 100, "memory_mb": 100.0, "startup_s": 1.0,
    "date": "2026-11-20T00:00:00+00:00",
}  # fmt: skip


@pytest.mark.parametrize(
    "account", ["12345678901", "1234567890123", "12345678901a", "１２３４５６７８９０１２"]
)
def test_an_account_has_twelve_digits(account: str) -> None:
    with pytest.raises(InputError, match="is no AWS account"):
        deployer.plan(realtime(), offline_account=account)


def test_another_region_than_the_targets_is_refused_and_its_own_is_taken() -> None:
    assert offline(realtime(), region="us-east-1").resolved.place.region == "us-east-1"
    with pytest.raises(
        InputError, match=r"'eu-west-1' is asked for; target\.region is 'us-east-1'"
    ):
        offline(realtime(), region="eu-west-1")
    with pytest.raises(InputError, match=r"a plan asks AWS in target\.region"):
        deployer.plan(realtime(), region="us-east-1")


def test_a_local_target_has_nothing_to_be_offline_for() -> None:
    with pytest.raises(InputError, match="offline has no meaning"):
        offline(DeploymentSpec("a", "b.tar.gz", Local()))


@pytest.mark.parametrize("make", [realtime, fleet], ids=["sagemaker", "ec2"])
def test_nothing_is_deployed_or_uploaded_while_a_placeholder_stands_in_it(
    make: Callable[..., DeploymentSpec], tmp_path: Path
) -> None:
    plan = offline(make())
    saved, whole = tmp_path / "resolved.json", tmp_path / "plan.json"
    saved.write_text(json.dumps(plan.resolved.to_json()))
    whole.write_text(json.dumps(plan.to_json()))
    for source in (plan.resolved, saved, whole):
        with pytest.raises(InputError, match="was planned offline: image") as caught:
            deployer.deploy(source)
        assert caught.value.hint == "plan again with credentials and without --offline"
    if make is realtime:
        with pytest.raises(InputError, match="was planned offline: image"):
            api.upload(saved)
        with pytest.raises(InputError, match="was planned offline: image"):
            deployer.transform("digits", resolved=saved)


# The command line.


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="deployer")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "deployment.toml").write_text(serde.to_toml(realtime()))
    (tmp_path / "fleet.toml").write_text(serde.to_toml(fleet()))
    (tmp_path / "local.toml").write_text(serde.to_toml(DeploymentSpec("a", "b", Local())))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["deployment.toml", "fleet.toml"])
def test_the_plan_says_offline_first_and_lists_what_was_not_checked(
    project: Path, name: str
) -> None:
    done = run("plan", name, "--offline", "--account", ACCOUNT, "-o", "plan.json")
    assert done.exit_code == 0, done.stderr
    first, second, *rest = done.stdout.splitlines()
    also = "image and bundle" if name == "deployment.toml" else "image, bundle and ami"
    words = f"{also} are placeholders: nothing can be made of this document."
    assert first == f"OFFLINE: AWS was not asked. {words}"
    assert second.startswith("deployer plan: digits, target ")
    assert sum("not checked offline: " in line for line in rest) >= 6
    assert not any(line.startswith("Next:") for line in rest)
    saved = json.loads((project / "resolved.json").read_text())
    assert saved == json.loads((project / "plan.json").read_text())["resolved"]
    assert saved["placeholders"][:2] == ["image", "bundle"]


def test_the_plan_is_json_too(project: Path) -> None:
    done = run("plan", "fleet.toml", "--offline", "--account", ACCOUNT, "--json")
    document = json.loads(done.stdout)
    assert (document["offline"], document["steps"]) == (True, [])
    assert document["resolved"]["placeholders"] == ["image", "bundle", "ami"]


REFUSED = {
    "no account": ("deployment.toml --offline", "offline nobody tells the account"),
    "an account that is none": ("deployment.toml --offline --account 12", "'12' is no AWS account"),
    "an account online": (f"deployment.toml --account {ACCOUNT}", "go with --offline"),
    "a region online": ("deployment.toml --region us-east-1", "go with --offline"),
    "another region": (
        f"deployment.toml --offline --account {ACCOUNT} --region eu-west-1",
        "target.region is 'us-east-1'",
    ),
    "a comparison": (
        f"deployment.toml --offline --account {ACCOUNT} --check",
        "--check compares with what exists",
    ),
    "a local target": (f"local.toml --offline --account {ACCOUNT}", "offline has no meaning"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_options_that_do_not_go_together_are_refused(project: Path, words: str, said: str) -> None:
    done = run("plan", *words.split())
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (project / "resolved.json").exists()


WITHOUT_BOTO3 = """
import sys
sys.modules["boto3"] = sys.modules["botocore"] = None  # importing either fails, as without the aws extra
from deployer.cli.main import main
sys.argv = ["deployer", "plan", sys.argv[1], "--offline", "--account", "123456789012"]
main()
"""


@pytest.mark.parametrize("name", ["deployment.toml", "fleet.toml"])
def test_it_needs_no_boto3(project: Path, name: str) -> None:
    words = [sys.executable, "-c", WITHOUT_BOTO3, name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OFFLINE: ")
    refused = subprocess.run(
        [*words[:2], WITHOUT_BOTO3.replace('"--offline", "--account", "123456789012"', ""), name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "needs boto3" in refused.stderr, "the plan online cannot do without it"
