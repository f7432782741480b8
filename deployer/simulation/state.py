"""Everything that a play of the trace knows: numbers that stay, and arrays that change as time goes on.

NamedTuples of scalars and arrays, so that compiled code takes them as they are. A single number that
changes is an array of length one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.autoscaler import StepRule, TrackingRule
from deployer.simulation import events
from deployer.simulation.distributions import Distributions
from deployer.simulation.events import Events
from deployer.stats import Floats

OK, REFUSED, TOO_LATE, THROTTLED, GONE = 200, 503, 504, 429, 410

RANDOM, LEAST_OUTSTANDING = 0, 1
"""Rules.routing."""

FIXED, TRACKING, STEP, SCHEDULED, BACKLOG = 0, 1, 2, 3, 4
"""Rules.policy."""

INVOCATIONS, CPU, CONCURRENCY = 0, 1, 2
"""Rules.metric."""

OFF, STARTING, CANCELLED, SERVING, DRAINING = 0, 1, 2, 3, 4
"""Replicas.phase. A cancelled start keeps its slot until its start event has passed."""

BUSY, OUTSTANDING, ACTIVE = 0, 1, 2
"""Rows of Levels: busy workers, outstanding requests, instances in service."""

HEAD, TAIL, LENGTH = 0, 1, 2
"""Rows of Fleet.queue, where requests wait outside the instances."""


class Rules(NamedTuple):
    """How the fleet behaves. ``policy`` says which policy is in force; the numbers of the others are unused.

    ``shared_queue`` above 0: requests wait outside the instances, each of which takes so many at a time
    (an asynchronous endpoint), and are gone after ``wait_s`` there. A decision falls every ``period_s``,
    the first ``phase_s`` earlier than a period after the start; a schedule reads a clock that is ``clock_s``
    ahead of the trace.
    """

    routing: int
    shared_queue: int
    wait_s: float
    startup_s: float
    policy: int
    metric: int
    period_s: float
    phase_s: float
    clock_s: float
    initial: int
    end_s: float
    tracking: TrackingRule
    step: StepRule
    schedule_s: Floats
    schedule_instances: NDArray[np.int64]


class Serving(NamedTuple):
    """Numbers of one server."""

    workers: int
    max_batch: int
    max_wait_s: float
    queue_limit: int
    deadline_s: float
    distributions: Distributions


class Requests(NamedTuple):
    """Every request: when it comes, its random numbers, who follows it in a queue, its fate.

    ``taken_s`` is when an instance took it out of the shared queue.
    """

    arrival_s: Floats
    service_u: Floats
    routing_u: Floats
    following: NDArray[np.int64]
    taken_s: Floats
    done_s: Floats
    status: NDArray[np.int16]


class Replicas(NamedTuple):
    """Every place for a server.

    By slot: ``queued`` requests wait from ``head`` to ``tail``, ``busy`` workers are taken, ``outstanding``
    requests wait or are served, ``timer_s`` is when a part-full batch goes (-1: no timer). By worker
    (slot x workers + w): the ``first`` request of its batch, and how many it has ``taken``.
    """

    phase: NDArray[np.int64]
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    queued: NDArray[np.int64]
    busy: NDArray[np.int64]
    outstanding: NDArray[np.int64]
    timer_s: Floats
    first: NDArray[np.int64]
    taken: NDArray[np.int64]


class Fleet(NamedTuple):
    """The slots in service, the shared queue, and the timeline of capacity (time, billed, serving).

    ``wanted`` instances serve or start; ``billed`` ones serve, start or drain. ``invoked`` is the sum over
    requests of 1 / instances in service since the last period.
    """

    serving: NDArray[np.int64]
    active: NDArray[np.int64]
    wanted: NDArray[np.int64]
    billed: NDArray[np.int64]
    invoked: Floats
    queue: NDArray[np.int64]
    rows: NDArray[np.int64]
    timeline: Floats


class Levels(NamedTuple):
    """Totals of the fleet at ``now_s``, and their integrals over time since the last period."""

    now_s: Floats
    total: NDArray[np.int64]
    area: Floats


class State(NamedTuple):
    """All of it."""

    rules: Rules
    serving: Serving
    requests: Requests
    replicas: Replicas
    fleet: Fleet
    levels: Levels
    events: Events


def requests(arrival_s: Floats, seed: int, chosen: NDArray[np.int64] | None = None) -> Requests:
    """Draw each request's random numbers in advance: with one seed every fleet meets the same luck.

    Only the ``chosen`` ones come, each with the luck that it would have had among all.
    """
    service, routing = np.random.SeedSequence(seed).spawn(2)
    service_u, routing_u = (
        np.random.Generator(np.random.PCG64(source)).random(len(arrival_s))
        for source in (service, routing)
    )
    if chosen is not None:
        arrival_s, service_u, routing_u = (v[chosen] for v in (arrival_s, service_u, routing_u))
    count = len(arrival_s)
    return Requests(
        arrival_s=np.ascontiguousarray(arrival_s),
        service_u=service_u,
        routing_u=routing_u,
        following=np.zeros(count, np.int64),
        taken_s=np.zeros(count),
        done_s=np.full(count, np.nan),
        status=np.zeros(count, np.int16),
    )


def empty(rules: Rules, serving: Serving, coming: Requests, slots: int, rows: int) -> State:
    """Return a state at time 0 with room for ``slots`` instances and ``rows`` steps of the timeline."""
    replicas = Replicas(
        phase=np.zeros(slots, np.int64),
        head=np.zeros(slots, np.int64),
        tail=np.zeros(slots, np.int64),
        queued=np.zeros(slots, np.int64),
        busy=np.zeros(slots, np.int64),
        outstanding=np.zeros(slots, np.int64),
        timer_s=np.full(slots, -1.0),
        first=np.zeros(slots * serving.workers, np.int64),
        taken=np.zeros(slots * serving.workers, np.int64),
    )
    fleet = Fleet(
        serving=np.zeros(slots, np.int64),
        active=np.zeros(1, np.int64),
        wanted=np.zeros(1, np.int64),
        billed=np.zeros(1, np.int64),
        invoked=np.zeros(1),
        queue=np.zeros(3, np.int64),
        rows=np.zeros(1, np.int64),
        timeline=np.zeros((rows, 3)),
    )
    levels = Levels(np.zeros(1), np.zeros(3, np.int64), np.zeros(3))
    # of every worker one end, of every slot one start and one timer can lie ahead
    ahead = events.make(slots * (serving.workers + 2))
    return State(rules, serving, coming, replicas, fleet, levels, ahead)
