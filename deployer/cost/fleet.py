"""What an EC2 fleet behind a load balancer uses: launches billed a minute at least, capacity units."""

from __future__ import annotations

import math

import numpy as np

from deployer.runs import CapacityTimeline, Run
from deployer.stats import Floats

MIN_LAUNCH_S = 60.0
"""EC2 bills an instance by the second, from one minute up."""

LCU_NEW_CONNECTIONS_PER_S = 25
LCU_ACTIVE_CONNECTIONS = 3000
LCU_GB_PER_H = 1
"""One capacity unit of an Application Load Balancer; a fourth dimension, 1,000 rule evaluations a second,
is nothing here: a listener with one default rule evaluates none, and the first ten are free."""


def billed_instance_s(capacity: CapacityTimeline, end_s: float) -> float:
    """Return the instance-seconds that EC2 bills up to ``end_s``.

    The integral of billed instances, plus what each instance ended within a minute of its launch lacks
    to 60 s. The newest instance ends first, the dearest reading; those of the first step were launched
    before the trace, and those alive at its end run on.
    """
    total = capacity.billed_instance_s(end_s)
    launched: list[float] = []
    before = int(capacity.billed[0]) if len(capacity.billed) else 0
    for time_s, billed in zip(capacity.time_s[1:], capacity.billed[1:], strict=True):
        change = int(billed) - before
        before = int(billed)
        launched += [float(time_s)] * change
        for _ in range(min(-change, len(launched))):
            total += max(0.0, MIN_LAUNCH_S - (float(time_s) - launched.pop()))
    return total


def lcu_hours(run: Run) -> float:
    """Return the load balancer capacity units times hours of a run.

    The sum over the hours of the trace, the last one perhaps part, of ``length_h * max(n / 25, a / 3000, g)``:
    n new connections per second (each request opens one), a connections active on average (by Little's
    law the time in the system of the hour's requests / the hour), g GB per hour (requests and answers).
    """
    edges = np.append(np.arange(0.0, run.duration_s, 3600.0), run.duration_s)
    length_s = np.diff(edges)
    if not len(length_s):
        return 0.0
    hour = np.clip((run.intended_s // 3600.0).astype(np.int64), 0, len(length_s) - 1)

    def per_hour(weights: Floats) -> Floats:
        return np.bincount(hour, weights=weights, minlength=len(length_s)).astype(np.float64)

    in_system_s = np.nan_to_num(run.done_s - run.intended_s, nan=0.0)
    size_gb = (run.request_bytes + run.response_bytes) / 2**30
    units = np.maximum.reduce(
        [
            per_hour(np.ones(run.offered)) / length_s / LCU_NEW_CONNECTIONS_PER_S,
            per_hour(in_system_s) / length_s / LCU_ACTIVE_CONNECTIONS,
            per_hour(size_gb) / (length_s / 3600.0) / LCU_GB_PER_H,
        ]
    )
    return math.fsum(units * length_s / 3600.0)
