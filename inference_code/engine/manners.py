"""How a process behaves towards whoever else runs on its core."""

from __future__ import annotations

import contextlib
import os

#: So many times in a row make a crowd.
_CROWD = 16


class Manners:
    """Whether this process, when it wakes, waits until who runs on its core has finished.

    A worker does in a crowd: the front then hands over all that have come, and they make one batch: 5 to 10% more
    answers of a small model. The front does while slow batches run and others wait for them: it wakes once per
    batch in place of once per arrival, which saves it a quarter of its time (a CNN, bodies of 600 KB). A lone client
    would only pay for the time slices of whatever else runs on the core.
    """

    def __init__(self) -> None:
        self._run = 0

    def saw(self, company: bool) -> None:
        """Take note of whether the last batch had company; a crowd is when many in a row had."""
        before = self._run
        self._run = min(before + 1, _CROWD) if company else 0
        if before != self._run and _CROWD in (before, self._run):
            policy = os.SCHED_BATCH if self._run else os.SCHED_OTHER
            # Processes started meanwhile find their own. A sandbox may forbid it, and nothing depends on it.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(0))
