"""One message: what it asks, and what becomes of it. Pure; no AWS."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from inference_code.contract import JSON_TYPE

KEY, CONTENT_TYPE, ACCEPT, ENCODING = "Key", "ContentType", "Accept", "Encoding"
REASON, STATUS = "Reason", "Status"
"""Names of message attributes: a producer sets the first four, a dead letter also carries these two."""

#: What S3 takes in a name without surprises, and nothing that leads out of a folder.
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_TYPE = re.compile(r"[!-~][ -~]{0,199}")

Fate = Literal["answer", "wait", "retry", "give up"]


class Poison(Exception):
    """A message that no retry will make right; the text says why."""


@dataclass(frozen=True)
class Message:
    """A message as SQS delivered it for the ``receives``-th time. ``receipt`` is valid for this delivery only."""

    id: str
    receipt: str
    text: str
    receives: int
    attributes: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(raw: Mapping[str, Any]) -> Message:
        """Read what boto3 returns."""
        attributes = {
            name: value["StringValue"]
            for name, value in raw.get("MessageAttributes", {}).items()
            if "StringValue" in value
        }
        receives = int(raw["Attributes"]["ApproximateReceiveCount"])
        return Message(raw["MessageId"], raw["ReceiptHandle"], raw["Body"], receives, attributes)

    @property
    def key(self) -> str:
        """What the answer is filed under: the attribute ``Key``, or SQS's own id. Raises Poison for an unfit one."""
        key = self.attributes.get(KEY, self.id)
        if not _KEY.fullmatch(key):
            raise Poison(
                f"the attribute Key is {key[:80]!r}; it may have 200 letters, digits, '.', '_' and '-'"
            )
        return key

    @property
    def body(self) -> bytes:
        """The request's body: the text, or what it encodes where ``Encoding`` is base64. Raises Poison."""
        encoding = self.attributes.get(ENCODING, "")
        if encoding not in ("", "base64"):
            raise Poison(f"the attribute Encoding is {encoding[:40]!r}; known: base64")
        if not encoding:
            return self.text.encode()
        try:
            return base64.b64decode(self.text, validate=True)
        except (binascii.Error, ValueError):
            raise Poison("the body is not base64, as the attribute Encoding says") from None

    @property
    def headers(self) -> bytes:
        """Content type and accepted type, as the engine takes them. Raises Poison."""
        values = (self.attributes.get(CONTENT_TYPE, JSON_TYPE), self.attributes.get(ACCEPT, ""))
        for name, value in zip((CONTENT_TYPE, ACCEPT), values, strict=True):
            if value and not _TYPE.fullmatch(value):
                raise Poison(f"the attribute {name} is {value[:40]!r}, no media type")
        return "\0".join(values).encode()

    @property
    def digest(self) -> str:
        """What tells this request from another one under the same key: sha256, in hex."""
        return hashlib.sha256(self.headers + b"\0" + self.body).hexdigest()


def fate(status: int, receives: int, tries: int) -> Fate:
    """Return what becomes of a message whose request was answered with ``status``.

    503: this worker is full, nothing is wrong with the message. Other 5xx may pass: another try, ``tries`` in
    all. What the handler refuses with 4xx it would refuse again.
    """
    if status == 200:
        return "answer"
    if status in (429, 503):
        return "wait"
    if status >= 500 and receives < tries:
        return "retry"
    return "give up"


def retry_delay_s(receives: int) -> int:
    """Return for how long a message stays hidden before its next try: 2, 4, 8 ... 60 s."""
    return int(min(60, 2 ** min(receives, 6)))


def reason(status: int, body: bytes) -> str:
    """Return in words why a request failed, from the answer's own."""
    try:
        words = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        words = body[:500].decode("utf-8", "replace") or "no words"
    return f"{status}: {words}"[:1000]
