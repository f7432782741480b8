"""Changing any one key of a specification changes what both routes tell AWS, and both tell it alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.clients import batch
from deployer.errors import RuleBroken
from deployer.spec import rules, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved
from deployer.spec.target import SageMakerBatch

pytestmark = pytest.mark.cdk

Document = dict[str, Any]
Told = tuple[Document, Document]
EXAMPLES = Path(__file__).parents[2] / "examples" / "deploy_sagemaker"


@pytest.fixture(scope="module")
def bases(changes: Any) -> dict[str, Document]:
    """The specifications that are changed, as plain data."""
    found = {path.stem: serde.to_dict(serde.load(path)) for path in EXAMPLES.glob("*.toml")}
    for name, (origin, keys) in changes.DERIVED.items():
        found[name] = changes.Change(origin, keys).apply(found)
    return found


@pytest.fixture(scope="module")
def told(
    bases: Mapping[str, Document],
    changes: Any,
    routes: Any,
    resolver: Callable[..., Resolved],
    synthesize: Callable[[Mapping[str, Resolved]], dict[str, Document]],
) -> dict[str, Told]:
    """What the SDK route and the CDK route tell AWS, for each base and each changed specification."""
    documents = {f"base-{name}": resolver(serde.from_dict(spec)) for name, spec in bases.items()}
    for number, key in enumerate(sorted(changes.CHANGES)):
        change = changes.CHANGES[key]
        if change.outcome != changes.REFUSED:
            spec = serde.from_dict(change.apply(bases))
            documents[f"change-{number}"] = resolver(spec, digest=change.digest)
    disks = changes.Change("realtime", {"target.instance_type": "ml.m5d.xlarge"}).apply(bases)
    documents["own-disks"] = resolver(serde.from_dict(disks))
    made = synthesize(documents)
    return {
        name: (
            dict(routes.flat(routes.of_calls(document))),
            dict(routes.flat(routes.of_template(document, made[name]))),
        )
        for name, document in documents.items()
    }


def test_every_key_of_a_specification_has_a_change(changes: Any) -> None:
    keys = list(changes.all_keys())
    assert len(keys) == len(set(keys)) > 120
    assert sorted(changes.CHANGES) == sorted(keys)


def test_every_key_is_explained(changes: Any) -> None:
    text = (EXAMPLES / "README.md").read_text()
    words = {key.rpartition(":")[2].rpartition(".")[2] for key in changes.all_keys()}
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()


def test_a_key_changes_both_routes_alike(
    key: str, bases: Mapping[str, Document], told: Mapping[str, Told], changes: Any
) -> None:
    change = changes.CHANGES[key]
    if change.outcome == changes.REFUSED:
        with pytest.raises(RuleBroken, match=next(iter(change.keys))):
            rules.require(serde.from_dict(change.apply(bases)))
        return
    number = sorted(changes.CHANGES).index(key)
    (sdk, cdk), (sdk_before, cdk_before) = told[f"change-{number}"], told[f"base-{change.base}"]
    assert sdk == cdk
    assert sdk_before == cdk_before
    assert (sdk != sdk_before) == (change.outcome == changes.BOTH), change.outcome
    assert (cdk != cdk_before) == (change.outcome == changes.BOTH), change.outcome
    if change.outcome == changes.JOB:
        before, after = (job(serde.from_dict(d)) for d in (bases[change.base], change.apply(bases)))
        assert before != after


def test_neither_route_names_a_key_for_disks_that_take_none(told: Mapping[str, Told]) -> None:
    sdk, cdk = told["own-disks"]
    assert sdk == cdk
    assert "/config/KmsKeyId" not in sdk
    assert "/config/KmsKeyId" in told["base-realtime"][0]
    assert "/config/DataCaptureConfig/KmsKeyId" in sdk


def test_the_answers_and_the_storage_of_a_job_are_encrypted_with_the_key(
    bases: Mapping[str, Document], changes: Any
) -> None:
    change = changes.CHANGES["target:sagemaker-batch.kms_key_arn"]
    spec = serde.from_dict(change.apply(bases))
    key = change.keys["target.kms_key_arn"]
    assert job(spec)["TransformOutput"]["KmsKeyId"] == key
    assert job(spec)["TransformResources"]["VolumeKmsKeyId"] == key
    disks = replace(spec, target=replace(spec.target, instance_type="ml.m5d.xlarge"))  # type: ignore[type-var, call-arg]
    assert "VolumeKmsKeyId" not in job(disks)["TransformResources"], "AWS refuses it there"


def job(spec: DeploymentSpec) -> Document:
    """Return the transform job of a specification."""
    assert isinstance(spec.target, SageMakerBatch)
    return batch.request("job", "model", spec.target)
