"""Give the compiled kernels their arrays, and take out what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployer.runs import CapacityTimeline
from deployer.simulation import kernel, serverless, state
from deployer.simulation.serverless import Containers
from deployer.simulation.state import BUSY, Requests, Rules, Serving
from deployer.stats import Floats


@dataclass(frozen=True)
class FleetPlay:
    """Fates of all requests, the fleet's capacity until the end of the trace, busy seconds of all workers.

    ``busy_s`` counts since the last scaling decision, so of a fixed fleet it is the whole.
    """

    requests: Requests
    capacity: CapacityTimeline
    busy_s: float


@dataclass(frozen=True)
class ServerlessPlay:
    """Fates of all requests, billed seconds of each, and how many began with a cold start."""

    requests: Requests
    billed_s: Floats
    cold_starts: int


def play_fleet(
    rules: Rules,
    serving: Serving,
    arrival_s: Floats,
    most_instances: int,
    seed: int,
    chosen: NDArray[np.int64] | None = None,
) -> FleetPlay:
    """Play arrivals, or the ``chosen`` ones, against a fleet of at most ``most_instances`` wanted instances.

    Instances that drain come on top, and how many do at once is not known before: when the arrays turn
    out too small, the same play is repeated from its start with twice the room.
    """
    slots = max(1, 2 * most_instances)
    rows = 64 + 4 * int(rules.end_s / rules.period_s)
    while True:
        made = state.empty(rules, serving, state.requests(arrival_s, seed, chosen), slots, rows)
        if kernel.play_cached(made):
            timeline = _capacity(made.fleet.timeline[: made.fleet.rows[0]], rules.end_s)
            return FleetPlay(made.requests, timeline, float(made.levels.area[BUSY]))
        slots, rows = 2 * slots, 2 * rows


def play_serverless(
    containers: Containers, arrival_s: Floats, seed: int, chosen: NDArray[np.int64] | None = None
) -> ServerlessPlay:
    """Play arrivals, or the ``chosen`` ones, against serverless containers."""
    requests = state.requests(arrival_s, seed, chosen)
    billed_s = np.zeros(len(requests.arrival_s))
    serverless.play_cached(containers, requests, billed_s)
    return ServerlessPlay(requests, billed_s, int(containers.cold_starts[0]))


def _capacity(timeline: Floats, end_s: float) -> CapacityTimeline:
    kept = timeline[timeline[:, 0] <= end_s]
    return CapacityTimeline(kept[:, 0].copy(), kept[:, 1].copy(), kept[:, 2].copy())
