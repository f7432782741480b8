"""Statements that the roles of both AWS targets have alike: pure."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.resolved import Image, Statement

_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def pull(image: Image, arn: str) -> Iterator[Statement]:
    """What it takes to pull an image from ECR: nothing when it lies elsewhere."""
    host, _, rest = image.uri.partition("/")
    parts = host.split(".")
    if len(parts) > 3 and parts[1:3] == ["dkr", "ecr"]:
        repository = rest.partition("@")[0].partition(":")[0]
        resource = f"{arn}:ecr:{parts[3]}:{parts[0]}:repository/{repository}"
        yield Statement("PullImage", _PULL, (resource,))
        yield Statement("LogInToRegistry", ("ecr:GetAuthorizationToken",), ("*",))
