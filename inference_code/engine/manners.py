"""How the processes of one server share a core: who waits, and for whom."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable

#: So many batches of more than one, in a row, make a crowd.
_CROWD = 16


class Manners:
    """Whether this process, when it wakes, waits until who runs on its core has finished.

    In a crowd the front then hands over all that have come, and they make one batch: 5 to 10% more answers of a
    small model. A lone client would only pay for the time slices of whatever else runs on the core.
    """

    def __init__(self) -> None:
        self._run = 0

    def saw(self, size: int) -> None:
        """Take note of a batch's size: a crowd is when many in a row had company."""
        before = self._run
        self._run = min(before + 1, _CROWD) if size > 1 else 0
        if before != self._run and _CROWD in (before, self._run):
            policy = os.SCHED_BATCH if self._run else os.SCHED_OTHER
            # A sandbox may forbid it, and nothing depends on it.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, policy, os.sched_param(0))


def wait_readable(descriptors: Iterable[int], most_s: float) -> None:
    """Sleep until there is something to read from one of them, ``most_s`` seconds at most."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(1000.0 * most_s)
