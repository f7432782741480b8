"""The two framings that AWS's clients speak: event streams out, chunks with checksums in."""

from __future__ import annotations

import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_PART_BYTES = 64 * 1024
_STRING = 7


def payload(body: bytes) -> bytes:
    """Return a body as the events of ``InvokeEndpointWithResponseStream``."""
    parts = [body[start : start + _PART_BYTES] for start in range(0, len(body), _PART_BYTES)]
    return b"".join(event("PayloadPart", part) for part in parts or [b""])


def event(kind: str, content: bytes) -> bytes:
    """Return one message of ``vnd.amazon.eventstream``: lengths, CRC, headers, payload, CRC.

    >>> len(event("PayloadPart", b""))
    95
    """
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":message-type", "event"),
            (":event-type", kind),
            (":content-type", "application/octet-stream"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(content), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + content
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    text = value.encode()
    return (
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(text)) + text
    )


def unchunked(body: bytes) -> bytes:
    """Return the content of an ``aws-chunked`` body. Raises ValueError when it is none."""
    content, rest = b"", body
    while True:
        head, separator, rest = rest.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16) if separator else 0
        if not size:
            return content
        if len(rest) < size:
            raise ValueError("a chunk is cut off")
        content, rest = content + rest[:size], rest[size + 2 :]
