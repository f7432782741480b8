"""A client for an endpoint that exists, whoever made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deployer.progress import Say, silent
from deployer.spec import limits

if TYPE_CHECKING:
    from deployer.clients.base import Invoker

Mode = Literal["realtime", "serverless", "async"]


def endpoint(
    name: str,
    *,
    mode: Mode = "realtime",
    region: str = "",
    timeout_s: float | None = None,
    upload_to: str = "",
    say: Say = silent,
) -> Invoker:
    """Return a client of a SageMaker endpoint; ``invoke`` sends a Body once and returns an Answer.

    ``timeout_s`` bounds the wait for an answer (60 s; asynchronous 3,600 s). Asynchronous calls put bodies
    over 128,000 bytes under ``upload_to``, an ``s3://BUCKET/PREFIX``. Raises EnvironmentProblem without boto3
    or a region.

    >>> answer = deployer.endpoint("digits").invoke(deployer.Body(b'{"instances": [[0, 1]]}'))
    """
    from deployer.aws import session
    from deployer.clients import sagemaker

    aws = session.connect((region, "region=") if region else None)
    if mode == "async":
        options = sagemaker.AsyncOptions(upload_to=upload_to, timeout_s=timeout_s or 3600.0)
        return sagemaker.AsyncInvoker(aws, name, options, say=say)
    most = limits.SERVERLESS_BYTES if mode == "serverless" else limits.REALTIME_BYTES
    return sagemaker.EndpointInvoker(aws, name, timeout_s=timeout_s or 60.0, max_bytes=most)
