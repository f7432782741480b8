"""Many servers: which one gets a request, and how instances start, serve, drain and stop."""

from __future__ import annotations

from deployer.simulation import events, replica
from deployer.simulation.compiled import inner
from deployer.simulation.world import (
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
    World,
)


@inner
def record(now_s: float, world: World) -> bool:
    """Add a step to the timeline, or change the last one if it has the same time; False when it is full."""
    fleet = world.fleet
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
def open_doors(world: World) -> bool:
    """Put the initial instances in service at time 0; False when there is no room."""
    for slot in range(world.rules.initial):
        world.replicas.phase[slot] = STARTING
        world.fleet.wanted[0] += 1
        world.fleet.billed[0] += 1
        started(slot, world)
    return record(0.0, world)


@inner
def resize(now_s: float, wanted: int, world: World) -> bool:
    """Start or retire instances until ``wanted`` serve or start; False when the arrays are too small."""
    if wanted == world.fleet.wanted[0]:
        return True
    while world.fleet.wanted[0] > wanted:
        _retire(world)
    while world.fleet.wanted[0] < wanted:
        if not _launch(now_s, world):
            return False
    return record(now_s, world)


@inner
def _launch(now_s: float, world: World) -> bool:
    replicas = world.replicas
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == OFF:
            replicas.phase[slot] = STARTING
            world.fleet.wanted[0] += 1
            world.fleet.billed[0] += 1
            ready_s = now_s + world.rules.startup_s
            events.push(world.events, ready_s, len(replicas.taken) + slot)
            return True
    return False


@inner
def started(slot: int, world: World) -> None:
    """Let an instance serve that has started, unless it was cancelled meanwhile."""
    if world.replicas.phase[slot] == CANCELLED:
        world.replicas.phase[slot] = OFF
        return
    world.replicas.phase[slot] = SERVING
    world.fleet.serving[world.fleet.active[0]] = slot
    world.fleet.active[0] += 1
    world.levels.total[ACTIVE] += 1


@inner
def _retire(world: World) -> None:
    """Take one instance away: one that still starts, else the newest; it answers what it has first."""
    fleet, replicas = world.fleet, world.replicas
    fleet.wanted[0] -= 1
    for slot in range(len(replicas.phase)):
        if replicas.phase[slot] == STARTING:
            replicas.phase[slot] = CANCELLED
            fleet.billed[0] -= 1
            return
    fleet.active[0] -= 1
    world.levels.total[ACTIVE] -= 1
    newest = fleet.serving[fleet.active[0]]
    replicas.phase[newest] = DRAINING
    stop_if_drained(newest, world)


@inner
def stop_if_drained(slot: int, world: World) -> bool:
    """Stop a draining instance that has answered its last request; return whether it stopped."""
    if world.replicas.phase[slot] == DRAINING and world.replicas.outstanding[slot] == 0:
        world.replicas.phase[slot] = OFF
        world.fleet.billed[0] -= 1
        return True
    return False


@inner
def arrive(now_s: float, request: int, world: World) -> None:
    """Route a request to an instance, or to the shared queue; refuse it where neither takes it."""
    active = world.fleet.active[0]
    if active > 0:
        world.fleet.invoked[0] += 1.0 / active
    if world.rules.shared_queue > 0:
        _enqueue(request, world)
        pull(now_s, world)
        return
    if active > 0:
        slot = _route(world.requests.routing_u[request], world.rules.routing, world)
        if replica.offer(now_s, request, slot, world):
            return
    world.requests.status[request] = REFUSED
    world.requests.done_s[request] = now_s


@inner
def _route(uniform: float, routing: int, world: World) -> int:
    """Return the slot for a request. Least outstanding breaks ties at random, by a random first look."""
    fleet, outstanding = world.fleet, world.replicas.outstanding
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
def _enqueue(request: int, world: World) -> None:
    queue = world.fleet.queue
    if queue[LENGTH] == 0:
        queue[HEAD] = request
    else:
        world.requests.following[queue[TAIL]] = request
    queue[TAIL] = request
    queue[LENGTH] += 1
    world.levels.total[OUTSTANDING] += 1


@inner
def pull(now_s: float, world: World) -> None:
    """Give requests of the shared queue to instances that have room."""
    expire(now_s, world)
    queue = world.fleet.queue
    while queue[LENGTH] > 0 and world.fleet.active[0] > 0:
        request = queue[HEAD]
        slot = _route(world.requests.routing_u[request], LEAST_OUTSTANDING, world)
        if world.replicas.outstanding[slot] >= world.rules.shared_queue:
            return
        _leave_queue(world)
        world.requests.taken_s[request] = now_s
        replica.offer(now_s, request, slot, world)


@inner
def _leave_queue(world: World) -> None:
    queue = world.fleet.queue
    queue[HEAD] = world.requests.following[queue[HEAD]]
    queue[LENGTH] -= 1
    world.levels.total[OUTSTANDING] -= 1


@inner
def expire(now_s: float, world: World) -> None:
    """Drop the requests that have waited in the shared queue for longer than they are kept there."""
    queue, requests = world.fleet.queue, world.requests
    while queue[LENGTH] > 0:
        oldest = queue[HEAD]
        gone_s = requests.arrival_s[oldest] + world.rules.wait_s
        if now_s <= gone_s:
            return
        requests.status[oldest] = GONE
        requests.done_s[oldest] = gone_s
        _leave_queue(world)
