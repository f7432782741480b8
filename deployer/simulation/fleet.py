"""Many servers: which one gets a request, and how instances start, serve, drain and stop."""

from __future__ import annotations

from deployer.simulation import events, replica
from deployer.simulation.compiled import inner
from deployer.simulation.state import (
    ACTIVE,
    CANCELLED,
    DRAINING,
    GONE,
    HEAD,
    LEAST_OUTSTANDING,
    LENGTH,
    OFF,
    OUTSTANDING,
    RANDOM,
    REFUSED,
    SERVING,
    STARTING,
    TAIL,
    State,
)


@inner
def record(now_s: float, state: State) -> bool:
    """Add a step to the timeline, or change the last one if it has the same time; False when it is full."""
    fleet = state.fleet
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
def open_doors(state: State) -> bool:
    """Put the initial instances in service at time 0; False when there is no room."""
    for slot in range(state.rules.initial):
        state.replicas.phase[slot] = STARTING
        state.fleet.wanted[0] += 1
        state.fleet.billed[0] += 1
        started(slot, state)
    return record(0.0, state)


@inner
def resize(now_s: float, wanted: int, state: State) -> bool:
    """Start or retire instances until ``wanted`` serve or start; False when the arrays are too small."""
    if wanted == state.fleet.wanted[0]:
        return True
    while state.fleet.wanted[0] > wanted:
        _retire(state)
    while state.fleet.wanted[0] < wanted:
        if not _launch(now_s, state):
            return False
    return record(now_s, state)


@inner
def _launch(now_s: float, state: State) -> bool:
    replicas = state.replicas
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == OFF:
            replicas.phase[slot] = STARTING
            state.fleet.wanted[0] += 1
            state.fleet.billed[0] += 1
            ready_s = now_s + state.rules.startup_s
            events.push(state.events, ready_s, len(replicas.taken) + slot)
            return True
    return False


@inner
def started(slot: int, state: State) -> None:
    """Let an instance serve that has started, unless it was cancelled meanwhile."""
    if state.replicas.phase[slot] == CANCELLED:
        state.replicas.phase[slot] = OFF
        return
    state.replicas.phase[slot] = SERVING
    state.fleet.serving[state.fleet.active[0]] = slot
    state.fleet.active[0] += 1
    state.levels.total[ACTIVE] += 1


@inner
def _retire(state: State) -> None:
    """Take one instance away: one that still starts, else the newest; it answers what it has first."""
    fleet, replicas = state.fleet, state.replicas
    fleet.wanted[0] -= 1
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == STARTING:
            replicas.phase[slot] = CANCELLED
            fleet.billed[0] -= 1
            return
    fleet.active[0] -= 1
    state.levels.total[ACTIVE] -= 1
    newest = fleet.serving[fleet.active[0]]
    replicas.phase[newest] = DRAINING
    stop_if_drained(newest, state)


@inner
def stop_if_drained(slot: int, state: State) -> bool:
    """Stop a draining instance that has answered its last request; return whether it stopped."""
    if state.replicas.phase[slot] == DRAINING and state.replicas.outstanding[slot] == 0:
        state.replicas.phase[slot] = OFF
        state.fleet.billed[0] -= 1
        return True
    return False


@inner
def arrive(now_s: float, request: int, state: State) -> None:
    """Route a request to an instance, or to the shared queue; refuse it where neither takes it."""
    active = state.fleet.active[0]
    if active > 0:
        state.fleet.invoked[0] += 1.0 / active
    if state.rules.shared_queue > 0:
        _enqueue(request, state)
        pull(now_s, state)
        return
    if active > 0:
        slot = _route(state.requests.routing_u[request], state.rules.routing, state)
        if replica.offer(now_s, request, slot, state):
            return
    state.requests.status[request] = REFUSED
    state.requests.done_s[request] = now_s


@inner
def _route(uniform: float, routing: int, state: State) -> int:
    """Return the slot for a request. Least outstanding breaks ties at random, by a random first look."""
    fleet, outstanding = state.fleet, state.replicas.outstanding
    active = fleet.active[0]
    start = int(uniform * active)
    best = fleet.serving[start]
    if routing == RANDOM:
        return int(best)
    for i in range(1, active):
        slot = fleet.serving[(start + i) % active]
        if outstanding[slot] < outstanding[best]:
            best = slot
    return int(best)


@inner
def _enqueue(request: int, state: State) -> None:
    queue = state.fleet.queue
    if queue[LENGTH] == 0:
        queue[HEAD] = request
    else:
        state.requests.following[queue[TAIL]] = request
    queue[TAIL] = request
    queue[LENGTH] += 1
    state.levels.total[OUTSTANDING] += 1


@inner
def pull(now_s: float, state: State) -> None:
    """Give requests of the shared queue to instances that have room."""
    expire(now_s, state)
    queue = state.fleet.queue
    while queue[LENGTH] > 0 and state.fleet.active[0] > 0:
        request = queue[HEAD]
        slot = _route(state.requests.routing_u[request], LEAST_OUTSTANDING, state)
        if state.replicas.outstanding[slot] >= state.rules.shared_queue:
            return
        _leave_queue(state)
        state.requests.taken_s[request] = now_s
        replica.offer(now_s, request, slot, state)


@inner
def _leave_queue(state: State) -> None:
    queue = state.fleet.queue
    queue[HEAD] = state.requests.following[queue[HEAD]]
    queue[LENGTH] -= 1
    state.levels.total[OUTSTANDING] -= 1


@inner
def expire(now_s: float, state: State) -> None:
    """Drop the requests that have waited in the shared queue for longer than they are kept there."""
    queue, requests = state.fleet.queue, state.requests
    while queue[LENGTH] > 0:
        oldest = queue[HEAD]
        gone_s = requests.arrival_s[oldest] + state.rules.wait_s
        if now_s <= gone_s:
            return
        requests.status[oldest] = GONE
        requests.done_s[oldest] = gone_s
        _leave_queue(state)
