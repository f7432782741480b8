"""A load balancer's health checker, and what its answers were worth.

What a server says of itself is true or not by what became of the requests beside it: a lie is /ping 200
while nothing is answered, a false alarm is 503 while everything is.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from client import connect

_EVERY_S = 0.04
_TIMEOUT_S = 2.5


class Ping(NamedTuple):
    """One health check: when it was answered (monotonic seconds), its status (0: no answer), its time."""

    at_s: float
    status: int
    took_s: float


class Watch:
    """Asks /ping on a new connection each time, until cancelled."""

    def __init__(self, port: int) -> None:
        """Ask the server of ``port``."""
        self._port = port
        self.pings: list[Ping] = []

    async def run(self) -> None:
        """Ask for ever."""
        waiting: set[asyncio.Task[None]] = set()
        while True:
            task = asyncio.create_task(self._ask())
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            await asyncio.sleep(_EVERY_S)

    async def _ask(self) -> None:
        start = time.monotonic()
        status = 0
        try:
            connection = await connect(self._port, _TIMEOUT_S)
            left_s = start + _TIMEOUT_S - time.monotonic()
            status, _ = await connection.ask(b"GET /ping HTTP/1.1\r\nhost: lb\r\n\r\n", left_s)
            connection.abort()
        except (OSError, TimeoutError):
            pass
        now = time.monotonic()
        self.pings.append(Ping(now, max(0, status), now - start))


def lie_s(pings: Sequence[Ping], good_s: Sequence[float]) -> float:
    """Return the longest time for which /ping went on saying 200 and no good answer came.

    ``good_s`` are the times of good answers, sorted. Requests must be under way all the time.
    """
    worst = 0.0
    for fine, group in groupby(sorted(pings), key=lambda ping: ping.status == 200):
        run = [ping.at_s for ping in group]
        if fine:
            signs = [run[0], *(at for at in good_s if run[0] < at < run[-1]), run[-1]]
            worst = max([worst, *(later - sign for sign, later in pairwise(signs))])
    return worst


def false_alarm_s(pings: Sequence[Ping], good_s: Sequence[float]) -> float:
    """Return the longest time for which /ping went on saying 503 while good answers came."""
    worst = 0.0
    for bad, group in groupby(sorted(pings), key=lambda ping: ping.status == 503):
        run = [ping.at_s for ping in group]
        if bad:
            first, last = bisect_left(good_s, run[0]), bisect_right(good_s, run[-1]) - 1
            if last > first:
                worst = max(worst, good_s[last] - good_s[first])
    return worst
