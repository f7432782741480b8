"""What ECR says of an image: its digest and the processors it runs on. Reads only."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.spec.images import ECR_URI, pinned

ARCHITECTURES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_LONGEST_CONFIG = 2**22
"""Bytes: what ECR itself takes as a manifest."""


@dataclass(frozen=True)
class FoundImage:
    """An image in ECR. ``digest`` is hex; ``architectures`` is empty when nothing tells."""

    uri: str
    digest: str
    architectures: tuple[str, ...]


def find(aws: Aws, uri: str) -> FoundImage | None:
    """Return the image of a whole ECR URI; None when there is none. Raises EnvironmentProblem.

    An image of another account that may not be read is returned without a digest.
    """
    match = ECR_URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"{uri!r} is not in ECR")
    which = {"imageDigest": match["digest"]} if match["digest"] else {}
    if not match["digest"]:
        which = {"imageTag": match["tag"] or "latest"}
    client = aws.client("ecr")
    with translated(f"looking for image {uri}"):
        try:
            answer = client.batch_get_image(
                registryId=match["account"],
                repositoryName=match["repository"],
                imageIds=[which],
                acceptedMediaTypes=list(_MANIFESTS),
            )
        except ClientError as error:
            if code_of(error) == "RepositoryNotFoundException":
                return None
            if match["account"] != aws.identity[0] and code_of(error).startswith("AccessDenied"):
                return FoundImage(uri, (match["digest"] or "").removeprefix("sha256:"), ())
            raise
    if not answer.get("images"):
        return None
    image = answer["images"][0]
    digest = str(image["imageId"]["imageDigest"]).removeprefix("sha256:")
    with translated(f"reading the configuration of image {uri}"):
        kinds = _architectures(client, match, json.loads(image["imageManifest"]))
    return FoundImage(pinned(uri, digest), digest, kinds)


def newest(aws: Aws, repository: str) -> str | None:
    """Return the URI of the image pushed last to a repository of this account; None when there is none."""
    client = aws.client("ecr")
    with translated(f"looking into repository {repository!r}"):
        try:
            pages = client.get_paginator("describe_images").paginate(repositoryName=repository)
            rows = [row for page in pages for row in page.get("imageDetails", ())]
        except ClientError as error:
            if code_of(error) == "RepositoryNotFoundException":
                return None
            raise
    if not rows:
        return None
    last = max(rows, key=lambda row: (row["imagePushedAt"], str(row["imageDigest"])))
    account = last.get("registryId") or aws.identity[0]
    host = f"{account}.dkr.ecr.{aws.region}.amazonaws.com"
    return f"{host}/{repository}@{last['imageDigest']}"


def _architectures(client: Any, match: re.Match[str], manifest: dict[str, Any]) -> tuple[str, ...]:
    if "manifests" in manifest:
        words = [m.get("platform", {}).get("architecture", "") for m in manifest["manifests"]]
        return tuple(dict.fromkeys(ARCHITECTURES[word] for word in words if word in ARCHITECTURES))
    digest = manifest.get("config", {}).get("digest")
    if not digest:
        return ()
    try:
        url = client.get_download_url_for_layer(
            registryId=match["account"], repositoryName=match["repository"], layerDigest=digest
        )["downloadUrl"]
        if not url.startswith("https://"):
            return ()
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # checked above
            word = json.loads(answer.read(_LONGEST_CONFIG))["architecture"]
    except (ClientError, OSError, ValueError, LookupError, TypeError):
        return ()  # the plan says that the architecture was not checked
    return (ARCHITECTURES[word],) if word in ARCHITECTURES else ()
