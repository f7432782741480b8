"""`deployer upload`: the bundle in S3 as the resolved document says, for the CDK route."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from deployer.api.uploads import upload
from deployer.cli.main import cli
from deployer.errors import InputError
from deployer.spec.target import SageMakerRealtime


def keys(bucket: str) -> list[str]:
    rows = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
    return [row["Key"] for row in rows]


@pytest.mark.parametrize("model_data", ["tar", "files"])
def test_the_bundle_lies_where_the_document_says_and_is_sent_once(
    cloud: Any, tmp_path: Path, model_data: str
) -> None:
    target = SageMakerRealtime("ml.c5.large", instances=2, model_data=model_data)  # type: ignore[arg-type]
    document = cloud.plan(cloud.spec(target=target)).resolved
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(document.to_json()))
    done = CliRunner().invoke(cli, ["upload", str(path)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{document.artifact.s3_uri}\n"
    found = keys(document.artifact.bucket)
    assert all(key.startswith(document.artifact.key) for key in found)
    assert len(found) == 1 if model_data == "tar" else len(found) > 3
    cloud.fake.calls.clear()
    told: list[str] = []
    assert upload(document, say=told.append) == document.artifact.s3_uri
    assert told == [f"{document.artifact.s3_uri} is there already"]
    assert cloud.fake.changing == []
    steps = {step.kind: step.action for step in cloud.plan(cloud.spec(target=target)).steps}
    assert "bundle" not in steps or steps["bundle"] == "keep"


def test_another_account_and_another_bundle_are_refused(cloud: Any) -> None:
    document = cloud.plan(cloud.spec()).resolved
    other = replace(document, place=replace(document.place, account="210987654321"))
    with pytest.raises(InputError, match="resolved for account 210987654321"):
        upload(other)
    wrong = replace(document, artifact=replace(document.artifact, digest="0" * 64))
    with pytest.raises(InputError):
        upload(wrong)
    assert keys(document.artifact.bucket) == []
