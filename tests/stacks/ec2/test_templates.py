"""The templates of fleets: as approved, without a finding of cfn-lint or cdk-nag, no permission too wide."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks

from deployer.errors import InputError
from deployer.spec import fleet_resolved, serde
from deployer.spec.fleet import KEEP_ALIVE_S
from deployer.spec.fleet_resolved import ResolvedFleet
from inference_code.server.connection import IDLE_TIMEOUT_S
from stacks.constructs import launch
from stacks.ec2 import Ec2FleetStack

pytestmark = pytest.mark.cdk

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "ec2"
NAMES = sorted(path.stem for path in (ROOT / "examples" / "deploy_ec2").glob("*.toml"))
UPDATE = "DEPLOYER_UPDATE_GOLDEN"
CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))
Document = dict[str, Any]


def test_every_example_is_there() -> None:
    assert NAMES == ["graviton", "https", "minimal", "queue", "spot", "warm-pool"]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_as_approved(name: str, fleet_templates: Mapping[str, Document]) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(fleet_templates[name], indent=1) + "\n"
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_template_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == NAMES


def test_the_document_survives_the_round_trip(fleets: Mapping[str, ResolvedFleet]) -> None:
    for document in fleets.values():
        read = fleet_resolved.from_json(json.loads(json.dumps(document.to_json())))
        assert read == document
        assert read.digest == document.digest


def test_cfn_lint_finds_nothing(fleet_templates: Mapping[str, Document], tmp_path: Path) -> None:
    for name, template in fleet_templates.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(template))
    command = [CFN_LINT, "--include-checks", "I", "--regions"]
    command += ["us-east-1", "us-west-2", "eu-west-1", "--"]
    files = sorted(str(path) for path in tmp_path.glob("*.json"))
    found = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def findings(stacks: Mapping[str, ResolvedFleet], folder: Path) -> list[str]:
    """Return what cdk-nag's AwsSolutions rules and the CDK's own find in the stacks of these documents."""
    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for name, document in stacks.items():
        Ec2FleetStack(app, name, resolved=document)
    report = folder / "validation-report.json"
    try:
        app.synth()
    except RuntimeError:
        assert report.exists()
    plugins = json.loads(report.read_text())["pluginReports"]
    return [
        f"{violation['ruleName']} at {where['constructPath']}"
        for plugin in plugins
        for violation in plugin["violations"]
        for where in violation["violatingConstructs"]
    ]


def test_cdk_nag_has_nothing_unacknowledged(
    fleets: Mapping[str, ResolvedFleet], tmp_path: Path
) -> None:
    assert findings(fleets, tmp_path) == []


def test_a_wildcard_without_a_reason_is_a_finding(
    fleets: Mapping[str, ResolvedFleet], tmp_path: Path
) -> None:
    document = fleets["minimal"].to_json()
    document["role"]["statements"].append(
        {"sid": "Else", "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::else/*"]}
    )
    found = findings({"wide": fleet_resolved.from_json(document)}, tmp_path)
    assert found == ["AwsSolutions-IAM5[Resource::arn:aws:s3:::else/*] at wide/Fleet/Role/Resource"]


def of_type(template: Document, kind: str) -> list[Document]:
    """Return the properties of the resources of a type."""
    return [row["Properties"] for row in template["Resources"].values() if row["Type"] == kind]


def role_statements(template: Document) -> list[Document]:
    """Return the statements of the instance role."""
    (role,) = of_type(template, "AWS::IAM::Role")
    assert "ManagedPolicyArns" not in role
    (policy,) = role["Policies"]
    rows: list[Document] = policy["PolicyDocument"]["Statement"]
    return rows


def allows(rows: list[Document], action: str, resource: str) -> bool:
    """Evaluate identity statements as IAM does, for rows that only allow and have no condition."""
    assert all(row["Effect"] == "Allow" and "Condition" not in row for row in rows)
    return any(
        any(fnmatchcase(action.lower(), pattern.lower()) for pattern in row["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in row["Resource"])
        for row in rows
    )


BUCKET = "arn:aws:s3:::deployer-123456789012-us-east-1"


def test_an_instance_reads_its_own_bundles_and_no_others(
    fleets: Mapping[str, ResolvedFleet],
    fleet_resolver: Callable[..., ResolvedFleet],
    synthesize_fleets: Callable[[Mapping[str, ResolvedFleet]], dict[str, Document]],
) -> None:
    """``model`` is not ``model-hf``: neither may read what is of the other."""
    spec = fleets["minimal"].spec
    documents = {name: fleet_resolver(replace(spec, name=name)) for name in ("model", "model-hf")}
    found = synthesize_fleets(documents)
    for mine, other in (("model", "model-hf"), ("model-hf", "model")):
        rows = role_statements(found[mine])
        assert allows(
            rows, "s3:GetObject", f"{BUCKET}/deployer/{mine}/bundles/{'3f' * 32}/model.tar.gz"
        )
        assert not allows(rows, "s3:GetObject", f"{BUCKET}/deployer/{other}/bundles/x/model.tar.gz")
        assert not allows(rows, "s3:GetObject", f"{BUCKET}/deployer/{mine}/results/1")
        assert not allows(rows, "s3:PutObject", f"{BUCKET}/deployer/{mine}/bundles/x/model.tar.gz")
        assert not allows(rows, "s3:ListBucket", BUCKET)
        logs = "arn:aws:logs:us-east-1:123456789012:log-group:/deployer/{}:log-stream:boot/i-1"
        assert allows(rows, "logs:PutLogEvents", logs.format(mine))
        assert not allows(rows, "logs:PutLogEvents", logs.format(other))
        group = (
            "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:0-1:"
            "autoScalingGroupName/deployer-{}"
        )
        assert allows(rows, "autoscaling:CompleteLifecycleAction", group.format(mine))
        assert not allows(rows, "autoscaling:CompleteLifecycleAction", group.format(other))
        stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/deployer-{}/1"
        assert allows(rows, "cloudformation:SignalResource", stack.format(mine))
        assert not allows(rows, "cloudformation:SignalResource", stack.format(other))
        assert not allows(rows, "iam:PassRole", "*")


NO_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""Actions that stand with ``*``: the channels take no resource, the agent's registration needs any instance."""

