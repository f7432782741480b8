"""The example specifications, resolved as planning does, and their templates, synthesized once."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployer.deployments.backend import Asked
from deployer.deployments.sagemaker.resolve import resolve
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Image, Place, Resolved

# jsii and npx take the first node on PATH: the virtual environment's, not the machine's.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "deploy_sagemaker").glob("*.toml"))
ACCOUNT = "123456789012"
DIGEST = "3f" * 32
IMAGE_DIGEST = "7b" * 32


def resolve_spec(spec: DeploymentSpec, digest: str = DIGEST) -> Resolved:
    """Resolve as planning does in the account 123456789012, where each deployment has one image."""
    target: Any = spec.target
    place = Place(ACCOUNT, target.region, "target.region")
    uri = f"{ACCOUNT}.dkr.ecr.{place.region}.amazonaws.com/deployer/{spec.name}"
    if target.image_uri:
        uri = target.image_uri.rpartition(":")[0]
    image = Image(f"{uri}@sha256:{IMAGE_DIGEST}", IMAGE_DIGEST)
    return resolve(
        replace(spec, bundle="dist/model.tar.gz"),
        place,
        image,
        digest,
        asked=Asked(derived_target=240.0),
        now=datetime(2026, 11, 21, tzinfo=UTC),
        vcpus=2,
    )


def synthesize_all(documents: Mapping[str, Resolved], folder: Path) -> dict[str, Document]:
    """Return a template for each document, synthesized in one app."""
    import aws_cdk as cdk

    from stacks.sagemaker import SageMakerStack

    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    for name, document in documents.items():
        SageMakerStack(app, name, resolved=document)
    app.synth()
    return {name: json.loads((folder / f"{name}.template.json").read_text()) for name in documents}


@pytest.fixture(scope="session")
def resolver() -> Callable[..., Resolved]:
    """Resolve a specification as planning does."""
    return resolve_spec


@pytest.fixture(scope="session")
def synthesize(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Mapping[str, Resolved]], dict[str, Document]]:
    """Synthesize many documents in one app."""
    return lambda documents: synthesize_all(documents, tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="session")
def examples() -> dict[str, Resolved]:
    """Every example specification by the name of its file."""
    return {path.stem: resolve_spec(serde.load(path)) for path in EXAMPLES}


@pytest.fixture(scope="session")
def templates(
    examples: Mapping[str, Resolved],
    synthesize: Callable[[Mapping[str, Resolved]], dict[str, Document]],
) -> dict[str, Document]:
    """The template of every example."""
    return synthesize(examples)


def sibling(name: str) -> Any:
    """Import a module of this folder, which is no package."""
    source = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    sys.modules[source.name] = module
    source.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def routes() -> Any:
    """The module ``routes.py``."""
    return sibling("routes")


@pytest.fixture(scope="session")
def changes() -> Any:
    """The module ``changes.py``."""
    return sibling("changes")


@pytest.fixture(scope="session")
def clouds() -> Any:
    """The module ``cloud.py``."""
    return sibling("cloud")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An account on this machine, see ``cloud.py``; each test leaves it empty."""
    with sibling("cloud").started(tmp_path_factory.mktemp("project")) as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``key`` every key that ``changes.py`` changes."""
    if "key" in metafunc.fixturenames:
        metafunc.parametrize("key", sorted(sibling("changes").CHANGES))
