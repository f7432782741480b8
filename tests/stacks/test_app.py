"""The CDK app takes the document that planning wrote, and says in one line what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
import pytest

from deployer.errors import InputError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved, from_json
from deployer.spec.target import Local
from stacks import CDK_CLI
from stacks.app import build, find

pytestmark = pytest.mark.cdk

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(examples: Mapping[str, Resolved], tmp_path: Path) -> Path:
    """A folder with deployment.toml and its resolved.json."""
    document = examples["realtime"]
    (tmp_path / "deployment.toml").write_text(serde.to_toml(document.spec))
    (tmp_path / "resolved.json").write_text(json.dumps(document.to_json()))
    return tmp_path


def test_the_document_is_found_by_either_name(
    project: Path, examples: Mapping[str, Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    expected = examples["realtime"]
    assert find(None, None) == expected
    assert find(None, "resolved.json") == expected
    assert find("deployment.toml", None) == expected
    assert find(str(project / "deployment.toml"), None) == expected


def test_a_missing_document_says_what_writes_it(project: Path) -> None:
    (project / "resolved.json").unlink()
    with pytest.raises(InputError, match=r"resolved\.json is missing beside") as caught:
        find(str(project / "deployment.toml"), None)
    assert caught.value.hint is not None
    assert "deployer plan" in caught.value.hint


def test_a_document_of_another_wish_is_refused(project: Path) -> None:
    path = project / "deployment.toml"
    path.write_text(path.read_text().replace("max_instances = 6", "max_instances = 7"))
    with pytest.raises(InputError, match="was resolved from another"):
        find(str(path), None)


def test_two_sources_are_refused(project: Path) -> None:
    with pytest.raises(InputError, match="both deployment and resolved"):
        find(str(project / "deployment.toml"), "resolved.json")


def test_a_target_without_a_stack_is_refused(examples: Mapping[str, Resolved]) -> None:
    document = examples["batch"].to_json()
    document["spec"]["target"] = {"kind": "local"}
    local = from_json(document)
    assert isinstance(local.spec, DeploymentSpec)
    assert isinstance(local.spec.target, Local)
    with pytest.raises(InputError, match="local target has no stack"):
        build(cdk.App(analytics_reporting=False), local)


def test_such_a_value_is_refused_where_the_specification_does_not_hold_it(
    examples: Mapping[str, Resolved],
) -> None:
    document = examples["realtime"].to_json()
    document["capture_s3_uri"] = "s3://b/{{resolve:ssm:/x}}"
    with pytest.raises(InputError, match=r"^capture_s3_uri holds"):
        build(cdk.App(analytics_reporting=False), from_json(document))


@pytest.mark.parametrize("value", ["${Token[AWS.Region.1]}", "{{resolve:ssm:/x}}", "#{Token[A.1]}"])
def test_a_value_that_cloudformation_would_replace_is_refused_by_name(
    value: str, examples: Mapping[str, Resolved]
) -> None:
    document = examples["realtime"].to_json()
    document["spec"]["target"]["environment"] = {"SECRET": value}
    with pytest.raises(InputError, match=r"target\.environment\.SECRET: holds"):
        build(cdk.App(analytics_reporting=False), from_json(document))


def run(folder: Path, context: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(folder / "assembly"),
    }
    return subprocess.run(
        [sys.executable, "-m", "stacks.app"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_app_ends_with_two_lines_and_no_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, {})
    assert done.returncode == 2
    assert "resolved.json" in done.stderr
    assert "deployer plan" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_app_synthesizes_what_the_golden_template_holds(project: Path) -> None:
    done = run(project, {"deployment": "deployment.toml"})
    assert done.returncode == 0, done.stderr
    template = json.loads((project / "assembly" / "deployer-digits.template.json").read_text())
    assert template == json.loads((ROOT / "tests/golden/stacks/realtime.json").read_text())


def test_cdk_json_reports_to_nobody() -> None:
    settings = json.loads((ROOT / "cdk.json").read_text())
    assert settings["app"] == "python -m stacks.app"
    assert settings["versionReporting"] is False
    assert settings["context"]["cli-telemetry"] is False


def test_readme_names_the_tested_cli() -> None:
    assert CDK_CLI in (ROOT / "README.md").read_text()
