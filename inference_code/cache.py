"""Answers by payload digest: least recently used goes first, each lives for a time, one flight per key.

Off unless given a size. Only answers with status 200 are kept. It holds no clock: times are arguments.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

Done = Callable[[int, bytes, bytes], None]
#: What an entry costs beside its body: key, tuple, dictionary slot.
ENTRY_BYTES = 256


@dataclass(slots=True)
class _Entry:
    content_type: bytes
    body: bytes
    born_s: float


def digest(headers: bytes, body: bytes | memoryview) -> bytes:
    """Return the key of a request: its body, its content type and what it accepts."""
    key = hashlib.blake2b(len(headers).to_bytes(4, "little") + headers, digest_size=20)
    key.update(body)
    return key.digest()


class Cache:
    """Answers kept within ``max_bytes``, none older than ``ttl_s`` seconds."""

    def __init__(self, max_bytes: int, ttl_s: float) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._flights: dict[bytes, list[Done]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> tuple[bytes, bytes] | None:
        """Return content type and body of a fresh answer, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now - entry.born_s > self._ttl_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.content_type, entry.body

    def join(self, key: bytes, done: Done) -> bool:
        """Wait for the computation of ``key`` that is under way; return False when there is none."""
        waiting = self._flights.get(key)
        if waiting is None:
            return False
        waiting.append(done)
        return True

    def begin(self, key: bytes) -> None:
        """Say that ``key`` is being computed; ``land`` must follow."""
        self._flights[key] = []

    def land(
        self, key: bytes, status: int, content_type: bytes, body: bytes, now: float
    ) -> list[Done]:
        """Keep the answer if it is one; return those who waited for it."""
        if status == 200:
            self._put(key, _Entry(content_type, body, now))
        return self._flights.pop(key, [])

    def _put(self, key: bytes, entry: _Entry) -> None:
        if key in self._entries:
            self._drop(key)
        if len(entry.body) + ENTRY_BYTES > self._max_bytes:
            return
        self._entries[key] = entry
        self.bytes += len(entry.body) + ENTRY_BYTES
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.bytes -= len(self._entries.pop(key).body) + ENTRY_BYTES
