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
#: No single batch counts for more than so many times what was expected of it.
_OUTLIER = 4.0


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


class ServiceTimes:
    """What batches take by size, in seconds: a line from one request to a full batch, moved by every batch."""

    def __init__(self, alone_s: float, full_s: float, max_batch: int) -> None:
        """Begin with what the warm-up measured."""
        self.alone_s, self.full_s, self.max_batch = alone_s, full_s, max_batch

    def of(self, size: int) -> float:
        """Return what a batch of ``size`` takes."""
        return self.alone_s + self._part(size) * (self.full_s - self.alone_s)

    def learn(self, size: int, took_s: float) -> None:
        """Learn from a batch of ``size`` that took ``took_s`` seconds."""
        part = self._part(size)
        known_s = self.alone_s + part * (self.full_s - self.alone_s)
        # One stall must not make all that comes after it seem too slow.
        if known_s and took_s > _OUTLIER * known_s:
            took_s = _OUTLIER * known_s
        error_s = 0.1 * (took_s - known_s)
        self.alone_s = max(0.0, self.alone_s + (1.0 - part) * error_s)
        self.full_s = max(self.alone_s, self.full_s + part * error_s)

    def doubt(self) -> None:
        """Halve them: they kept a whole batch from running, so nothing else would show them wrong."""
        self.alone_s, self.full_s = 0.5 * self.alone_s, 0.5 * self.full_s

    def _part(self, size: int) -> float:
        return (size - 1) / max(1, self.max_batch - 1)


class Objective:
    """A time to answer in, and what it allows: how large batches may be, how long a request may wait."""

    def __init__(self, objective_s: float, times: ServiceTimes) -> None:
        self.objective_s = objective_s
        self._times = times
        self._gap_s = 0.0
        self._last_s: float | None = None

    def arrived(self, now: float) -> None:
        """Learn the time between arrivals."""
        if self._last_s is not None:
            self._gap_s += 0.1 * (now - self._last_s - self._gap_s)
        self._last_s = now

    def cap(self) -> int:
        """Return the largest batch that can be answered in time."""
        times = self._times
        return policy.batch_cap(self.objective_s, times.alone_s, times.full_s, times.max_batch)

    def wait_s(self, max_wait_s: float) -> float:
        """Return how long the oldest request may be kept back for others."""
        return policy.useful_wait_s(max_wait_s, self.objective_s, self._gap_s)


class Batcher(Generic[T]):
    """Requests in order of urgency, then arrival; ``take`` returns the next batch."""

    def __init__(
        self,
        max_batch: int,
        max_wait_s: float = 0.0,
        overhead: float | None = None,
        objective: Objective | None = None,
    ) -> None:
        """Group by length when ``overhead`` is given, in tokens, as ``grouping.overhead_tokens`` tells it."""
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._overhead = overhead
        self._objective = objective
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
        if self._objective is not None:
            self._objective.arrived(waiting.arrived_s)

    def wait_s(self, now: float) -> float:
        """Return how long ``take`` may keep the oldest request back, in seconds."""
        if not self._queue:
            return 0.0
        return max(0.0, self._queue[0].arrived_s + self._longest_wait_s() - now)

    def take(self, now: float) -> list[Waiting[T]]:
        """Return the requests to run now, oldest first; empty means wait for more."""
        queue = self._queue
        if not queue:
            return []
        if queue[0].alone:
            self._suspects -= 1
            return [queue.pop(0)]
        most = self._max_batch if self._objective is None else self._objective.cap()
        size = policy.batch_size(len(queue), now - queue[0].arrived_s, most, self._longest_wait_s())
        if size == 0:
            return []
        if not self._suspects and self._overhead is None:
            self._queue = queue[size:]
            return queue[:size]
        return self._pick(size)

    def _longest_wait_s(self) -> float:
        if self._objective is None:
            return self._max_wait_s
        return self._objective.wait_s(self._max_wait_s)

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
