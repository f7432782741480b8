"""Addresses of container images in ECR: pure."""

from __future__ import annotations

import re

ECR_URI = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def repository(name: str) -> str:
    """Return the ECR repository of a deployment, which ``deployer image push`` fills."""
    return f"deployer/{name.lower()}"


def pinned(uri: str, digest: str) -> str:
    """Return an image's address by its digest (hex) alone, without its tag."""
    head, _, last = uri.partition("@")[0].rpartition("/")
    return f"{head}/{last.partition(':')[0]}@sha256:{digest}"
