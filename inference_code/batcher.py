"""The queue of decoded requests that obeys ``policy``. It holds no clock: times are arguments."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from inference_code import policy
from inference_code.grouping import best_group

T = TypeVar("T")
_urgency = attrgetter("urgency")


@dataclass(slots=True)
class Waiting(Generic[T]):
    """One decoded request: when it came (seconds), how long it is, whether it must run alone.

    ``urgency`` is 0 to 7 as in RFC 9218: a smaller number is served before a larger.
    """

    item: T
    arrived_s: float
    length: int = 0
    alone: bool = False
    urgency: int = 3


class Batcher(Generic[T]):
    """Requests in order of urgency, then arrival; ``take`` returns the next batch."""

    def __init__(
        self, max_batch: int, max_wait_s: float = 0.0, overhead: float | None = None
    ) -> None:
        """Group by length when ``overhead`` is given: what a run costs beside its tokens, in tokens."""
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._overhead = overhead
        self._queue: list[Waiting[T]] = []
        self._suspects = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, waiting: Waiting[T]) -> None:
        """Put a request behind all that are as urgent."""
        queue = self._queue
        if not queue or queue[-1].urgency <= waiting.urgency:
            queue.append(waiting)
        else:
            insort(queue, waiting, key=_urgency)
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
        if not self._suspects and self._overhead is None:
            self._queue = queue[size:]
            return queue[:size]
        return self._pick(size)

    def _pick(self, size: int) -> list[Waiting[T]]:
        """Take the oldest and those that go well with it: no one starves, little is padded."""
        queue = [waiting for waiting in self._queue if not waiting.alone]
        places = list(range(min(size, len(queue))))
        if self._overhead is not None:
            places = best_group([waiting.length for waiting in queue], size, self._overhead)
        batch = [queue[place] for place in places]
        taken = {id(waiting) for waiting in batch}
        self._queue = [waiting for waiting in self._queue if id(waiting) not in taken]
        return batch
