"""A fleet that works from a queue, as an Invoker: a message in, its answer from S3."""

from __future__ import annotations

import base64
import re
import time
import uuid
from dataclasses import dataclass

from deployer.aws.queues import Queues
from deployer.aws.session import Aws
from deployer.aws.storage import Storage
from deployer.clients.base import Answer, Body
from deployer.errors import EnvironmentProblem
from deployer.progress import Say, silent

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.2, 5.0
_NO_TEXT = re.compile("[^\t\n\r\\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS takes in no message (SendMessage in its API reference)."""


@dataclass(frozen=True)
class Work:
    """Where messages go and where their answers come: queue URLs, and ``s3://BUCKET/PREFIX``."""

    queue_url: str
    dead_url: str
    results_s3_uri: str


class QueueInvoker:
    """Sends one body as a message under a key of its own, and waits for the object that answers it."""

    def __init__(
        self,
        aws: Aws,
        work: Work,
        *,
        timeout_s: float = 600.0,
        say: Say = silent,
    ) -> None:
        self._queues, self._work = Queues(aws), work
        bucket, _, prefix = work.results_s3_uri.removeprefix("s3://").partition("/")
        self._results, self._prefix = Storage(aws, bucket), prefix.rstrip("/")
        self._timeout_s, self._say = timeout_s, say

    def invoke(self, body: Body, *, accept: str | None = None) -> Answer:
        """Send one body and wait for its answer; what was given up is an Answer with the status it was given.

        Raises EnvironmentProblem when neither comes in time: the message stays, and may yet be answered.
        """
        key = uuid.uuid4().hex
        text, attributes = _message(body)
        attributes |= {"Key": key, **({"Accept": accept} if accept else {})}
        self._queues.send(self._work.queue_url, text, attributes)
        self._say(f"sent as message {key}")
        where = f"{self._prefix}/{key}".lstrip("/")
        pause_s, end = _FIRST_LOOK_S, time.monotonic() + self._timeout_s
        while time.monotonic() < end:
            if (found := self._results.fetch(where)) is not None:
                return Answer(200, found[0], {"content-type": found[1]})
            if (dead := self._queues.dead_letter(self._work.dead_url, key)) is not None:
                return _given_up(dead.reason)
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s = min(_LONGEST_LOOK_S, pause_s * 1.5)
        raise EnvironmentProblem(
            f"message {key} was not answered within {self._timeout_s:g} s",
            hint=f"its answer will be s3://{self._results.bucket}/{where}; --timeout waits longer",
        )


def _message(body: Body) -> tuple[str, dict[str, str]]:
    """Return a message's text and attributes: what SQS does not take as text goes as base64, and says so."""
    attributes = {"ContentType": body.content_type}
    try:
        text = body.content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not _NO_TEXT.search(text):
        return text, attributes
    return base64.b64encode(body.content).decode(), attributes | {"Encoding": "base64"}


def _given_up(reason: str) -> Answer:
    status = reason.partition(":")[0]
    words = reason or "SQS gave it up: it was taken too often and never answered"
    code = int(status) if re.fullmatch("[45][0-9][0-9]", status) else 500
    return Answer(code, words.encode(), {"content-type": "text/plain"})
