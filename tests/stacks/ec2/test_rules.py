"""The CDK app asks the rule book: a document whose specification breaks a rule becomes no stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from deployer.errors import InputError, RuleBroken
from deployer.spec import rules, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from deployer.spec.rules.fleet import FREE_BYTES
from stacks.app import build, find, known
from stacks.constructs import launch

pytestmark = pytest.mark.cdk

SOURCE = Path(__file__).parents[2] / "deployer" / "spec" / "rules" / "broken.toml"
DATA: dict[str, dict[str, Any]] = tomllib.loads(SOURCE.read_text())
NOT_IN_THE_DOCUMENT = {"accelerator-unused", "sample-size", "queue-boto3", "cpu-vcpus"}
"""Rules whose facts are of the bundle or the price book: planning asked them, the document holds none."""
IN_THE_DOCUMENT = [
    id for id in DATA if not id.startswith("local-") and id not in NOT_IN_THE_DOCUMENT
]
BY_THE_APP = ("schedule-full-minute", "rollout-part")
EXAMPLE = {
    "sagemaker-realtime": "realtime",
    "sagemaker-serverless": "serverless",
    "sagemaker-async": "async",
    "sagemaker-batch": "batch",
}


def broken(id: str) -> DeploymentSpec:
    rest = {key: value for key, value in DATA[id].items() if key != "sealed"}
    return serde.from_dict({"name": "digits", "bundle": "digits.tar.gz", **rest})


@pytest.fixture
def document(
    examples: Mapping[str, Resolved], fleets: Mapping[str, ResolvedFleet]
) -> Callable[[str], Resolved | ResolvedFleet]:
    """Return a document as planning made it, with a broken specification in it."""

    def make(id: str) -> Resolved | ResolvedFleet:
        spec = broken(id)
        if spec.target.kind in EXAMPLE:
            return replace(examples[EXAMPLE[spec.target.kind]], spec=spec)
        drain = replace(fleets["minimal"].drain, delay_s=60, server_s=31)
        return replace(fleets["minimal"], spec=spec, drain=drain)

    return make


@pytest.mark.parametrize("id", [id for id in DATA if not id.startswith("local-")])
def test_a_broken_rule_is_refused_before_anything_is_made(
    id: str, document: Callable[[str], Resolved | ResolvedFleet]
) -> None:
    app = cdk.App(analytics_reporting=False)
    if id in NOT_IN_THE_DOCUMENT:
        assert id in {item.id for item in rules.unchecked(broken(id))}
        return
    with pytest.raises(RuleBroken) as caught:
        build(app, document(id))
    assert caught.value.code == id
    assert app.node.children == []


def test_a_deployment_that_breaks_a_rule_is_refused_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(serde.to_toml(broken("schedule-full-minute")))
    with pytest.raises(RuleBroken, match="is no full minute"):
        find(str(path), None)


@pytest.mark.parametrize("id", IN_THE_DOCUMENT)
def test_the_real_app_ends_with_exit_1_and_one_line(
    id: str, document: Callable[[str], Resolved | ResolvedFleet], tmp_path: Path
) -> None:
    if id not in BY_THE_APP and "DEPLOYER_ALL_RULES" not in os.environ:
        pytest.skip("a process each (DEPLOYER_ALL_RULES=1)")
    made = document(id)
    (tmp_path / "resolved.json").write_text(json.dumps(made.to_json()))
    done = subprocess.run(
        [sys.executable, "-m", "stacks.app"],
        cwd=tmp_path,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path / "assembly"), "CDK_CONTEXT_JSON": "{}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"error: {rules.broken(made.spec, known(made))[0].key}: ")
    assert "Traceback" not in done.stderr


def longest(**target: Any) -> DeploymentSpec:
    """A specification with every name as long as it may be."""
    rest = {"kind": "ec2-fleet", "instance_type": "c7i.large", "bucket": "b" * 63} | target
    return serde.from_dict({"name": "n" * 41, "bundle": "d.tar.gz", "target": rest})


def filling(free: int) -> dict[str, str]:
    """An environment of just so many bytes of the launch script."""
    sizes = [1000] * (free // 1010)
    sizes.append(free - 1004 * len(sizes) - 4)
    return {f"A{i}": "x" * size for i, size in enumerate(sizes)}


@pytest.mark.parametrize(
    "target",
    [
        {"listener": {"protocol": "http"}},
        {"queue": {}},
        {"queue": {"results_s3_uri": f"s3://{'r' * 63}/{'k' * 400}"}},
        {"queue": {}, "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/" + "i" * 210},
    ],
)
def test_what_the_rule_lets_pass_fits_into_the_user_data(
    target: dict[str, Any], fleet_resolver: Callable[..., ResolvedFleet]
) -> None:
    said = str(target.get("image_uri", "")) + target.get("queue", {}).get("results_s3_uri", "")
    free = FREE_BYTES - len(said)
    full = longest(environment=filling(free), **target)
    assert rules.broken(full) == ()
    document = fleet_resolver(full)
    if full.target.image_uri:  # type: ignore[union-attr]
        uri = f"{full.target.image_uri}@sha256:{'7b' * 32}"  # type: ignore[union-attr]
        document = replace(document, image=replace(document.image, uri=uri))
    assert len(launch.render(document).encode()) <= 16 * 1024
    more = longest(environment=filling(free) | {"B": ""}, **target)
    assert [row.id for row in rules.broken(more)] == ["launch-script"]
    quotes = longest(environment={"A": "'" * ((free - 3) // 5)}, **target)
    assert rules.broken(quotes) == ()
    assert len(launch.render(fleet_resolver(quotes)).encode()) <= 16 * 1024


def test_a_local_target_has_no_stack_whatever_it_breaks(
    examples: Mapping[str, Resolved],
) -> None:
    document = replace(examples["batch"], spec=broken("local-target"))
    with pytest.raises(InputError, match="local target has no stack"):
        build(cdk.App(analytics_reporting=False), document)
