"""The image's processor against the instance family's, while planning: nothing is made."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from deployer.errors import DeployerError, InputError
from deployer.spec.target import SageMakerRealtime


def put(name: str, *architectures: str) -> str:
    """Put an image for these processors into a deployment's repository; return its digest."""
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName=f"deployer/{name}")
    kind = "application/vnd.oci.image.manifest.v1+json"
    rows = [
        {"mediaType": kind, "size": 1, "digest": f"sha256:{number:064x}",
         "platform": {"os": "linux", "architecture": word}}
        for number, word in enumerate(architectures)
    ]  # fmt: skip
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": rows,
    }
    answer = ecr.put_image(
        repositoryName=f"deployer/{name}", imageManifest=json.dumps(index), imageTag="1"
    )
    return str(answer["image"]["imageId"]["imageDigest"])


def spec(cloud: Any, name: str, instance_type: str) -> Any:
    return cloud.spec(name=name, target=SageMakerRealtime(instance_type, instances=2))


@pytest.mark.parametrize(
    ("architecture", "fits", "fits_not", "has"),
    [
        ("arm64", "ml.c7g.large", "ml.c5.large", "x86_64"),
        ("amd64", "ml.c5.large", "ml.c7g.large", "arm64"),
    ],
)
def test_an_image_for_another_processor_stops_the_plan(
    cloud: Any, architecture: str, fits: str, fits_not: str, has: str
) -> None:
    digest = put("letters", architecture)
    plan = cloud.plan(spec(cloud, "letters", fits))
    assert plan.resolved.image.uri.endswith(f"/deployer/letters@{digest}")
    seen = {check.subject: check for check in plan.checks}
    assert seen["image"].outcome == "ok"
    cloud.fake.calls.clear()
    with pytest.raises(DeployerError, match=f"the instances have {has}: .* exec format error"):
        cloud.plan(spec(cloud, "letters", fits_not))
    assert cloud.fake.changing == []


def test_an_index_for_both_fits_both_and_none_is_told(cloud: Any) -> None:
    put("letters", "amd64", "arm64")
    for kind in ("ml.c5.large", "ml.c7g.large"):
        assert {c.subject: c.outcome for c in cloud.plan(spec(cloud, "letters", kind)).checks}[
            "image"
        ] == "ok"
    with pytest.raises(
        InputError, match="no image in the ECR repository 'deployer/nobody'"
    ) as caught:
        cloud.plan(spec(cloud, "nobody", "ml.c5.large"))
    assert "deployer image push" in str(caught.value.hint)
