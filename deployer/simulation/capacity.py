"""How much one instance can take: the highest rate at which the latency objective holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deployer import autoscaler
from deployer.profiles import Profile
from deployer.simulation import playback, rules
from deployer.simulation.state import OK, Serving
from deployer.spec.deployment import Slo
from deployer.spec.scaling import TargetTracking

REQUESTS = 20_000
"""Requests per trial rate: 200 lie beyond a p99."""

SEED = 0
"""Of the trial requests: one profile has one headroom."""

_BISECTIONS = 20
_SHARES = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99}


class Headroom(NamedTuple):
    """One instance at the highest good rate: requests per second, busy share, requests in flight.

    ``is_met`` False: no rate meets the objective, and the rate is that of a saturated instance.
    """

    max_rps: float
    busy_share: float
    in_flight: float
    is_met: bool


def headroom(profile: Profile, serving: Serving, slo: Slo) -> Headroom:
    """Find the highest rate of Poisson requests to one instance at which every objective holds.

    By bisection between 0 and the profile's capacity over one simulated instance; each rate meets the
    same random numbers. Without an objective, or when none can be met, it is the capacity itself.
    """
    best = max(
        (b for b in profile.service_time_ms if b <= profile.max_batch),
        key=lambda b: b / profile.service_time_ms[b].mean,
    )
    saturated = Headroom(profile.capacity_rps, 1.0, float(profile.workers * best), not slo.items())
    if not slo.items():
        return saturated
    gaps = np.random.Generator(np.random.PCG64(SEED)).exponential(1.0, REQUESTS)
    unit_s = np.cumsum(gaps)
    low, high = 0.0, profile.capacity_rps
    found = saturated
    for _ in range(_BISECTIONS):
        rate = 0.5 * (low + high)
        trial = _trial(unit_s / rate, serving, slo)
        if trial is None:
            high = rate
        else:
            low, found = rate, trial
    return found


def metric_target(policy: TargetTracking, room: Headroom) -> float:
    """Return what the policy aims at per instance: its own target, else derived from the headroom.

    Derived: SAFETY_FACTOR x the metric's value at the highest good rate; for invocations that is AWS's
    MAX_RPS x SAFETY_FACTOR x 60.
    """
    if policy.target is not None:
        return policy.target
    if policy.metric == "cpu":
        return 100.0 * autoscaler.SAFETY_FACTOR * room.busy_share
    if policy.metric == "concurrency":
        return autoscaler.SAFETY_FACTOR * room.in_flight
    return autoscaler.invocations_target(room.max_rps)


def _trial(arrival_s: np.ndarray, serving: Serving, slo: Slo) -> Headroom | None:
    """Play one rate; None when an objective does not hold."""
    play = playback.play_fleet(rules.fixed(1, arrival_s[-1]), serving, arrival_s, 1, SEED)
    answered = play.requests.status == OK
    latency_s = np.where(answered, play.requests.done_s - arrival_s, np.inf)
    for key, limit_ms in slo.items():
        if np.count_nonzero(latency_s <= limit_ms / 1000.0) < _SHARES[key] * len(arrival_s):
            return None
    rate = len(arrival_s) / float(arrival_s[-1])
    in_flight = rate * float(latency_s[answered].mean())
    busy_share = play.busy_s / (serving.workers * float(arrival_s[-1]))
    return Headroom(rate, busy_share, in_flight, True)
