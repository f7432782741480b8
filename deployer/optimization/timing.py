"""Time a candidate against FP32 on this machine: alternating pairs, median ratio, its interval.

A machine's speed drifts; FP32 and candidate take turns within milliseconds, so the drift falls on both and
the ratio stays true where two separate averages would not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from deployer.optimization.session import Arrays, Session
from deployer.stats import Floats

MIN_ROUNDS = 15
MAX_ROUNDS = 61
CONFIDENCE = 0.95


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
    candidate: Session,
    cases: Mapping[str, Arrays],
    *,
    clock: Callable[[], float],
    budget_s: float = 10.0,
) -> Speedup:
    """Run both sessions in turn over every case until ``budget_s`` is spent (15 rounds at least, 61 at most).

    ``clock`` returns seconds. One round gives one ratio: the geometric mean over the cases.
    """
    for session in (fp32, candidate, fp32, candidate):  # first calls allocate and pack
        for feeds in cases.values():
            session.run(feeds)
    before: list[list[float]] = []
    after: list[list[float]] = []
    start = clock()
    while len(before) < MIN_ROUNDS or (len(before) < MAX_ROUNDS and clock() - start < budget_s):
        # Who goes first changes each round: the second finds warmer caches.
        order = (fp32, candidate) if len(before) % 2 else (candidate, fp32)
        timed = {id(session): _round(session, cases, clock) for session in order}
        before.append(timed[id(fp32)])
        after.append(timed[id(candidate)])
    return speedup(list(cases), np.array(before), np.array(after))


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
    session: Session, cases: Mapping[str, Arrays], clock: Callable[[], float]
) -> list[float]:
    times = []
    for feeds in cases.values():
        start = clock()
        session.run(feeds)
        times.append(clock() - start)
    return times


def _medians(cases: list[str], times_s: Floats) -> dict[str, float]:
    medians = np.median(times_s, axis=0) * 1000
    return {case: float(ms) for case, ms in zip(cases, medians, strict=True)}
