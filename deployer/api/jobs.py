"""Batch jobs over objects in S3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from deployer.spec import placeholders
from deployer.spec import resolved as documents
from deployer.spec.resolved import Resolved

if TYPE_CHECKING:
    from deployer.clients.batch import BatchResult


def transform(
    name: str,
    *,
    input_s3_uri: str = "",
    output_s3_uri: str = "",
    resolved: AnyPath | Resolved | None = None,
    timeout_s: float = 24 * 3600.0,
    region: str = "",
    say: Say = silent,
) -> BatchResult:
    """Run one batch job of a deployment over objects in S3 and wait until it has completed.

    Input and output default to the specification's. ``resolved`` is the document that was deployed; left out,
    this machine's copy of it.
    """
    from deployer.deployments import locate
    from deployer.deployments.sagemaker import jobs
    from deployer.deployments.sagemaker.backend import deployed_last

    given = as_path(resolved)
    document = documents.load(given) if isinstance(given, Path) else given
    document = document or deployed_last(name)
    placeholders.refuse(document.placeholders)
    aws = locate.connect(region or document.place.region, "the resolved document", say)
    return jobs.run(
        aws,
        document,
        input_s3_uri=input_s3_uri,
        output_s3_uri=output_s3_uri,
        timeout_s=timeout_s,
        say=say,
    )
