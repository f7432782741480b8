"""Shared memory for large bodies: received once from the network, read where they lie by a worker.

A slot takes address space for the largest body, but memory only for what was ever written to it, and
the lowest free slot is used first. When all slots are taken a body travels through the socket instead.
"""

from __future__ import annotations

import contextlib
import heapq
import mmap
import os

#: Smaller bodies are cheaper to copy than to share.
LARGE_BYTES = 32 * 1024
SLOTS = 64


class Slot:
    """One body in shared memory. ``release`` it when no worker reads it any more."""

    __slots__ = ("_arena", "index", "view")

    def __init__(self, arena: Arena, index: int, view: memoryview) -> None:
        self._arena = arena
        self.index = index
        self.view = view

    def __len__(self) -> int:
        return len(self.view)

    def release(self) -> None:
        """Give the memory back; a second call does nothing."""
        if len(self.view):
            self._arena.give_back(self)
            self.view = self.view[:0]


class Arena:
    """The front's side: hands out slots."""

    def __init__(self, slot_bytes: int) -> None:
        """Reserve address space for SLOTS bodies of ``slot_bytes``."""
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.fd = os.memfd_create("bodies")
        try:
            os.ftruncate(self.fd, self.slot_bytes * SLOTS)
            self._map = mmap.mmap(self.fd, self.slot_bytes * SLOTS)
        except OSError:
            os.close(self.fd)
            raise
        self._memory = memoryview(self._map)
        self._free = list(range(SLOTS))

    def acquire(self, length: int) -> Slot | None:
        """Return a slot of ``length`` bytes; None when all are taken, the body is too long, or after ``close``."""
        if self.fd < 0 or not self._free or not 0 < length <= self.slot_bytes:
            return None
        index = heapq.heappop(self._free)
        start = index * self.slot_bytes
        return Slot(self, index, self._memory[start : start + length])

    def close(self) -> None:
        """Give the memory back, now or when the last slot goes."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._memory.release()
            with contextlib.suppress(BufferError):  # a slot still has its view
                self._map.close()

    def give_back(self, slot: Slot) -> None:
        """Take a slot back; called by ``Slot.release``."""
        heapq.heappush(self._free, slot.index)

    @property
    def in_use(self) -> int:
        """How many slots hold a body."""
        return SLOTS - len(self._free)


class ArenaView:
    """A worker's side: the same memory, to read."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self._slot_bytes = size // SLOTS
        self._memory = memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))

    def body(self, index: int, length: int) -> memoryview:
        """Return the body in a slot."""
        start = index * self._slot_bytes
        return self._memory[start : start + length]
