"""How long a change in AWS is waited for, and who is told meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Polling:
    """How waiting goes on: a look every ``poll_s``, at most ``limit_s``.

    An answer may be stale for ``settle_s``: one that shows nothing of a change just asked for is not believed
    before. ``sleep`` and ``clock`` are arguments, so that tests do not wait.
    """

    poll_s: float = 10.0
    limit_s: float = 4 * 3600.0
    settle_s: float = 90.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
