"""SageMaker Runtime: real-time and asynchronous calls, and the objects that asynchronous calls leave in S3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.errors import InputError

_GONE = ("404", "NoSuchKey", "NotFound")
_MARGIN_S = 10.0


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered: the container's own status, also when it is an error, body and headers."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AsyncCall:
    """An asynchronous call that was taken: its id, and the S3 URIs of its result and of its failure.

    ``failure`` is empty where the endpoint has no place for failures.
    """

    id: str
    output: str
    failure: str


class Runtime:
    """Calls of one endpoint. No invocation is sent twice; ``timeout_s`` bounds the wait for its answer."""

    def __init__(self, aws: Aws, endpoint: str, *, timeout_s: float = 60.0) -> None:
        self.aws = aws
        self.endpoint = endpoint
        self._client = aws.once("sagemaker-runtime", timeout_s + _MARGIN_S)

    def invoke(
        self, body: bytes, content_type: str, accept: str | None, options: Mapping[str, str]
    ) -> Reply:
        """Send one request; ``options`` are further members of InvokeEndpoint, such as CustomAttributes.

        Raises AwsRefusal when SageMaker itself refuses, EnvironmentProblem when no answer came.
        """
        members = {"ContentType": content_type, **({"Accept": accept} if accept else {}), **options}
        with translated(f"invoking endpoint {self.endpoint!r}"):
            try:
                answer = self._client.invoke_endpoint(
                    EndpointName=self.endpoint, Body=body, **members
                )
                content = answer["Body"].read()
            except ClientError as error:
                if code_of(error) != "ModelError" or not _status(error):
                    raise
                return Reply(
                    _status(error), str(error.response.get("OriginalMessage", "")).encode()
                )
        return Reply(200, content, _headers(answer))

    def invoke_async(
        self, body: bytes | None, source: str | None, members: Mapping[str, Any]
    ) -> AsyncCall:
        """Hand over a body, or the S3 URI of one; ``members`` as InvokeEndpointAsync names them."""
        payload = {"Body": body} if source is None else {"InputLocation": source}
        with translated(f"invoking endpoint {self.endpoint!r}"):
            answer = self._client.invoke_endpoint_async(
                EndpointName=self.endpoint, **payload, **members
            )
        return AsyncCall(
            str(answer.get("InferenceId", "")),
            str(answer["OutputLocation"]),
            str(answer.get("FailureLocation", "")),
        )

    def read(self, uri: str) -> Reply | None:
        """Return an object with its content type; None while there is none."""
        bucket, key = split(uri)
        with translated(f"reading {uri}"):
            try:
                answer = self.aws.client("s3").get_object(Bucket=bucket, Key=key)
                content = answer["Body"].read()
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return Reply(200, content, {"content-type": str(answer.get("ContentType", ""))})

    def write(self, uri: str, content: bytes, content_type: str) -> None:
        """Write an object into a bucket that must be this account's."""
        bucket, key = split(uri)
        owner = self.aws.identity[0]
        with translated(f"writing {uri}"):
            self.aws.client("s3").put_object(
                Bucket=bucket,
                Key=key,
                Body=content,
                ContentType=content_type,
                ExpectedBucketOwner=owner,
            )


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://BUCKET/KEY``. Raises InputError."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise InputError(f"{uri!r} is no object in S3", hint="write it like s3://bucket/key")
    return parts.netloc, parts.path.removeprefix("/")


def _status(error: ClientError) -> int:
    """Return the container's own status; 0 when it gave none."""
    return int(error.response.get("OriginalStatusCode") or 0)


def _headers(answer: Mapping[str, Any]) -> dict[str, str]:
    names = {
        "ContentType": "content-type",
        "InvokedProductionVariant": "x-amzn-invoked-production-variant",
        "CustomAttributes": "x-amzn-sagemaker-custom-attributes",
    }
    return {header: str(answer[name]) for name, header in names.items() if answer.get(name)}
