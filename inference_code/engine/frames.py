"""What the front and a worker process say to each other over a socket pair.

Frames are fixed binary heads and plain bytes: nothing is pickled, so a handler cannot be tricked into
running code by what a request contains, and a frame costs about a microsecond. Each starts with the
number of bytes that follow the first four.
"""

from __future__ import annotations

import os
import struct
from mmap import mmap
from typing import NamedTuple

#: length, id, kind, alone, urgency, header length, arrived, deadline (both on the monotonic clock)
_REQUEST = struct.Struct("<IQBBBHdd")
#: length, id, status, content type length
_ANSWER = struct.Struct("<IQHH")
_LENGTH = struct.Struct("<I")
#: batch size, sum of lengths, started, decode, predict and encode seconds
_REPORT = struct.Struct("<IQdddd")
_PLACE = struct.Struct("<IQ")

#: RFC 9218: 0 is the most urgent, 7 the least, 3 what is not said.
URGENCY = 3
#: The body of INVOKE_SHARED is not the request's but the place of it in the arena.
INVOKE, PROBE, INVOKE_SHARED = 0, 1, 2
#: Statuses of frames with id 0, which are no answers.
READY, FAILED, REPORT = 1, 2, 3


class Request(NamedTuple):
    """A frame from the front.

    ``headers`` is content type, NUL, accept, and for handlers that want them further names and values,
    each after a NUL.
    """

    id: int
    kind: int
    alone: bool
    arrived_s: float
    deadline_s: float
    headers: bytes
    body: bytes
    urgency: int = URGENCY


class Answer(NamedTuple):
    """A frame from a worker."""

    id: int
    status: int
    content_type: bytes
    body: bytes


class Report(NamedTuple):
    """What one batch took; times in seconds, ``started_s`` on the monotonic clock."""

    size: int
    length: int
    started_s: float
    decode_s: float
    predict_s: float
    encode_s: float


def pack_request(
    id: int,
    body: bytes | bytearray | memoryview,
    headers: bytes,
    arrived_s: float,
    deadline_s: float,
    alone: bool = False,
    kind: int = INVOKE,
    urgency: int = URGENCY,
) -> bytes:
    """Return one frame for a worker."""
    length = _REQUEST.size - 4 + len(headers) + len(body)
    head = _REQUEST.pack(length, id, kind, alone, urgency, len(headers), arrived_s, deadline_s)
    return b"".join((head, headers, body))


def pack_answer(id: int, status: int, content_type: bytes, body: bytes) -> bytes:
    """Return one frame for the front."""
    length = _ANSWER.size - 4 + len(content_type) + len(body)
    head = _ANSWER.pack(length, id, status, len(content_type))
    return b"".join((head, content_type, body))


def pack_report(report: Report) -> bytes:
    """Return the frame that goes before a batch's answers."""
    return pack_answer(0, REPORT, b"", _REPORT.pack(*report))


def read_report(body: bytes) -> Report:
    """Read what ``pack_report`` wrote."""
    return Report(*_REPORT.unpack(body))


def pack_place(index: int, length: int) -> bytes:
    """Return the body of INVOKE_SHARED."""
    return _PLACE.pack(index, length)


def read_place(body: bytes) -> tuple[int, int]:
    """Return slot and length from the body of INVOKE_SHARED."""
    index, length = _PLACE.unpack(body)
    return index, length


class Splitter:
    """Cuts a stream of bytes into frames; keeps the unfinished rest."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def requests(self, data: bytes) -> list[Request]:
        """Return the requests that are complete with ``data``."""
        buffer, found = self._joined(data), []
        unpack, head, make = _REQUEST.unpack_from, _REQUEST.size, Request._make
        for start, end in self._cut(buffer):
            _, id, kind, alone, urgency, size, arrived, deadline = unpack(buffer, start)
            body = start + head + size
            headers = buffer[body - size : body]
            found.append(
                make((id, kind, alone == 1, arrived, deadline, headers, buffer[body:end], urgency))
            )
        return found

    def answers(self, data: bytes) -> list[Answer]:
        """Return the answers that are complete with ``data``."""
        buffer, found = self._joined(data), []
        unpack, head, make = _ANSWER.unpack_from, _ANSWER.size, Answer._make
        for start, end in self._cut(buffer):
            _, id, status, size = unpack(buffer, start)
            body = start + head + size
            found.append(make((id, status, buffer[body - size : body], buffer[body:end])))
        return found

    def _joined(self, data: bytes) -> bytes:
        """Return ``data`` after what was kept; b"" while the first frame is not complete."""
        if not self._rest:
            return data
        self._rest += data
        if len(self._rest) < 4 or len(self._rest) < 4 + _LENGTH.unpack_from(self._rest)[0]:
            return b""
        buffer = bytes(self._rest)
        self._rest.clear()
        return buffer

    def _cut(self, buffer: bytes) -> list[tuple[int, int]]:
        frames, start, total = [], 0, len(buffer)
        unpack = _LENGTH.unpack_from
        while total - start >= 4:
            end = start + 4 + unpack(buffer, start)[0]
            if end > total:
                break
            frames.append((start, end))
            start = end
        if start < total:
            self._rest += buffer[start:]
        return frames


class StatusPage:
    """Shared memory in which a worker says what it is doing, at no system call.

    The front reads it to see whether a worker still moves, and after a crash to learn which requests
    it was computing.
    """

    _HEAD = struct.Struct("<dQ")
    _ID = struct.Struct("<Q")

    def __init__(self, fd: int, capacity: int) -> None:
        """Map the page; ``capacity`` is the most ids it must hold."""
        self._capacity = capacity
        self._page = mmap(fd, self._HEAD.size + capacity * self._ID.size)

    @staticmethod
    def create(capacity: int) -> int:
        """Return the file descriptor of a new page, all zero."""
        fd = os.memfd_create("status")
        os.ftruncate(fd, StatusPage._HEAD.size + capacity * StatusPage._ID.size)
        return fd

    def begin(self, ids: list[int], now: float) -> None:
        """Say that these requests are being computed since ``now``."""
        ids = ids[: self._capacity]
        struct.pack_into(f"<{len(ids)}Q", self._page, self._HEAD.size, *ids)
        self._HEAD.pack_into(self._page, 0, now, len(ids))

    def end(self, now: float) -> None:
        """Say that nothing is being computed."""
        self._HEAD.pack_into(self._page, 0, now, 0)

    @property
    def beat_s(self) -> float:
        """When the worker last began or ended something, on the monotonic clock; 0 before that."""
        beat, _ = self._HEAD.unpack_from(self._page, 0)
        return float(beat)

    @property
    def running(self) -> tuple[int, ...]:
        """The ids of the requests being computed."""
        _, count = self._HEAD.unpack_from(self._page, 0)
        return struct.unpack_from(f"<{count}Q", self._page, self._HEAD.size)

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()
