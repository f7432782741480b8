"""The example fleets, resolved as planning does, and their templates, synthesized once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployer.deployments.backend import Asked
from deployer.deployments.ec2.resolve import resolve
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.instances import architecture
from deployer.spec.resolved import Image, Place
from inference_code.contract import ServingConfig

Document = dict[str, Any]
ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "deploy_ec2").glob("*.toml"))
ACCOUNT = "123456789012"
DIGEST = "3f" * 32
IMAGE_DIGEST = "7b" * 32
AMI = "ami-0123456789abcdef0"


def resolve_fleet(spec: DeploymentSpec, digest: str = DIGEST, **asked: Any) -> ResolvedFleet:
    """Resolve as planning does in the account 123456789012."""
    target: Any = spec.target
    place = Place(ACCOUNT, target.region, "target.region")
    uri = f"{ACCOUNT}.dkr.ecr.{place.region}.amazonaws.com/deployer/{spec.name}"
    processor = architecture(target.instance_type)
    image = Image(f"{uri}@sha256:{IMAGE_DIGEST}", IMAGE_DIGEST, processor)
    return resolve(
        replace(spec, bundle="dist/model.tar.gz"),
        place,
        image,
        digest,
        ServingConfig(),
        AMI,
        asked=Asked(**asked),
        now=datetime(2026, 11, 21, tzinfo=UTC),
    )


def synthesize(documents: Mapping[str, ResolvedFleet], folder: Path) -> dict[str, Document]:
    """Return a template for each document, synthesized in one app."""
    import aws_cdk as cdk

    from stacks.ec2 import Ec2FleetStack

    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    for name, document in documents.items():
        Ec2FleetStack(app, name, resolved=document)
    app.synth()
    return {name: json.loads((folder / f"{name}.template.json").read_text()) for name in documents}


@pytest.fixture(scope="session")
def fleet_resolver() -> Callable[..., ResolvedFleet]:
    """Resolve a specification as planning does."""
    return resolve_fleet


@pytest.fixture(scope="session")
def fleets() -> dict[str, ResolvedFleet]:
    """Every example fleet by the name of its file."""
    return {path.stem: resolve_fleet(serde.load(path)) for path in EXAMPLES}


@pytest.fixture(scope="session")
def fleet_templates(
    fleets: Mapping[str, ResolvedFleet], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Document]:
    """The template of every example."""
    return synthesize(fleets, tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="session")
def synthesize_fleets(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Mapping[str, ResolvedFleet]], dict[str, Document]]:
    """Synthesize many documents in one app."""
    return lambda documents: synthesize(documents, tmp_path_factory.mktemp("assembly"))
