"""Many servers: routing, start-up, draining, and the decisions of ``deployer.scaling``.

One event loop over arrays, compiled: arrivals in order of the trace, ends of batches and starts of
instances from a heap, a scaling decision once per metric period. Nothing here knows wall-clock time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer import scaling
from deployer.scaling import Alarms, Observation, StepRule, TrackingRule
from deployer.simulation import events as heap
from deployer.simulation import replica
from deployer.simulation.compiled import entry, inner, sources_digest
from deployer.simulation.events import Events
from deployer.simulation.replica import (
    ACTIVE,
    BUSY,
    OUTSTANDING,
    REFUSED,
    Levels,
    Replicas,
    Requests,
    Serving,
)
from inference_code import policy as server_policy

OFF, STARTING, CANCELLED, SERVING, DRAINING = 0, 1, 2, 3, 4
"""Phases of a slot. A cancelled start stays until its start event has passed, then the slot is free."""

RANDOM, LEAST_OUTSTANDING = 0, 1
FIXED, TRACKING, STEP, SCHEDULED, BACKLOG = 0, 1, 2, 3, 4
INVOCATIONS, CPU, CONCURRENCY = 0, 1, 2
ROWS, INSTANCES, INVOKED = 0, 1, 0

track = inner(scaling.track)
step = inner(scaling.step)
wake = inner(scaling.wake)
scheduled = inner(scaling.scheduled)


class Rules(NamedTuple):
    """How the fleet behaves: one policy is in force, ``policy`` says which; the other rules are unused.

    ``shared_queue`` above 0: requests wait outside the instances, each of which takes so many at a time
    (an asynchronous endpoint).
    """

    routing: int
    shared_queue: int
    startup_s: float
    policy: int
    metric: int
    period_s: float
    initial: int
    end_s: float
    tracking: TrackingRule
    step: StepRule
    schedule_s: NDArray[np.float64]
    schedule_instances: NDArray[np.int64]


class Fleet(NamedTuple):
    """What changes as time goes on: slots in service, the shared queue, the timeline of capacity.

    ``wanted[0]`` instances serve or start; ``billed[0]`` serve, start or drain. ``invoked[0]`` is the sum
    over requests of 1 / instances in service since the last period.
    """

    serving: NDArray[np.int64]
    active: NDArray[np.int64]
    wanted: NDArray[np.int64]
    billed: NDArray[np.int64]
    invoked: NDArray[np.float64]
    queue: NDArray[np.int64]
    rows: NDArray[np.int64]
    timeline: NDArray[np.float64]


HEAD, TAIL, LENGTH = 0, 1, 2
"""Rows of Fleet.queue, the queue outside the instances."""


def make(slots: int, rows: int) -> Fleet:
    """Return an empty fleet with room for ``slots`` instances and ``rows`` steps of its timeline."""
    return Fleet(
        serving=np.zeros(slots, np.int64),
        active=np.zeros(1, np.int64),
        wanted=np.zeros(1, np.int64),
        billed=np.zeros(1, np.int64),
        invoked=np.zeros(1),
        queue=np.zeros(3, np.int64),
        rows=np.zeros(1, np.int64),
        timeline=np.zeros((rows, 3)),
    )


@inner
def _record(now_s: float, fleet: Fleet) -> bool:
    """Add a step to the timeline, or change the last one if it has the same time; False when it is full."""
    at = fleet.rows[0]
    if at > 0 and fleet.timeline[at - 1, 0] == now_s:
        at -= 1
    if at == len(fleet.timeline):
        return False
    fleet.timeline[at, 0] = now_s
    fleet.timeline[at, 1] = fleet.billed[0]
    fleet.timeline[at, 2] = fleet.active[0]
    fleet.rows[0] = at + 1
    return True


@inner
def _launch(
    now_s: float, startup_s: float, fleet: Fleet, replicas: Replicas, events: Events
) -> bool:
    """Start one instance; False when there is no free slot."""
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == OFF:
            replicas.phase[slot] = STARTING
            fleet.wanted[0] += 1
            fleet.billed[0] += 1
            heap.push(events, now_s + startup_s, len(replicas.taken) + slot)
            return True
    return False


@inner
def _started(slot: int, fleet: Fleet, replicas: Replicas, levels: Levels) -> None:
    if replicas.phase[slot] == CANCELLED:
        replicas.phase[slot] = OFF
        return
    replicas.phase[slot] = SERVING
    fleet.serving[fleet.active[0]] = slot
    fleet.active[0] += 1
    levels.total[ACTIVE] += 1


@inner
def _retire(fleet: Fleet, replicas: Replicas, levels: Levels) -> None:
    """Take one instance away: one that still starts, else the newest; it answers what it has first."""
    fleet.wanted[0] -= 1
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == STARTING:
            replicas.phase[slot] = CANCELLED
            fleet.billed[0] -= 1
            return
    fleet.active[0] -= 1
    levels.total[ACTIVE] -= 1
    slot = fleet.serving[fleet.active[0]]
    replicas.phase[slot] = DRAINING
    _stop_if_drained(slot, fleet, replicas)


@inner
def _stop_if_drained(slot: int, fleet: Fleet, replicas: Replicas) -> bool:
    if replicas.phase[slot] == DRAINING and replicas.outstanding[slot] == 0:
        replicas.phase[slot] = OFF
        fleet.billed[0] -= 1
        return True
    return False


@inner
def _route(uniform: float, routing: int, fleet: Fleet, replicas: Replicas) -> int:
    """Return the slot for a request. Least outstanding breaks ties at random, by a random first look."""
    active = fleet.active[0]
    start = int(uniform * active)
    best = fleet.serving[start]
    if routing == RANDOM:
        return int(best)
    for i in range(1, active):
        slot = fleet.serving[(start + i) % active]
        if replicas.outstanding[slot] < replicas.outstanding[best]:
            best = slot
    return int(best)


@inner
def _enqueue(request: int, fleet: Fleet, requests: Requests, levels: Levels) -> None:
    if fleet.queue[LENGTH] == 0:
        fleet.queue[HEAD] = request
    else:
        requests.following[fleet.queue[TAIL]] = request
    fleet.queue[TAIL] = request
    fleet.queue[LENGTH] += 1
    levels.total[OUTSTANDING] += 1


@inner
def _pull(
    now_s: float,
    rules: Rules,
    serving: Serving,
    fleet: Fleet,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> None:
    """Give requests of the shared queue to instances that have room."""
    while fleet.queue[LENGTH] > 0 and fleet.active[0] > 0:
        request = fleet.queue[HEAD]
        slot = _route(requests.routing_u[request], LEAST_OUTSTANDING, fleet, replicas)
        if replicas.outstanding[slot] >= rules.shared_queue:
            return
        fleet.queue[HEAD] = requests.following[request]
        fleet.queue[LENGTH] -= 1
        levels.total[OUTSTANDING] -= 1
        replica.offer(now_s, request, slot, serving, requests, replicas, events, levels)


@inner
def _arrive(
    now_s: float,
    request: int,
    rules: Rules,
    serving: Serving,
    fleet: Fleet,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> None:
    active = fleet.active[0]
    if active > 0:
        fleet.invoked[0] += 1.0 / active
    if rules.shared_queue > 0:
        _enqueue(request, fleet, requests, levels)
        _pull(now_s, rules, serving, fleet, requests, replicas, events, levels)
        return
    if active > 0:
        slot = _route(requests.routing_u[request], rules.routing, fleet, replicas)
        if replica.offer(now_s, request, slot, serving, requests, replicas, events, levels):
            return
    requests.status[request] = REFUSED
    requests.done_s[request] = now_s


@inner
def _metric(rules: Rules, workers: int, fleet: Fleet, levels: Levels) -> float:
    """Return the metric of the period that ends now, per instance; NaN without an instance."""
    instance_s = levels.area[ACTIVE]
    if fleet.active[0] == 0 or instance_s == 0.0:
        return math.nan
    if rules.policy == BACKLOG:
        return float(levels.total[OUTSTANDING] / fleet.active[0])
    if rules.metric == INVOCATIONS:
        return float(fleet.invoked[0])
    if rules.metric == CPU:
        return float(100.0 * levels.area[BUSY] / (instance_s * workers))
    return float(levels.area[OUTSTANDING] / instance_s)


@inner
def _decide(
    now_s: float, metric: float, backlog: int, rules: Rules, fleet: Fleet, state: Alarms
) -> tuple[int, Alarms]:
    wanted = fleet.wanted[0]
    seen = Observation(metric, fleet.active[0], wanted)
    if rules.policy == SCHEDULED:
        return scheduled(now_s, rules.schedule_s, rules.schedule_instances), state
    if rules.policy == STEP:
        return step(now_s, seen, rules.step, state)
    if rules.policy == BACKLOG and wanted == 0:
        return wake(backlog, state)
    return track(now_s, seen, rules.tracking, state)


@inner
def _resize(
    now_s: float,
    wanted: int,
    rules: Rules,
    fleet: Fleet,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> bool:
    """Start or retire instances until ``wanted`` serve or start; False when the arrays are too small."""
    if wanted == fleet.wanted[0]:
        return True
    while fleet.wanted[0] > wanted:
        _retire(fleet, replicas, levels)
    while fleet.wanted[0] < wanted:
        if not _launch(now_s, rules.startup_s, fleet, replicas, events):
            return False
    return _record(now_s, fleet)


@inner
def _open(rules: Rules, fleet: Fleet, replicas: Replicas, events: Events, levels: Levels) -> bool:
    """Put the initial instances in service at time 0."""
    for slot in range(rules.initial):
        replicas.phase[slot] = STARTING
        fleet.wanted[0] += 1
        fleet.billed[0] += 1
        _started(slot, fleet, replicas, levels)
    return _record(0.0, fleet)


@inner
def _happen(
    now_s: float,
    code: int,
    rules: Rules,
    serving: Serving,
    fleet: Fleet,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> bool:
    """Handle one event of the heap: the end of a batch, the start of an instance, or a batching timer."""
    slots = len(replicas.phase)
    workers = len(replicas.taken)
    changed = False
    if code < workers:
        slot = replica.finish(now_s, code, serving, requests, replicas, levels)
        replica.start_batches(now_s, slot, serving, requests, replicas, events, levels)
        changed = _stop_if_drained(slot, fleet, replicas)
    elif code < workers + slots:
        _started(code - workers, fleet, replicas, levels)
        changed = True
    else:
        slot = code - workers - slots
        replicas.timer_s[slot] = -1.0
        replica.start_batches(now_s, slot, serving, requests, replicas, events, levels)
    if rules.shared_queue > 0:
        _pull(now_s, rules, serving, fleet, requests, replicas, events, levels)
    return _record(now_s, fleet) if changed else True


@inner
def _tick(
    now_s: float,
    state: Alarms,
    rules: Rules,
    serving: Serving,
    fleet: Fleet,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> tuple[bool, Alarms]:
    """Read the metric of the period that ends now, decide, act."""
    metric = _metric(rules, serving.workers, fleet, levels)
    levels.area[:] = 0.0
    fleet.invoked[0] = 0.0
    wanted, state = _decide(now_s, metric, levels.total[OUTSTANDING], rules, fleet, state)
    return _resize(now_s, wanted, rules, fleet, replicas, events, levels), state


@inner
def play(
    rules: Rules,
    serving: Serving,
    fleet: Fleet,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> bool:
    """Play the whole trace; False when the arrays were too small and it must be played again with larger ones.

    At equal times ends come before decisions, decisions before arrivals.
    """
    state = Alarms(0, 0, 0, 0.0, 0.0)
    room = _open(rules, fleet, replicas, events, levels)
    period = 1
    request, offered = 0, len(requests.arrival_s)
    while room:
        arrival_s = requests.arrival_s[request] if request < offered else np.inf
        tick_s = period * rules.period_s
        if rules.policy == FIXED or tick_s > rules.end_s:
            tick_s = np.inf
        event_s = heap.next_time_s(events)
        now_s = min(event_s, tick_s, arrival_s)
        if arrival_s == np.inf and tick_s == np.inf and levels.total[OUTSTANDING] == 0:
            return True
        if now_s == np.inf:
            return True  # no instance is left for what waits in the shared queue
        replica.advance(levels, now_s)
        if now_s == event_s:
            _, code = heap.pop(events)
            room = _happen(now_s, code, rules, serving, fleet, requests, replicas, events, levels)
        elif now_s == tick_s:
            period += 1
            room, state = _tick(now_s, state, rules, serving, fleet, replicas, events, levels)
        else:
            _arrive(now_s, request, rules, serving, fleet, requests, replicas, events, levels)
            request += 1
    return False


def _cached(version: str) -> Callable[..., bool]:
    def play_cached(
        rules: Rules,
        serving: Serving,
        fleet: Fleet,
        requests: Requests,
        replicas: Replicas,
        events: Events,
        levels: Levels,
    ) -> bool:
        # numba's cache key holds a function's closure: naming the version here makes it part of the key
        return version != "" and play(rules, serving, fleet, requests, replicas, events, levels)

    return entry(play_cached)


play_cached = _cached(sources_digest(scaling.__file__, server_policy.__file__))
