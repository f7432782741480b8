"""The event loop over arrays, compiled: arrivals, ends of batches, starts of instances, scaling decisions.

Arrivals come in the trace's order, decisions once per metric period, all else from a heap of events. At
equal times ends and starts come first, then the decision, then the arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deployer import scaling
from deployer.scaling import Alarms, Observation
from deployer.simulation import events, fleet, replica
from deployer.simulation.compiled import entry, inner, sources_digest
from deployer.simulation.world import (
    ACTIVE,
    BACKLOG,
    BUSY,
    CPU,
    FIXED,
    INVOCATIONS,
    OUTSTANDING,
    SCHEDULED,
    STEP,
    Levels,
    World,
)
from inference_code import policy

track = inner(scaling.track)
step = inner(scaling.step)
wake = inner(scaling.wake)
scheduled = inner(scaling.scheduled)


@inner
def _advance(levels: Levels, now_s: float) -> None:
    """Add the time since the last event to the integrals."""
    passed_s = now_s - levels.now_s[0]
    for i in range(len(levels.area)):
        levels.area[i] += levels.total[i] * passed_s
    levels.now_s[0] = now_s


@inner
def _happen(now_s: float, code: int, world: World) -> bool:
    """Handle an event: the end of a worker's batch, the start of an instance, or a batching timer."""
    slots, workers = len(world.replicas.phase), len(world.replicas.taken)
    changed = False
    if code < workers:
        slot = replica.finish(now_s, code, world)
        changed = fleet.stop_if_drained(slot, world)
    elif code < workers + slots:
        fleet.started(code - workers, world)
        changed = True
    else:
        slot = code - workers - slots
        world.replicas.timer_s[slot] = -1.0
        replica.start_batches(now_s, slot, world)
    if world.rules.shared_queue > 0:
        fleet.pull(now_s, world)
    return fleet.record(now_s, world) if changed else True


@inner
def _metric(world: World) -> float:
    """Return the metric of the period that ends now, per instance; NaN without an instance."""
    area, active = world.levels.area, world.fleet.active[0]
    if active == 0 or area[ACTIVE] == 0.0:
        return math.nan
    if world.rules.policy == BACKLOG:
        return float(world.levels.total[OUTSTANDING] / active)
    if world.rules.metric == INVOCATIONS:
        return float(world.fleet.invoked[0])
    if world.rules.metric == CPU:
        return float(100.0 * area[BUSY] / (area[ACTIVE] * world.serving.workers))
    return float(area[OUTSTANDING] / area[ACTIVE])


@inner
def _decide(now_s: float, state: Alarms, world: World) -> tuple[int, Alarms]:
    rules = world.rules
    if rules.policy == SCHEDULED:
        # a schedule is asked on full minutes, which the sum may miss by a rounding
        clock_s = float(round(now_s + rules.clock_s))
        return scheduled(clock_s, rules.schedule_s, rules.schedule_instances), state
    wanted = world.fleet.wanted[0]
    if rules.policy == BACKLOG and wanted == 0:
        return wake(world.levels.total[OUTSTANDING], state)
    served = world.levels.area[ACTIVE] / rules.period_s
    seen = Observation(_metric(world), served, world.fleet.active[0], wanted)
    if rules.policy == STEP:
        return step(now_s, seen, rules.step, state)
    return track(now_s, seen, rules.tracking, state)


@inner
def _tick(now_s: float, state: Alarms, world: World) -> tuple[bool, Alarms]:
    """Decide on the period that ends now, act, and begin the next; False when the arrays are too small."""
    if world.rules.shared_queue > 0:
        fleet.expire(now_s, world)
    wanted, state = _decide(now_s, state, world)
    for i in range(len(world.levels.area)):
        world.levels.area[i] = 0.0
    world.fleet.invoked[0] = 0.0
    return fleet.resize(now_s, wanted, world), state


@inner
def play(world: World) -> bool:
    """Play the whole trace; False when the arrays were too small for it: play it again in a larger world."""
    state = Alarms(0, 0, 0, 0.0, 0.0)
    room = fleet.open_doors(world)
    arrivals = world.requests.arrival_s
    period, request = 1, 0
    while room:
        arrival_s = arrivals[request] if request < len(arrivals) else np.inf
        tick_s = period * world.rules.period_s - world.rules.phase_s
        if world.rules.policy == FIXED or tick_s > world.rules.end_s:
            tick_s = np.inf
        event_s = events.next_time_s(world.events)
        now_s = min(event_s, tick_s, arrival_s)
        idle = arrival_s == np.inf and tick_s == np.inf and world.levels.total[OUTSTANDING] == 0
        if idle or now_s == np.inf:  # at infinity what waits in the shared queue waits for ever
            return True
        _advance(world.levels, now_s)
        if now_s == event_s:
            _, code = events.pop(world.events)
            room = _happen(now_s, code, world)
        elif now_s == tick_s:
            room, state = _tick(now_s, state, world)
            period += 1
        else:
            fleet.arrive(now_s, request, world)
            request += 1
    return False


def _cached(version: str) -> Callable[[World], bool]:
    def play_cached(world: World) -> bool:
        # numba's cache key holds the values that a function closes over: here, what it was compiled from
        return version != "" and play(world)

    return entry(play_cached)


play_cached = _cached(sources_digest(scaling.__file__, policy.__file__))
"""The compiled ``play``, kept on disk."""
