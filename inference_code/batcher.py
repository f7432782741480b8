"""The queue of decoded requests that obeys ``policy``. It holds no clock: times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from inference_code import policy

T = TypeVar("T")


@dataclass(slots=True)
class Waiting(Generic[T]):
    """One decoded request: when it came (seconds), how long it is, and whether it must run alone."""

    item: T
    arrived_s: float
    length: int = 0
    alone: bool = False


class Batcher(Generic[T]):
    """Requests in order of arrival; ``take`` returns the next batch."""

    def __init__(self, max_batch: int, max_wait_s: float = 0.0, by_length: bool = False) -> None:
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._by_length = by_length
        self._queue: list[Waiting[T]] = []
        self._suspects = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, waiting: Waiting[T]) -> None:
        """Put a request at the end."""
        self._queue.append(waiting)
        self._suspects += waiting.alone

    def wait_s(self, now: float) -> float:
        """Return how long ``take`` may keep the oldest request back, in seconds."""
        if not self._queue:
            return 0.0
        return max(0.0, self._queue[0].arrived_s + self._max_wait_s - now)

    def take(self, now: float) -> list[Waiting[T]]:
        """Return the requests to run now, oldest first; empty means wait for more."""
        queue = self._queue
        if not queue:
            return []
        if queue[0].alone:
            self._suspects -= 1
            return [queue.pop(0)]
        size = policy.batch_size(
            len(queue), now - queue[0].arrived_s, self._max_batch, self._max_wait_s
        )
        if size == 0:
            return []
        if not self._suspects and (size == len(queue) or not self._by_length):
            self._queue = queue[size:]
            return queue[:size]
        chosen = self._nearest(size) if self._by_length and size < len(queue) else range(size)
        batch = [queue[index] for index in chosen if not queue[index].alone]
        taken = {id(waiting) for waiting in batch}
        self._queue = [waiting for waiting in queue if id(waiting) not in taken]
        return batch

    def _nearest(self, size: int) -> list[int]:
        """Return the oldest and those nearest to it in length: no one starves, little is padded."""
        length = self._queue[0].length
        others = range(1, len(self._queue))
        nearest = sorted(others, key=lambda index: abs(self._queue[index].length - length))
        return [0, *sorted(nearest[: size - 1])]
