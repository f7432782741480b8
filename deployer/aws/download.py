"""An object of S3 into a file, every byte checked against what S3 says of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.aws.runtime import split
from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.errors import DeployerError, InputError

_CHUNK = 2**20


@dataclass(frozen=True)
class Downloaded:
    """What came: bytes, sha256 in hex, and S3's ETag and version (empty without versions)."""

    size: int
    sha256: str
    etag: str
    version: str


def download(aws: Aws, uri: str, path: Path, *, most: int, etag: str = "") -> Downloaded:
    """Write the object at ``uri`` to a new file of at most ``most`` bytes; it must have ``etag`` where one is given.

    Raises InputError when there is no such object, it is too large, or has another ETag; DeployerError when what came
    is not what S3 holds.
    """
    bucket, key = split(uri)
    wanted = {"IfMatch": f'"{etag}"'} if etag else {}
    with translated(f"reading {uri}"):
        try:
            answer = aws.client("s3").get_object(
                Bucket=bucket, Key=key, ChecksumMode="ENABLED", **wanted
            )
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                raise InputError(f"there is no object {uri}") from error
            if code_of(error) in ("PreconditionFailed", "412"):
                raise InputError(
                    f"{uri} is not what it was when it was registered (ETag {etag})",
                    hint="register the model again, or name the training job",
                ) from error
            raise
        size = int(answer["ContentLength"])
        if size > most:
            raise InputError(f"{uri} has {size:,} bytes; at most {most:,} are taken")
        whole, plain, count = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        with path.open("xb") as file:
            for chunk in answer["Body"].iter_chunks(_CHUNK):
                whole.update(chunk)
                plain.update(chunk)
                count += len(chunk)
                file.write(chunk)
    found = str(answer.get("ETag", "")).strip('"')
    encrypted = str(answer.get("ServerSideEncryption", "AES256")) != "AES256"
    # Of an object sent in one piece the ETag is its MD5; the SDK itself looks at newer checksums.
    whole_etag = re.fullmatch(r"[0-9a-f]{32}", found) and not encrypted
    if count != size or (whole_etag and found != plain.hexdigest()):
        raise DeployerError(
            f"{uri} came damaged: {count:,} of {size:,} bytes, MD5 {plain.hexdigest()}, S3 has {found}",
            hint="try again",
        )
    return Downloaded(count, whole.hexdigest(), found, str(answer.get("VersionId") or ""))


def listed(aws: Aws, uri: str) -> Iterator[tuple[str, int]]:
    """Yield (path below ``uri``, size) of every object whose key starts with it, sorted by key."""
    bucket, key = split(uri)
    prefix = f"{key.rstrip('/')}/"
    with translated(f"listing {uri}"):
        pages = aws.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for row in page.get("Contents", ()):
                if not str(row["Key"]).endswith("/"):
                    yield str(row["Key"]).removeprefix(prefix), int(row["Size"])
