"""A queue of future events: a binary heap over arrays, for compiled code.

An event is a time and a whole number that says what happens. Equal times leave in the order of the
numbers, so a simulation does not depend on the order of insertion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.simulation.compiled import inner


class Events(NamedTuple):
    """Heap of ``size[0]`` events."""

    time_s: NDArray[np.float64]
    code: NDArray[np.int64]
    size: NDArray[np.int64]


def make(room: int) -> Events:
    """Return an empty queue with room for ``room`` events."""
    return Events(np.zeros(room), np.zeros(room, np.int64), np.zeros(1, np.int64))


@inner
def _before(events: Events, a: int, b: int) -> bool:
    if events.time_s[a] != events.time_s[b]:
        return bool(events.time_s[a] < events.time_s[b])
    return bool(events.code[a] < events.code[b])


@inner
def _swap(events: Events, a: int, b: int) -> None:
    time_s, code = events.time_s[a], events.code[a]
    events.time_s[a], events.code[a] = events.time_s[b], events.code[b]
    events.time_s[b], events.code[b] = time_s, code


@inner
def push(events: Events, time_s: float, code: int) -> None:
    """Add an event; the caller made room for it."""
    at = events.size[0]
    events.time_s[at], events.code[at] = time_s, code
    events.size[0] = at + 1
    while at > 0 and _before(events, at, (at - 1) // 2):
        _swap(events, at, (at - 1) // 2)
        at = (at - 1) // 2


@inner
def pop(events: Events) -> tuple[float, int]:
    """Remove and return the first event, as (time, code)."""
    time_s, code = events.time_s[0], events.code[0]
    last = events.size[0] - 1
    _swap(events, 0, last)
    events.size[0] = last
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            return time_s, code
        if child + 1 < last and _before(events, child + 1, child):
            child += 1
        if not _before(events, child, at):
            return time_s, code
        _swap(events, at, child)
        at = child


@inner
def next_time_s(events: Events) -> float:
    """Return the time of the first event, infinity when there is none."""
    return events.time_s[0] if events.size[0] > 0 else np.inf
