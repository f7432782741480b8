"""Where answers go: objects in S3, each written once, or a queue of replies."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from inference_code.errors import StartupError
from inference_code.worker.message import CONTENT_TYPE, ENCODING, KEY, Message, Poison

_DIGEST = "request-sha256"


@dataclass(frozen=True)
class Result:
    """One answer."""

    content_type: str
    body: bytes


class Results(Protocol):
    """Keeps answers by key. Calls block, and may raise what boto3 raises."""

    def known(self, message: Message) -> bool:
        """Return whether this message was answered. Raises Poison when its key names another request."""

    def put(self, message: Message, result: Result) -> None:
        """Keep an answer unless there is one. Raises Poison as ``known`` does."""


class S3Results:
    """Objects below ``s3://bucket/prefix``, named by key, written only where there is none."""

    def __init__(self, client: Any, uri: str) -> None:
        """Read the URI. Raises StartupError for one that is none."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise StartupError(f"--results is {uri!r}; write it like s3://bucket/prefix")
        self._client, self._bucket = client, bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""

    def known(self, message: Message) -> bool:
        """Look for the object. Without the right to list the bucket S3 says 403 for one that is not there."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + message.key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return False
            raise
        if head.get("Metadata", {}).get(_DIGEST) != message.digest:
            raise Poison(f"the key {message.key!r} was answered before, for another request")
        return True

    def put(self, message: Message, result: Result) -> None:
        """Write the object if there is none of that name: two workers cannot both."""
        for _ in range(3):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + message.key,
                    Body=result.body,
                    ContentType=result.content_type,
                    Metadata={_DIGEST: message.digest, "message-id": message.id},
                    IfNoneMatch="*",
                )
                return
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412:
                    self.known(message)
                    return
                if status != 409:  # another write of that name is under way: look again
                    raise
        raise Poison(f"the key {message.key!r} is being written by others all the time")


class ReplyQueue:
    """A queue of replies. A FIFO queue drops a second reply of one key within five minutes; a standard one does

    not: whoever reads it must.
    """

    def __init__(self, client: Any, queue: str) -> None:
        """Look the queue up. Raises StartupError when it is not there."""
        self._client = client
        try:
            self._url = (
                queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
            )
        except ClientError as error:
            raise StartupError(f"reply queue {queue!r} cannot be used: {error}") from error
        self._fifo = self._url.endswith(".fifo")

    def known(self, message: Message) -> bool:
        """Return False: a queue does not tell."""
        return False

    def put(self, message: Message, result: Result) -> None:
        """Send the answer under its key; what is not UTF-8 is base64, and says so."""
        attributes = {KEY: message.key, CONTENT_TYPE: result.content_type}
        try:
            text = result.body.decode()
        except UnicodeDecodeError:
            text = base64.b64encode(result.body).decode()
            attributes[ENCODING] = "base64"
        fifo = {"MessageGroupId": message.key[:128], "MessageDeduplicationId": message.key[:128]}
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=text,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
            **(fifo if self._fifo else {}),
        )
