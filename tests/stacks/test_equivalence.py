"""Both routes tell AWS the same, which is what was written by hand; and any key of a specification changes both.

Neither route is compared with expectations that the other, or a builder of both, made: ``expected/*.toml`` is
written by people from the examples and AWS's reference.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deployer.spec.resolved import Resolved

pytestmark = pytest.mark.cdk

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = sorted(path.stem for path in (ROOT / "examples" / "deploy_sagemaker").glob("*.toml"))
Document = dict[str, Any]

ALWAYS: Document = {
    "Description": "Execution role of a SageMaker deployment, made by deployer",
    "PolicyName": "deployer",
    "PolicyVersion": "2012-10-17",
    "AssumeRolePolicyDocument": {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
            }
        ],
    },
}
"""What every role that we make says."""


def expectation(name: str) -> Document:
    """Return the properties that AWS must be told, by path, with what is the same in all written out."""
    document = tomllib.loads((HERE / "expected" / f"{name}.toml").read_text())
    if "role" in document:
        document["role"] |= ALWAYS
        for row in document["role"]["Statements"].values():
            row["Effect"] = "Allow"
    for part in ("policies", "schedules"):
        for row in document.get(part, {}).values():
            keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
            row |= {key: document["target"][key] for key in keys}
    return document


def test_every_example_has_an_expectation() -> None:
    assert sorted(path.stem for path in (HERE / "expected").glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_calls_of_the_sdk_route_are_as_expected(
    name: str, examples: Mapping[str, Resolved], routes: Any
) -> None:
    told = dict(routes.flat(routes.of_calls(examples[name])))
    assert told == dict(routes.flat(expectation(name)))


@pytest.mark.parametrize("name", NAMES)
def test_the_template_of_the_cdk_route_is_as_expected(
    name: str, examples: Mapping[str, Resolved], templates: Mapping[str, Document], routes: Any
) -> None:
    told = dict(routes.flat(routes.of_template(examples[name], templates[name])))
    assert told == dict(routes.flat(expectation(name)))
