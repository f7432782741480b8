"""A plan offline and one online, held against each other: real boto3 against moto over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3

import deployer
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import Listener
from deployer.spec.target import Ec2Fleet, SageMakerRealtime

ACCOUNT = "123456789012"
OUTSIDE = "registry.example/digits@sha256:" + "7b" * 32
MANIFEST = (
    '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
)
LISTENER = Listener("http", allow_cidrs=("203.0.113.0/24",))
AMI = "ami-0123456789abcdef0"


def test_a_fleet_with_nothing_missing_resolves_to_what_the_plan_online_does(
    echo_bundle: Callable[..., Path], fake_aws: Any
) -> None:
    target = Ec2Fleet("c7i.large", image_uri=OUTSIDE, ami_id=AMI, listener=LISTENER)
    same_document_and_cost(DeploymentSpec("digits", str(echo_bundle()), target))


def same_document_and_cost(spec: DeploymentSpec) -> None:
    online: Any = deployer.plan(spec)
    found: Any = deployer.plan(spec, offline_account=ACCOUNT)
    assert online.changes
    assert found.resolved.placeholders == ()
    place = replace(online.resolved.place, region_source="target.region")
    assert found.resolved == replace(online.resolved, place=place)
    assert found.cost == online.cost


def test_an_image_in_ecr_by_tag_and_digest_has_one_address_in_both(
    echo_bundle: Callable[..., Path], fake_aws: Any
) -> None:
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="digits")
    made = ecr.put_image(repositoryName="digits", imageManifest=MANIFEST, imageTag="7")
    digest = made["image"]["imageId"]["imageDigest"]
    uri = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/digits:7@{digest}"
    target = SageMakerRealtime("ml.c5.large", image_uri=uri)
    same_document_and_cost(DeploymentSpec("digits", str(echo_bundle()), target))
