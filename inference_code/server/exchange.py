"""One request and its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from inference_code.engine.arena import Slot
from inference_code.server.head import Head

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: ".encode()
    for status in HTTPStatus
}
_STATUS_LINES_NO_TYPE = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\ncache-control: ".encode()
    for status in HTTPStatus
}


class Flushing(Protocol):
    """The connection that an exchange came on."""

    def flush(self) -> None:
        """Send the answers that are due."""

    @property
    def peer(self) -> bytes:
        """The address at the other end, without its port."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "allow",
        "body",
        "cancel",
        "close",
        "connection",
        "head",
        "output",
        "request_id",
        "started_s",
    )

    def __init__(self, connection: Flushing, head: Head) -> None:
        self.connection = connection
        self.head = head
        self.body: bytes | Slot = b""
        self.close = False
        self.allow = b""
        self.started_s = time.monotonic()
        self.request_id = b""
        self.cancel: Callable[[], None] | None = None
        self.output: bytes | None = None

    def answer(self, status: int, content_type: bytes, body: bytes, extra: bytes = b"") -> None:
        """Send the answer, or keep it until those before it on this connection are sent.

        ``extra`` are further header lines, each ending in CR LF.
        """
        self.output = b"%b%b\r\nx-request-id: %b\r\ncontent-length: %d\r\n%b%b%b" % (
            _STATUS_LINES[status] if content_type else _STATUS_LINES_NO_TYPE[status],
            content_type or b"no-store",
            self.request_id,
            len(body),
            extra,
            b"connection: close\r\n\r\n" if self.close else b"\r\n",
            b"" if self.head.method == b"HEAD" else body,
        )
        self.cancel = None
        self.connection.flush()
