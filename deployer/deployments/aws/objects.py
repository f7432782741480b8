"""The objects of a deployment in S3: its bundle goes up whole and verified, and all of them go at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deployer.aws.session import Aws
from deployer.aws.storage import Storage, object_options
from deployer.aws.upload import PART_BYTES, upload
from deployer.bundle import bundle as bundles
from deployer.deployments.aws.place import bucket_of
from deployer.progress import Say
from deployer.spec import naming
from deployer.spec.resolved import Artifact


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return our own among a deployment's tags: an object takes ten at most."""
    return {key: value for key, value in tags.items() if key.startswith("deployer:")}


def make_bucket(aws: Aws, artifact: Artifact) -> None:
    """Make the bucket, which all deployments of the account and region share."""
    Storage(aws, artifact.bucket).make({naming.SHARED_TAG: "true"})


def put_archive(
    aws: Aws,
    artifact: Artifact,
    tags: Mapping[str, str],
    kms_key_arn: str,
    say: Say,
    *,
    part_bytes: int = PART_BYTES,
) -> None:
    """Upload the bundle's archive, whole, verified against the digest that is resolved."""
    path = Path(artifact.source)
    bundles.open_bundle(path, digest=artifact.digest)
    options = object_options({"digest": artifact.digest}, own_tags(tags), kms_key_arn)
    storage = Storage(aws, artifact.bucket)
    upload(storage, path, artifact.key, options, part_bytes=part_bytes, say=say)


def remove_all(aws: Aws, bucket: str, name: str) -> Iterator[str]:
    """Remove a deployment's objects, and a bucket of ours that is empty then; yield what was removed."""
    storage = Storage(aws, bucket)
    if not storage.exists():
        return
    start = naming.objects(name)
    if count := storage.remove(start):
        yield f"{count} objects under s3://{bucket}/{start}"
    tags = storage.bucket_tags()
    # A run that was cut off between making the bucket and its tag leaves it under our own name.
    cut_off = not tags and bucket == bucket_of(aws)
    ours = cut_off or tags.get(naming.SHARED_TAG) == "true"
    if ours and next(storage.keys(""), None) is None and storage.remove_bucket():
        yield f"bucket {bucket}, which was empty"


def remaining(aws: Aws, bucket: str, name: str) -> Iterator[str]:
    """Yield every object of a deployment that is there, and every upload that was not finished."""
    storage, start = Storage(aws, bucket), naming.objects(name)
    yield from (f"s3://{bucket}/{key}" for key in storage.keys(start))
    yield from (f"unfinished upload s3://{bucket}/{key}" for key, _ in storage.uploads(start))
