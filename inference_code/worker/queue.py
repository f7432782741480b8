"""SQS: receive, extend, release, delete, give up. Every call may raise what boto3 raises; all are blocking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from inference_code.errors import StartupError
from inference_code.worker.message import REASON, STATUS, Message

AwsErrors = (BotoCoreError, ClientError)
BATCH = 10
"""SQS takes and gives at most ten messages in one call."""
_MAX_ATTRIBUTES = 10


class Queue:
    """One queue and its dead-letter queue; ``visibility_s`` is what it was made with.

    ``tries`` is how often a request may fail: half of the deliveries after which SQS itself, without a word, moves
    a message to the dead-letter queue. The other half is for workers that die.
    """

    def __init__(self, client: Any, queue: str, wait_s: int) -> None:
        """Look the queue up by its name or URL. Raises StartupError when it cannot be used."""
        self._client, self._wait_s = client, wait_s
        try:
            self.url = (
                queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
            )
            wanted = ["VisibilityTimeout", "RedrivePolicy"]
            found = client.get_queue_attributes(QueueUrl=self.url, AttributeNames=wanted)
            attributes = found.get("Attributes", {})
            policy = json.loads(attributes.get("RedrivePolicy", "{}"))
            if "deadLetterTargetArn" not in policy:
                raise StartupError(
                    f"queue {queue!r} has no dead-letter queue: a message that always fails would come for ever"
                )
            dead = policy["deadLetterTargetArn"].rpartition(":")[2]
            self.dead_url = client.get_queue_url(QueueName=dead)["QueueUrl"]
        except AwsErrors as error:
            raise StartupError(f"queue {queue!r} cannot be used: {error}") from error
        self.visibility_s = int(attributes["VisibilityTimeout"])
        self.tries = (int(policy["maxReceiveCount"]) + 1) // 2

    def receive(self, count: int) -> list[Message]:
        """Return up to ``count`` messages, waiting for the first of them."""
        found = self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(count, BATCH),
            WaitTimeSeconds=self._wait_s,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
        )
        return [Message.of(raw) for raw in found.get("Messages", ())]

    def hide(self, messages: Sequence[Message], seconds: int) -> int:
        """Hide messages for so long from now on, 0: show them again; return how many SQS refused.

        It refuses a delivery that is over: the message was shown again already, and may be with another worker.
        """
        refused = 0
        for part in _parts(messages):
            rows = [
                {"Id": str(i), "ReceiptHandle": m.receipt, "VisibilityTimeout": seconds}
                for i, m in enumerate(part)
            ]
            answer = self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=rows)
            refused += len(answer.get("Failed", ()))
        return refused

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages; return how many SQS refused: those come again, and are known then."""
        refused = 0
        for part in _parts(messages):
            rows = [{"Id": str(i), "ReceiptHandle": m.receipt} for i, m in enumerate(part)]
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=rows)
            refused += len(answer.get("Failed", ()))
        return refused

    def give_up(self, message: Message, status: int, reason: str) -> None:
        """Send a message, with the reason, to the dead-letter queue; deleting it here is the caller's."""
        kept = list(message.attributes.items())[: _MAX_ATTRIBUTES - 2]
        values = {**dict(kept), STATUS: str(status), REASON: reason}
        self._client.send_message(
            QueueUrl=self.dead_url,
            MessageBody=message.text,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value or "-"}
                for name, value in values.items()
            },
        )


def _parts(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[i : i + BATCH] for i in range(0, len(messages), BATCH)]
