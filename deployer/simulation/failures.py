"""Which requests fail, and for what reason: by size before the play, by time and by the answer's size after it.

A reason names its limit and whose limit it is; the limits of a target are those of ``spec.limits``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.autoscaler import ROUNDING
from deployer.profiles import Profile
from deployer.runs import NO_ANSWER, CapacityTimeline
from deployer.simulation.state import GONE, OK, REFUSED, THROTTLED, TOO_LATE, Requests
from deployer.spec import limits
from deployer.spec.limits import RunLimits
from deployer.spec.target import Target
from deployer.stats import Floats
from deployer.traffic.trace import TrafficTrace

SERVER_ANSWER_S = 60.0
"""The bundle's server answers no request after so long, and refuses one that it would not answer by then.
Source: serving.request_timeout_s, whose default this is; a profile does not carry it."""

TOO_LARGE = 413
ANSWER_TOO_LARGE = 424
"""SageMaker's ModelError; local mode answers the same."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Patience(NamedTuple):
    """How long an answer may take, in seconds, and whose limit it is."""

    answer_s: float
    source: str


def patience(bounds: RunLimits, waits_outside: bool) -> Patience:
    """Return how long an answer may take on a target: from its arrival, or once out of the queue.

    Where the server itself keeps the requests that wait, its own time-out holds too. A queue that belongs
    to no target (``queue-backlog`` elsewhere) has no limit.
    """
    if waits_outside:
        return Patience(
            bounds.answer_s if math.isfinite(bounds.wait_s) else math.inf, bounds.source
        )
    if bounds.answer_s <= SERVER_ANSWER_S:
        return Patience(bounds.answer_s, bounds.source)
    return Patience(SERVER_ANSWER_S, "serving.request_timeout_s")


class Fates:
    """What becomes of every offered request of a trace on a target, and why.

    ``request_bytes`` and ``response_bytes`` are the trace's own, else the profile's. ``chosen`` are the
    positions of the requests that are played, None for all. ``by`` has (status, requests) for each reason.
    """

    def __init__(self, trace: TrafficTrace, profile: Profile, target: Target) -> None:
        count = len(trace)
        self.arrival_s = trace.arrival_s
        self.bounds = limits.of(target)
        self.request_bytes = _sizes(trace.payload_bytes, profile.request_bytes, count)
        self.response_bytes = _sizes(trace.response_bytes, profile.response_bytes, count)
        self.by: dict[str, tuple[int, int]] = {}
        self.status = np.zeros(count, np.int16)
        self.done_s = self.arrival_s
        self._refuse_by_size(self.bounds.request_bytes, self.bounds.source)
        if profile.max_body_bytes is not None:
            self._refuse_by_size(profile.max_body_bytes, "serving.max_body_bytes")
        self.chosen = np.flatnonzero(self.status == 0) if self.by else None

    def instances(
        self, played: Requests, capacity: CapacityTimeline, queue_limit: int, waits_outside: bool
    ) -> None:
        """Take over what became of the requests that a fleet of instances met, and name the reasons."""
        self._take_over(played)
        begun_s = self._everywhere(played.taken_s) if waits_outside else self.arrival_s
        most = patience(self.bounds, waits_outside)
        self._fail_late(begun_s, most, math.inf if waits_outside else SERVER_ANSWER_S)
        if not (self.status == OK).all():
            gone = f"waited longer than {self.bounds.wait_s:,.0f} s ({self.bounds.source})"
            self._fail(self.status == GONE, GONE, gone)
            self._name_refusals(capacity, queue_limit)
        self._refuse_answers()

    def containers(self, played: Requests, max_concurrency: int) -> None:
        """Take over what became of the requests that serverless containers met, and name the reasons."""
        self._take_over(played)
        most = Patience(self.bounds.answer_s, self.bounds.source)
        self._fail_late(self.arrival_s, most, self.bounds.answer_s)
        throttled = f"more than {max_concurrency:,} at a time (target.max_concurrency)"
        self._fail(self.status == THROTTLED, THROTTLED, throttled)
        self._refuse_answers()

    @property
    def billed_request_bytes(self) -> Ints:
        """The sizes of the requests, 0 where one was refused for it: that moves no byte that is billed."""
        refused = self.status == TOO_LARGE
        return np.where(refused, 0, self.request_bytes) if refused.any() else self.request_bytes

    @property
    def billed_response_bytes(self) -> Ints:
        """The sizes of the answers, 0 where a request failed."""
        answered = self.status == OK
        return self.response_bytes if answered.all() else np.where(answered, self.response_bytes, 0)

    def _fail(self, which: Mask, status: int, reason: str) -> None:
        count = int(np.count_nonzero(which))
        if count:
            self.status[which] = status
            self.by[reason] = (status, count)

    def _refuse_by_size(self, most: float, source: str) -> None:
        if self.request_bytes.max() > most:
            large = (self.request_bytes > most) & (self.status == 0)
            self._fail(large, TOO_LARGE, f"request larger than {most:,.0f} bytes ({source})")

    def _take_over(self, played: Requests) -> None:
        if self.chosen is None:
            self.done_s, self.status = played.done_s, played.status
            return
        self.done_s = self.arrival_s.copy()  # what is refused for its size is told so at once
        self.done_s[self.chosen] = played.done_s
        self.status[self.chosen] = played.status

    def _everywhere(self, values: Floats) -> Floats:
        if self.chosen is None:
            return values
        wide = np.zeros(len(self.arrival_s))
        wide[self.chosen] = values
        return wide

    def _fail_late(self, begun_s: Floats, most: Patience, played_s: float) -> None:
        """Fail what took longer than ``most``, told so at that time whenever its batch ended.

        The play has judged by ``played_s`` already, so only a shorter limit needs another look.
        """
        late = self.status == TOO_LATE
        if most.answer_s < played_s:
            took_s = self.done_s - begun_s
            late |= (self.status == OK) & (took_s > most.answer_s * (1 + ROUNDING))
        if late.any():
            self._fail(late, TOO_LATE, f"no answer within {most.answer_s:g} s ({most.source})")
            self.done_s[late] = begun_s[late] + most.answer_s

    def _name_refusals(self, capacity: CapacityTimeline, queue_limit: int) -> None:
        refused = self.status == REFUSED
        if refused.any():
            step = np.searchsorted(capacity.time_s, self.arrival_s, side="right") - 1
            alone = refused & (capacity.serving[step] == 0)
            full = f"queue of {queue_limit:,} full or its wait foreseen past {SERVER_ANSWER_S:g} s"
            self._fail(alone, REFUSED, "no instance in service")
            self._fail(refused & ~alone, REFUSED, full)
        never = self.status == NO_ANSWER
        self._fail(never, NO_ANSWER, "no instance took it before the trace ended")

    def _refuse_answers(self) -> None:
        """Fail what was answered with more bytes than the target carries."""
        most, size = self.bounds.response_bytes, self.response_bytes
        if size.max() > most:
            reason = f"answer larger than {most:,.0f} bytes ({self.bounds.source})"
            self._fail((self.status == OK) & (size > most), ANSWER_TOO_LARGE, reason)


def _sizes(of_trace: Ints | None, of_profile: int, count: int) -> Ints:
    return np.full(count, of_profile, np.int64) if of_trace is None else of_trace
