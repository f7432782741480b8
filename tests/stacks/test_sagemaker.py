"""The templates: as approved, without a finding of cfn-lint or cdk-nag, and with no permission too wide."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks

from deployer.spec import resolved as documents
from deployer.spec.resolved import Resolved
from stacks.sagemaker import SageMakerStack

pytestmark = pytest.mark.cdk

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "stacks"
NAMES = sorted(path.stem for path in (ROOT / "examples" / "deploy_sagemaker").glob("*.toml"))
UPDATE = "DEPLOYER_UPDATE_GOLDEN"
CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))
Document = dict[str, Any]


def test_every_example_is_there() -> None:
    assert NAMES == [
        "async",
        "batch",
        "realtime",
        "realtime-concurrency",
        "realtime-schedule",
        "realtime-steps",
        "serverless",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_as_approved(name: str, templates: Mapping[str, Document]) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(templates[name], indent=1) + "\n"
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_template_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == NAMES


def test_cfn_lint_finds_nothing(templates: Mapping[str, Document], tmp_path: Path) -> None:
    for name, template in templates.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(template))
    command = [CFN_LINT, "--include-checks", "I", "--regions"]
    command += ["us-east-1", "us-west-2", "eu-west-1", "--"]
    files = sorted(str(path) for path in tmp_path.glob("*.json"))
    found = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_cfn_lint_would_find_a_wrong_property(
    templates: Mapping[str, Document], tmp_path: Path
) -> None:
    template = json.loads(json.dumps(templates["batch"]))
    model = next(iter(of_type(template, "AWS::SageMaker::Model").values()))
    model["Properties"]["Colour"] = "red"
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(template))
    command = [CFN_LINT, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "Colour" in found.stdout


def findings(stacks: Mapping[str, Resolved], folder: Path) -> list[str]:
    """Return what cdk-nag's AwsSolutions rules find in the stacks of these documents."""
    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for name, document in stacks.items():
        SageMakerStack(app, name, resolved=document)
    report = folder / "validation-report.json"
    try:
        app.synth()
    except RuntimeError:
        assert report.exists()
    plugins = json.loads(report.read_text())["pluginReports"]
    # A plugin that finds nothing is not in the report; the next test shows that it looks.
    return [
        f"{violation['ruleName']} at {where['constructPath']}"
        for plugin in plugins
        for violation in plugin["violations"]
        for where in violation["violatingConstructs"]
    ]


def test_cdk_nag_has_nothing_unacknowledged(
    examples: Mapping[str, Resolved], tmp_path: Path
) -> None:
    assert findings(examples, tmp_path) == []


def test_a_wildcard_without_a_reason_is_a_finding(
    examples: Mapping[str, Resolved], tmp_path: Path
) -> None:
    document = json.loads(json.dumps(examples["batch"].to_json()))
    document["role"]["statements"].append(
        {"sid": "Else", "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::else/*"]}
    )
    found = findings({"wide": documents.from_json(document)}, tmp_path)
    assert found == ["AwsSolutions-IAM5[Resource::arn:aws:s3:::else/*] at wide/Role/Resource"]


NO_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
}
"""Actions for which AWS takes no resource, read in its Service Authorization Reference (2026-11)."""

OWN = (
    r"arn:aws:s3:::[a-z0-9.-]+/deployer/NAME/(bundles|input|output|failure|capture)/?\*",
    r"arn:aws:s3:::[a-z0-9.-]+/[a-z/]+\*",
    r"arn:aws:logs:REGION:123456789012:log-group:/aws/sagemaker/Endpoints/NAME:log-stream:\*",
    r"arn:aws:logs:REGION:123456789012:log-group:/aws/sagemaker/TransformJobs:log-stream:\*",
    r"arn:aws:cloudwatch:REGION:123456789012:alarm:deployer/NAME/\*",
    r"arn:aws:ec2:REGION:123456789012:network-interface/\*",
)
"""Resources that may hold a wildcard: what others name, inside what is ours or what the wish names."""


def of_type(template: Document, kind: str) -> dict[str, Document]:
    """Return the resources of a type, by logical id."""
    return {k: v for k, v in template["Resources"].items() if v["Type"] == kind}


def statements(template: Document) -> Iterator[Document]:
    """Yield the statements of every policy of a template, wherever it stands."""
    pending: list[Any] = [template["Resources"]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "Statement" in node:
                yield from node["Statement"]
            pending += node.values()
        elif isinstance(node, list):
            pending += node


def narrow(resource: str, document: Resolved) -> bool:
    """Return whether a resource with a wildcard is one of OWN."""
    for pattern in OWN:
        filled = pattern.replace("NAME", document.spec.name)
        if re.fullmatch(filled.replace("REGION", document.place.region), resource):
            return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_no_permission_is_wider_than_it_must_be(
    name: str, templates: Mapping[str, Document], examples: Mapping[str, Resolved]
) -> None:
    template = templates[name]
    assert not of_type(template, "AWS::IAM::ManagedPolicy")
    assert "ManagedPolicyArns" not in json.dumps(template)
    rows = list(statements(template))
    assert rows or not examples[name].role.made
    for row in rows:
        if "Principal" in row:
            assert row["Principal"] == {"Service": "sagemaker.amazonaws.com"}
            continue
        assert not [action for action in row["Action"] if "*" in action], row["Sid"]
        for resource in row["Resource"]:
            if resource == "*":
                assert set(row["Action"]) <= NO_RESOURCE, row["Sid"]
            elif "*" in resource:
                assert narrow(resource, examples[name]), (row["Sid"], resource)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_is_pinned_by_its_digest(name: str, templates: Mapping[str, Document]) -> None:
    model = next(iter(of_type(templates[name], "AWS::SageMaker::Model").values()))["Properties"]
    container = model["PrimaryContainer"]
    assert "3f" * 32 in container.get("ModelDataUrl", "") + json.dumps(
        container.get("ModelDataSource", "")
    )
    assert container["Image"].endswith("@sha256:" + "7b" * 32)
    assert templates[name]["Outputs"]["BundleDigest"]["Value"] == "3f" * 32


@pytest.mark.parametrize("name", NAMES)
def test_what_takes_tags_says_whose_it_is(name: str, templates: Mapping[str, Document]) -> None:
    untaggable = {"AWS::ApplicationAutoScaling::ScalingPolicy"}
    for logical_id, resource in templates[name]["Resources"].items():
        tags = {row["Key"]: row["Value"] for row in resource["Properties"].get("Tags", [])}
        if resource["Type"] not in untaggable:
            assert {"deployer:name", "deployer:digest", "deployer:version"} <= tags.keys(), (
                logical_id
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_dashboard_is_json_that_cloudwatch_takes(
    name: str, templates: Mapping[str, Document]
) -> None:
    boards = of_type(templates[name], "AWS::CloudWatch::Dashboard")
    assert len(boards) == (0 if name == "batch" else 1)
    for board in boards.values():
        widgets = json.loads(board["Properties"]["DashboardBody"])["widgets"]
        places = [(widget["x"], widget["y"]) for widget in widgets]
        assert len(set(places)) == len(places) >= 3
