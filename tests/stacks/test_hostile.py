"""Names and values at their limits and of bad intent: both routes tell AWS the same, and the template is valid."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import RuleBroken
from deployer.spec import rules, serde
from deployer.spec.resolved import Resolved

pytestmark = pytest.mark.cdk

Document = dict[str, Any]
Wish = tuple[str, dict[str, Any]]

VALUES = (
    "",
    "é漢😀",
    "two\nlines",
    "${AWS::Region}",
    "!Ref Model",
    '{"Ref": "AWS::Region"}',
    "x" * 1024,
    "%s\\n$(reboot)`'\"",
    "<Tokens>",
)
WISHES: dict[str, Wish] = {
    **{f"value-{i}": ("realtime", {"target.environment": {"A": v}}) for i, v in enumerate(VALUES)},
    "longest-name": ("realtime", {"name": "a" * 41}),
    "longest-async": ("async", {"name": "a" * 41}),
    "longest-steps": ("realtime-steps", {"name": "a" * 41}),
    "longest-serverless": ("serverless", {"name": "a" * 41}),
    "shortest-name": ("realtime", {"name": "x"}),
    "name-of-digits": ("realtime", {"name": "1-2"}),
    "capitals": ("realtime", {"name": "Digits-X--y"}),
    "tags": ("realtime", {"tags": {"a b_.:/=+-@": "é _.:/=+-@", "x" * 128: "y" * 256}}),
    "alarms": ("realtime", {"rollout.alarms": ["a b/ü:é", "x" * 255]}),
    "dimensions": (
        "realtime-steps",
        {"scaling.custom.dimensions": {"Ref": "AWS::Region", "Fn::Sub": "${AWS::Region}"}},
    ),
    "no-dimensions": ("realtime-steps", {"scaling.custom.dimensions": {}}),
    "small-number": ("realtime-steps", {"scaling.threshold": 1e-7}),
    "large-number": ("realtime-steps", {"scaling.threshold": 1e21}),
    "third": ("realtime", {"scaling.target": 1 / 3}),
    "no-errors": ("realtime", {"rollout.max_error_percent": 0.0}),
    "valid-custom": (
        "realtime",
        {
            "scaling": {
                "kind": "target-tracking",
                "metric": "custom",
                "target": 3.0,
                "custom": {"namespace": "Shop", "name": "Depth", "dimensions": {"Stage": "live"}},
            }
        },
    ),
    "valid-cpu": ("realtime", {"scaling.metric": "cpu", "scaling.target": 70.0}),
    "valid-batch": (
        "batch",
        {"target.network": {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"]}},
    ),
    "valid-rolling": ("realtime", {"rollout": {"kind": "rolling", "batch_percent": 50}}),
    "spaces": ("realtime", {"target.capture.s3_uri": "s3://bucket/a b/é$(x)"}),
    "full-environment": (
        "realtime",
        {"target.environment": {f"NAME_{i}": "v" * 1024 for i in range(100)}},
    ),
}
VALID = ("longest", "shortest", "name-", "capitals", "tags", "third", "full-", "valid-")
"""Wishes that AWS takes: no finding of cfn-lint. In the others a value looks like CloudFormation's own."""


@pytest.fixture(scope="module")
def documents(resolver: Callable[..., Resolved], changes: Any) -> dict[str, Resolved]:
    folder = Path(__file__).parents[2] / "examples" / "deploy_sagemaker"
    found = {}
    for name, (example, keys) in WISHES.items():
        bases = {example: copy.deepcopy(serde.to_dict(serde.load(folder / f"{example}.toml")))}
        found[name] = resolver(serde.from_dict(changes.Change(example, keys).apply(bases)))
    return found


@pytest.fixture(scope="module")
def made(
    documents: Mapping[str, Resolved],
    synthesize: Callable[[Mapping[str, Resolved]], dict[str, Document]],
) -> dict[str, Document]:
    return synthesize(documents)


@pytest.mark.parametrize("name", WISHES)
def test_both_routes_tell_the_same(
    name: str, documents: Mapping[str, Resolved], made: Mapping[str, Document], routes: Any
) -> None:
    sdk = dict(routes.flat(routes.of_calls(documents[name])))
    assert sdk == dict(routes.flat(routes.of_template(documents[name], made[name])))


def test_values_arrive_as_they_were_written(made: Mapping[str, Document]) -> None:
    for number, value in enumerate(VALUES):
        resources = made[f"value-{number}"]["Resources"].values()
        (model,) = [row for row in resources if row["Type"] == "AWS::SageMaker::Model"]
        assert model["Properties"]["PrimaryContainer"]["Environment"] == {"A": value}


def test_cfn_lint_finds_nothing_at_the_limits(made: Mapping[str, Document], tmp_path: Path) -> None:
    for name, template in made.items():
        if name.startswith(VALID):
            (tmp_path / f"{name}.json").write_text(json.dumps(template))
    lint = str(Path(sys.executable).with_name("cfn-lint"))
    files = sorted(str(path) for path in tmp_path.glob("*.json"))
    assert len(files) == 14
    found = subprocess.run([lint, "--", *files], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize(
    "tags", [{"empty": ""}, {"aws:x": "y"}, {"deployer:name": "z"}, {"a{": "b"}]
)
def test_tags_that_aws_refuses_are_refused_before(
    tags: dict[str, str], examples: Mapping[str, Resolved]
) -> None:
    spec = serde.to_dict(examples["realtime"].spec) | {"tags": tags}
    with pytest.raises(RuleBroken, match=r"^tags\."):
        rules.require(serde.from_dict(spec))
