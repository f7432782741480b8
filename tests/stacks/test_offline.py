"""What `plan --offline` resolves synthesizes without an account, and CloudFormation refuses to make it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

import deployer
from deployer.bundle.build import build as build_bundle
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from stacks import CDK_CLI
from stacks.app import build

pytestmark = pytest.mark.cdk

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"
EXAMPLES = {
    f"{folder}-{path.stem}": path
    for folder in ("sagemaker", "ec2")
    for path in sorted((ROOT / "examples" / f"deploy_{folder}").glob("*.toml"))
}
BY_CLI = ("sagemaker-realtime", "ec2-queue")
CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))
Document = dict[str, Any]
Either = Resolved | ResolvedFleet


def synthesized(document: Either, folder: Path) -> Document:
    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    stack = build(app, document)
    app.synth()
    template: Document = json.loads((folder / f"{stack.stack_name}.template.json").read_text())
    return template


@pytest.fixture(scope="module")
def documents() -> dict[str, Either]:
    """Every example, planned offline; the bundles of none are there."""
    plans: dict[str, Any] = {
        name: deployer.plan(path, offline_account=ACCOUNT) for name, path in EXAMPLES.items()
    }
    return {name: plan.resolved for name, plan in plans.items()}


@pytest.fixture(scope="module")
def offline(
    documents: Mapping[str, Either], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Document]:
    """The template of every example."""
    folder = tmp_path_factory.mktemp("offline")
    return {name: synthesized(found, folder / name) for name, found in documents.items()}


def refused_always(template: Document, placeholders: tuple[str, ...]) -> None:
    """The rule asks of a parameter what the only value that the parameter takes is not."""
    (parameter,) = template["Parameters"].values()
    (rule,) = template["Rules"].values()
    (assertion,) = rule["Assertions"]
    assert list(rule) == ["Assertions"], "no condition under which the rule would not hold"
    assert parameter["AllowedValues"] == [parameter["Default"]] == [", ".join(placeholders)]
    (left, right) = assertion["Assert"]["Fn::Equals"]
    assert left == {"Ref": next(iter(template["Parameters"]))}
    assert right not in parameter["AllowedValues"]
    assert "plan again with credentials" in assertion["AssertDescription"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_template_refuses_to_be_deployed(
    name: str, documents: Mapping[str, Either], offline: Mapping[str, Document]
) -> None:
    found = documents[name].placeholders
    assert found == ("image", "bundle", *(("ami",) if name.startswith("ec2-") else ()))
    refused_always(offline[name], found)


def test_cfn_lint_finds_nothing(offline: Mapping[str, Document], tmp_path: Path) -> None:
    files = []
    for name, template in offline.items():
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(json.dumps(template))
    command = [CFN_LINT, "--include-checks", "I", "--regions"]
    command += ["us-east-1", "us-west-2", "eu-west-1", "--", *files]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("name", BY_CLI)
def test_the_rule_is_all_that_a_placeholder_adds(
    name: str, documents: Mapping[str, Either], offline: Mapping[str, Document], tmp_path: Path
) -> None:
    plain = synthesized(replace(documents[name], placeholders=()), tmp_path)
    assert not {"Rules", "Parameters"} & plain.keys()
    template = copy.deepcopy(offline[name])
    del template["Rules"], template["Parameters"]
    for found in (plain, template):  # a fleet's stack says which document it is made of
        found["Outputs"].pop("DocumentDigest", None)
    assert json.dumps(template) == json.dumps(plain)


def test_a_plan_offline_with_nothing_missing_makes_a_template_that_may_be_deployed(
    tmp_path: Path,
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "h.py").write_text(
        "def predict_fn(data, model):\n    return data\n\n\ndef model_fn(folder):\n    return None\n"
    )
    (tmp_path / "sample.json").write_text("14")
    made = build_bundle(
        tmp_path / "m",
        tmp_path / "out",
        name="digits",
        handler=tmp_path / "h.py",
        samples=tmp_path / "sample.json",
    )
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/digits@sha256:" + "7b" * 32
    for name in ("sagemaker-realtime", "ec2-minimal"):
        spec = serde.load(EXAMPLES[name])
        given: dict[str, Any] = {"image_uri": image}
        if name.startswith("ec2-"):
            given["ami_id"] = "ami-0123456789abcdef0"
        wish = replace(spec, bundle=str(made.path), target=replace(spec.target, **given))
        plan: Any = deployer.plan(wish, offline_account=ACCOUNT)
        assert plan.resolved.placeholders == ()
        template = synthesized(plan.resolved, tmp_path / name)
        assert not {"Rules", "Parameters"} & template.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_cli_synthesizes_what_the_command_planned(
    name: str, offline: Mapping[str, Document], tmp_path: Path
) -> None:
    if name not in BY_CLI and "DEPLOYER_ALL_OFFLINE" not in os.environ:
        pytest.skip("twelve seconds each (DEPLOYER_ALL_OFFLINE=1)")
    variables = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    variables |= {"CI": "true", "AWS_EC2_METADATA_DISABLED": "true"}
    document = tmp_path / "resolved.json"
    plan = [sys.executable, "-m", "deployer", "plan", str(EXAMPLES[name]), "--offline"]
    plan += ["--account", ACCOUNT, "--resolved", str(document)]
    synth = [
        "npx",
        "--yes",
        CDK_CLI,
        "synth",
        "--quiet",
        "--no-notices",
        "-c",
        f"resolved={document}",
    ]
    synth += ["--app", f"{sys.executable} -m stacks.app", "--output", str(tmp_path / "assembly")]
    synth.append("--path-metadata=false")
    for command in (plan, synth):
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (tmp_path / "assembly").glob("*.template.json")
    assert json.loads(made.read_text()) == offline[name]
