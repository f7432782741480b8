"""Time candidates against FP32 on this machine: taking turns, median ratio, its interval.

A machine's speed drifts; FP32 and the candidates take turns within milliseconds, so the drift falls on all and
the ratios stay true where separate averages would not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from deployer.optimization.session import Arrays, Session
from deployer.stats import Floats

MIN_ROUNDS = 15
MAX_ROUNDS = 61
CONFIDENCE = 0.95
_FP32 = ""  # no rung has an empty name


@dataclass(frozen=True)
class Speedup:
    """Median of FP32's time over the candidate's with its 95% interval; medians by case in milliseconds."""

    median: float
    low: float
    high: float
    fp32_ms: Mapping[str, float]
    candidate_ms: Mapping[str, float]


def compare(
    fp32: Session,
    candidates: Mapping[str, Session],
    cases: Mapping[str, Arrays],
    *,
    clock: Callable[[], float],
    budget_s: float = 30.0,
) -> dict[str, Speedup]:
    """Run FP32 and all candidates in turn over every case until ``budget_s`` is spent (15 to 61 rounds).

    ``clock`` returns seconds. One round gives each candidate one ratio: the geometric mean over the cases. All take
    part in the same rounds, so that two candidates can be compared with one another as well.
    """
    sessions = {_FP32: fp32, **candidates}
    for session in (*sessions.values(), *sessions.values()):  # first calls allocate and pack
        for feeds in cases.values():
            session.run(feeds)
    rounds: list[dict[str, list[float]]] = []
    end = time.monotonic() + budget_s
    while len(rounds) < MIN_ROUNDS or (len(rounds) < MAX_ROUNDS and time.monotonic() < end):
        # Who goes first changes each round: the one after a large model finds colder caches.
        shift = len(rounds) % len(sessions)
        order = [*list(sessions)[shift:], *list(sessions)[:shift]]
        rounds.append(_round(sessions, order, cases, clock))
    times = {name: np.array([item[name] for item in rounds]) for name in sessions}
    return {name: speedup(list(cases), times[_FP32], times[name]) for name in candidates}


def clock_for(threads: int) -> Callable[[], float]:
    """Return the clock that tells the model's own time.

    One thread is timed by its CPU time, which other processes on the machine cannot stretch; several threads wait
    for one another, which only the wall clock sees.
    """
    return time.thread_time if threads == 1 else time.perf_counter


def speedup(cases: list[str], fp32_s: Floats, candidate_s: Floats) -> Speedup:
    """Return the Speedup of (rounds, cases) times in seconds."""
    ratios = np.sort(np.exp(np.log(fp32_s / candidate_s).mean(axis=1)))
    low, high = median_interval(ratios)
    return Speedup(
        float(np.median(ratios)), low, high, _medians(cases, fp32_s), _medians(cases, candidate_s)
    )


def median_interval(ordered: Floats) -> tuple[float, float]:
    """Return the order statistics around the median of sorted independent values that hold it at 95%.

    Source: binomial(n, 1/2) in its normal approximation; no shape of the distribution is assumed.
    """
    n = len(ordered)
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * math.sqrt(n) / 2
    first = max(0, math.floor(n / 2 - half))
    last = min(n - 1, math.ceil(n / 2 + half) - 1)
    return float(ordered[first]), float(ordered[last])


def _round(
    sessions: Mapping[str, Session],
    order: Sequence[str],
    cases: Mapping[str, Arrays],
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for feeds in cases.values():
        for name in order:
            start = clock()
            sessions[name].run(feeds)
            times[name].append(clock() - start)
    return times


def _medians(cases: list[str], times_s: Floats) -> dict[str, float]:
    medians = np.median(times_s, axis=0) * 1000
    return {case: float(ms) for case, ms in zip(cases, medians, strict=True)}