OWN = (
    r"arn:aws:s3:::[a-z0-9.-]+/deployer/NAME/(bundles|results)/\*",
    r"arn:aws:logs:REGION:123456789012:log-group:/deployer/NAME:log-stream:\*",
    r"arn:aws:autoscaling:REGION:123456789012:autoScalingGroup:\*:autoScalingGroupName/deployer-NAME",
    r"arn:aws:cloudformation:REGION:123456789012:stack/deployer-NAME/\*",
)


@pytest.mark.parametrize("name", NAMES)
def test_no_permission_is_wider_than_it_must_be(
    name: str, fleet_templates: Mapping[str, Document], fleets: Mapping[str, ResolvedFleet]
) -> None:
    for row in role_statements(fleet_templates[name]):
        assert not [action for action in row["Action"] if "*" in action], row["Sid"]
        for resource in row["Resource"]:
            if resource == "*":
                assert set(row["Action"]) <= NO_RESOURCE, row["Sid"]
            elif "*" in resource:
                filled = [p.replace("NAME", "digits").replace("REGION", "us-east-1") for p in OWN]
                assert any(re.fullmatch(p, resource) for p in filled), (row["Sid"], resource)


@pytest.mark.parametrize("name", NAMES)
def test_instances_are_hardened(name: str, fleet_templates: Mapping[str, Document]) -> None:
    (template,) = of_type(fleet_templates[name], "AWS::EC2::LaunchTemplate")
    data = template["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 1,
        "HttpTokens": "required",
    }
    assert all(row["Ebs"]["Encrypted"] for row in data["BlockDeviceMappings"])
    assert {row["Ebs"]["VolumeType"] for row in data["BlockDeviceMappings"]} == {"gp3"}
    assert "KeyName" not in data
    ports = {
        row["FromPort"]
        for kind in ("AWS::EC2::SecurityGroupIngress",)
        for row in of_type(fleet_templates[name], kind)
    }
    assert ports <= {8080}
    (group,) = of_type(fleet_templates[name], "AWS::AutoScaling::AutoScalingGroup")
    transitions = [row["LifecycleTransition"] for row in group["LifecycleHookSpecificationList"]]
    assert transitions == [
        "autoscaling:EC2_INSTANCE_LAUNCHING",
        "autoscaling:EC2_INSTANCE_TERMINATING",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_what_takes_tags_says_whose_it_is(
    name: str, fleet_templates: Mapping[str, Document]
) -> None:
    untaggable = {
        "AWS::AutoScaling::ScalingPolicy",
        "AWS::AutoScaling::ScheduledAction",
        "AWS::AutoScaling::WarmPool",
        "AWS::EC2::Route",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::IAM::InstanceProfile",
        "AWS::S3::BucketPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::EC2::LaunchTemplate",
    }
    for logical_id, resource in fleet_templates[name]["Resources"].items():
        if resource["Type"] in untaggable:
            continue
        tags = {row["Key"]: row["Value"] for row in resource["Properties"].get("Tags", [])}
        assert {"deployer:name", "deployer:digest", "deployer:version"} <= tags.keys(), logical_id


def entry(template: Document) -> Iterator[Document]:
    yield from of_type(template, "AWS::ElasticLoadBalancingV2::Listener")


def test_https_is_tls_13_and_http_only_by_name(fleet_templates: Mapping[str, Document]) -> None:
    for name in ("https", "spot", "warm-pool", "graviton"):
        (listener,) = entry(fleet_templates[name])
        assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
        assert "TLS13" in listener["SslPolicy"]
    (listener,) = entry(fleet_templates["minimal"])
    assert (listener["Protocol"], listener["Port"]) == ("HTTP", 80)
    assert not list(entry(fleet_templates["queue"]))


def test_a_load_balancer_without_addresses_is_closed(
    fleets: Mapping[str, ResolvedFleet],
    fleet_resolver: Callable[..., ResolvedFleet],
    synthesize_fleets: Callable[[Mapping[str, ResolvedFleet]], dict[str, Document]],
) -> None:
    data = serde.to_dict(fleets["minimal"].spec)
    del data["target"]["listener"]["allow_cidrs"]
    found = synthesize_fleets({"closed": fleet_resolver(serde.from_dict(data))})
    groups = of_type(found["closed"], "AWS::EC2::SecurityGroup")
    assert not [row for row in groups if "SecurityGroupIngress" in row]


def test_the_idle_timeout_stays_below_the_servers_keep_alive() -> None:
    assert KEEP_ALIVE_S == IDLE_TIMEOUT_S


def test_refresh_alarms_are_made_before_the_group(fleet_templates: Mapping[str, Document]) -> None:
    template = fleet_templates["https"]
    group = template["Resources"]["Group"]
    made = {
        key for key, row in template["Resources"].items() if row["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert made <= set(group["DependsOn"])
    preferences = group["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]
    names = preferences["AlarmSpecification"]["Alarms"]
    assert names == [
        "deployer/digits/p99",
        "deployer/digits/5xx",
        "deployer/digits/unreachable",
    ]


def test_too_long_a_launch_script_is_refused(fleets: Mapping[str, ResolvedFleet]) -> None:
    document = fleets["minimal"].to_json()
    document["environment"] = {f"NAME_{i}": "x" * 1000 for i in range(10)}
    with pytest.raises(InputError, match=r"the launch script is .* EC2 takes"):
        launch.render(fleet_resolved.from_json(document))
