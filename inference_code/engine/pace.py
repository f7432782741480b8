"""How fast the workers are, as their reports tell, and which requests can therefore be answered in time."""

from __future__ import annotations

import math
from typing import NamedTuple

from inference_code import policy
from inference_code.contract import ServingConfig
from inference_code.engine import frames

#: No single batch counts for more than so many times the mean.
_OUTLIER = 4.0


class Refusal(NamedTuple):
    """Why a request is refused, and when to come again, in seconds."""

    reason: str
    retry_after_s: float


class Pace:
    """The workers' measured speed.

    ``room`` is how many requests all workers compute at once, ``batch_s`` the recent mean time of a full
    batch, ``slowest_s`` the longest inference of the warm-up, both in seconds; ``batch_effect`` and
    ``unbatched`` as in ServedModel.
    """

    def __init__(self, serving: ServingConfig) -> None:
        self._serving = serving
        self.max_batch = serving.max_batch
        self.room = serving.max_batch
        self.batch_s = 0.0
        self.slowest_s = 0.0
        self.batch_effect: float | None = None
        self.unbatched = ""

    def begin(
        self, max_batch: int, slowest_s: float, batch_effect: float | None, unbatched: str = ""
    ) -> None:
        """Take over what a worker measured while it warmed up."""
        self.max_batch = max_batch
        self.slowest_s = slowest_s
        self.batch_effect = batch_effect
        self.unbatched = unbatched

    def batching(self) -> dict[str, int | float | str | None]:
        """Return what ``/stats`` says of batches: how large, what they do to answers, why there are none."""
        effect = self.batch_effect
        return {
            "max_batch": self.max_batch,
            "batch_effect": "answers differ" if effect == math.inf else effect,
            "unbatched": self.unbatched or None,
        }

    def count(self, ready_workers: int) -> None:
        """Take note that so many workers are ready."""
        self.room = self.max_batch * max(1, ready_workers)

    def learn(self, report: frames.Report, waiting: int) -> None:
        """Learn from one batch; ``waiting`` requests were beyond the workers' room meanwhile."""
        # With more waiting than a batch takes, a part-full one was the worker's choice (lengths that fit together):
        # what counts for those who wait is the pace, so a full batch's worth of it.
        if report.size >= self.max_batch or waiting or not self.batch_s:
            total_s = report.decode_s + report.predict_s + report.encode_s
            full_s = total_s * self.max_batch / report.size if waiting else total_s
            if not self.batch_s:
                self.batch_s = full_s
            # One stall (a paused machine, a page fault) must not make all who come after it seem hopeless.
            self.batch_s += 0.2 * (min(full_s, _OUTLIER * self.batch_s) - self.batch_s)

    def refusal(self, unanswered: int, limit_s: float) -> Refusal | None:
        """Return why a request is not taken that must be answered in ``limit_s`` seconds; None to take it."""
        waiting = unanswered - self.room
        if waiting < 0:
            return None
        limit = self._serving.queue_limit
        workers = self.room // self.max_batch
        # The answer comes after the wait and this request's own batch.
        wait_s = self.batch_s + policy.predicted_wait_s(
            waiting, min(workers, unanswered), workers, self.max_batch, self.batch_s
        )
        if policy.admit(waiting, limit, wait_s, limit_s):
            return None
        reason = "queue full" if waiting >= limit else "too slow"
        return Refusal(reason, policy.retry_after_s(wait_s))
