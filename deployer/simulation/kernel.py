"""The event loop over arrays, compiled: arrivals, ends of batches, starts of instances, scaling decisions.

Arrivals come in the trace's order, decisions once per metric period, all else from a heap of events. At
equal times ends and starts come first, then the decision, then the arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deployer import autoscaler
from deployer.autoscaler import Alarms, Observation
from deployer.simulation import events, fleet, replica
from deployer.simulation.compiled import entry, inner, sources_digest
from deployer.simulation.state import (
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
    State,
)
from inference_code import policy

track = inner(autoscaler.track)
step = inner(autoscaler.step)
wake = inner(autoscaler.wake)
scheduled = inner(autoscaler.scheduled)


@inner
def _advance(levels: Levels, now_s: float) -> None:
    """Add the time since the last event to the integrals."""
    passed_s = now_s - levels.now_s[0]
    for i in range(len(levels.area)):
        levels.area[i] += levels.total[i] * passed_s
    levels.now_s[0] = now_s


@inner
def _happen(now_s: float, code: int, state: State) -> bool:
    """Handle an event: the end of a worker's batch, the start of an instance, or a batching timer."""
    slots, workers = len(state.replicas.phase), len(state.replicas.taken)
    changed = False
    if code < workers:
        slot = replica.finish(now_s, code, state)
        changed = fleet.stop_if_drained(slot, state)
    elif code < workers + slots:
        fleet.started(code - workers, state)
        changed = True
    else:
        slot = code - workers - slots
        state.replicas.timer_s[slot] = -1.0
        replica.start_batches(now_s, slot, state)
    if state.rules.shared_queue > 0:
        fleet.pull(now_s, state)
    return fleet.record(now_s, state) if changed else True


@inner
def _metric(state: State) -> float:
    """Return the metric of the period that ends now, per instance; NaN without an instance."""
    area, active = state.levels.area, state.fleet.active[0]
    if active == 0 or area[ACTIVE] == 0.0:
        return math.nan
    if state.rules.policy == BACKLOG:
        return float(state.levels.total[OUTSTANDING] / active)
    if state.rules.metric == INVOCATIONS:
        return float(state.fleet.invoked[0])
    if state.rules.metric == CPU:
        return float(100.0 * area[BUSY] / (area[ACTIVE] * state.serving.workers))
    return float(area[OUTSTANDING] / area[ACTIVE])


@inner
def _decide(now_s: float, alarms: Alarms, state: State) -> tuple[int, Alarms]:
    rules = state.rules
    if rules.policy == SCHEDULED:
        # a schedule is asked on full minutes, which the sum may miss by a rounding
        clock_s = float(round(now_s + rules.clock_s))
        return scheduled(clock_s, rules.schedule_s, rules.schedule_instances), alarms
    wanted = state.fleet.wanted[0]
    if rules.policy == BACKLOG and wanted == 0:
        return wake(state.levels.total[OUTSTANDING], alarms)
    served = state.levels.area[ACTIVE] / rules.period_s
    seen = Observation(_metric(state), served, state.fleet.active[0], wanted)
    if rules.policy == STEP:
        return step(now_s, seen, rules.step, alarms)
    return track(now_s, seen, rules.tracking, alarms)


@inner
def _tick(now_s: float, alarms: Alarms, state: State) -> tuple[bool, Alarms]:
    """Decide on the period that ends now, act, and begin the next; False when the arrays are too small."""
    if state.rules.shared_queue > 0:
        fleet.expire(now_s, state)
    wanted, alarms = _decide(now_s, alarms, state)
    for i in range(len(state.levels.area)):
        state.levels.area[i] = 0.0
    state.fleet.invoked[0] = 0.0
    return fleet.resize(now_s, wanted, state), alarms


@inner
def play(state: State) -> bool:
    """Play the whole trace; False when the arrays were too small for it: play it again in a larger state."""
    alarms = Alarms(0, 0, 0, 0.0, 0.0)
    room = fleet.open_doors(state)
    arrivals = state.requests.arrival_s
    period, request = 1, 0
    while room:
        arrival_s = arrivals[request] if request < len(arrivals) else np.inf
        tick_s = period * state.rules.period_s - state.rules.phase_s
        if state.rules.policy == FIXED or tick_s > state.rules.end_s:
            tick_s = np.inf
        event_s = events.next_time_s(state.events)
        now_s = min(event_s, tick_s, arrival_s)
        idle = arrival_s == np.inf and tick_s == np.inf and state.levels.total[OUTSTANDING] == 0
        if idle or now_s == np.inf:  # at infinity what waits in the shared queue waits for ever
            return True
        _advance(state.levels, now_s)
        if now_s == event_s:
            _, code = events.pop(state.events)
            room = _happen(now_s, code, state)
        elif now_s == tick_s:
            room, alarms = _tick(now_s, alarms, state)
            period += 1
        else:
            fleet.arrive(now_s, request, state)
            request += 1
    return False


def _cached(version: str) -> Callable[[State], bool]:
    def play_cached(state: State) -> bool:
        # numba's cache key holds the values that a function closes over: here, what it was compiled from
        return version != "" and play(state)

    return entry(play_cached)


play_cached = _cached(sources_digest(autoscaler.__file__, policy.__file__))
"""The compiled ``play``, kept on disk."""
