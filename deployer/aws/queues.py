"""SQS: where a queue is, how deep it is, one message in, and what was given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, translated

_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_DEPTH = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_PEEKS = 20


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up; SQS itself gives no reason, a worker does."""

    key: str
    reason: str


class Queues:
    """The queues of one account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("sqs")

    def url(self, name: str) -> str:
        """Return a queue's URL; empty when there is none."""
        with translated(f"looking for queue {name!r}"):
            try:
                return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
            except ClientError as error:
                if code_of(error) in _GONE:
                    return ""
                raise

    def depth(self, url: str) -> tuple[int, int]:
        """Return how many messages wait and how many a worker has taken, both as SQS guesses."""
        with translated(f"asking how deep {url} is"):
            answer: Any = self._client.get_queue_attributes(
                QueueUrl=url, AttributeNames=list(_DEPTH)
            )
        waiting, taken = (int(answer["Attributes"][name]) for name in _DEPTH)
        return waiting, taken

    def send(self, url: str, text: str, attributes: Mapping[str, str]) -> None:
        """Put one message into a queue."""
        with translated(f"sending to {url}"):
            self._client.send_message(
                QueueUrl=url,
                MessageBody=text,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            )

    def dead_letter(self, url: str, key: str) -> DeadLetter | None:
        """Look for the dead letter of a key, and leave all where they are; None when it was not seen."""
        with translated(f"looking into {url}"):
            for _ in range(_PEEKS):
                answer: Any = self._client.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=0,
                    MessageAttributeNames=["Key", "Reason"],
                )
                rows = [row.get("MessageAttributes", {}) for row in answer.get("Messages", ())]
                for row in rows:
                    if row.get("Key", {}).get("StringValue") == key:
                        return DeadLetter(key, row.get("Reason", {}).get("StringValue", ""))
                if len(rows) < 10:
                    break
        return None
