"""Use: what a deployment used over a window. A Run gives one, so does a month at one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from deployer.cost.fleet import billed_instance_s, lcu_hours
from deployer.runs import CapacityTimeline, Run
from deployer.stats import Floats

HOURS_PER_MONTH = 730
SQS_CHUNK_BYTES = 64 * 1024
"""SQS bills a request for every 64 KB of a message. Source: Amazon SQS pricing."""


@dataclass(frozen=True)
class Traffic:
    """What requests came to: counts, bytes of bodies, hours of load balancer capacity units.

    ``compute_s`` is what a pay-per-use target bills; None where it bills instances. ``chunks`` are the requests
    that SQS counts to carry one message each.
    """

    requests: int
    successes: int
    request_bytes: int
    response_bytes: int
    lcu_hours: float
    chunks: int
    compute_s: float | None = None


@dataclass(frozen=True)
class Use:
    """Units of capacity over ``duration_s`` seconds, and the traffic; None where nobody said it."""

    capacity: CapacityTimeline
    duration_s: float
    traffic: Traffic | None = None

    @property
    def hours(self) -> float:
        """Length of the window in hours."""
        return self.duration_s / 3600

    @property
    def months(self) -> float:
        """Length of the window in months of 730 hours."""
        return self.hours / HOURS_PER_MONTH

    @property
    def unit_hours(self) -> float:
        """Hours of all billed units: the integral, no unit rounded up."""
        return self.capacity.billed_instance_s(self.duration_s) / 3600

    @property
    def launch_hours(self) -> float:
        """Hours of all billed units where each launch is billed for a minute at least, as EC2 does."""
        return billed_instance_s(self.capacity, self.duration_s) / 3600

    @property
    def launches(self) -> float:
        """How many units started within the window."""
        return float(np.clip(np.diff(self.capacity.billed), 0, None).sum())

    def each(self, count: Callable[[Floats], Floats]) -> Use:
        """Return the same use with ``count`` of the billed units at every moment."""
        billed = count(np.asarray(self.capacity.billed, dtype=np.float64))
        return replace(self, capacity=CapacityTimeline(self.capacity.time_s, billed, billed.copy()))


def of_run(run: Run) -> Use:
    """Return what a run used."""
    chunks = np.maximum(1, np.ceil(run.request_bytes / SQS_CHUNK_BYTES)).sum()
    traffic = Traffic(
        requests=run.offered,
        successes=run.successes,
        request_bytes=int(run.request_bytes.sum()),
        response_bytes=int(run.response_bytes.sum()),
        lcu_hours=lcu_hours(run),
        chunks=int(chunks),
        compute_s=run.billed_compute_s,
    )
    return Use(run.capacity, run.duration_s, traffic)


def month(units: float) -> Use:
    """Return a month of 730 hours with always so many units; its traffic is not known."""
    return Use(CapacityTimeline.fixed(units), HOURS_PER_MONTH * 3600.0)
