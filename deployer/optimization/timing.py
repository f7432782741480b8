"""Time candidates against FP32 on this machine: taking turns, median ratio, its interval.

A machine's speed drifts; FP32 and the candidates take turns within milliseconds, so the drift falls on all and
the ratios stay true where separate averages would not. Each runs once untimed before it is timed: a server runs
one model again and again, and finds its own weights in the caches, not another model's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from deployer.optimization.session import Arrays, Session, denormals_flushed
from deployer.stats import Floats

MIN_ROUNDS = 15
MAX_ROUNDS = 61
FEW_ROUNDS = 7
"""After so many rounds those that cannot win any more stop; 7 ordered ratios still hold the median at 98%."""

BRIEF_ROUNDS = 5
"""Rounds of those that are wrong already, whose speed is only told: 5 ordered ratios hold the median at 94%."""

HOPELESS = 0.8
"""Cannot win: even the best round is slower than this share of the worst round of the fastest."""

CONFIDENCE = 0.95
_FP32 = ""  # no rung has an empty name


@dataclass(frozen=True)
class Speedup:
    """Median of FP32's time over the candidate's with its 95% interval; medians by case in milliseconds.

    ``rounds`` is how many ratios stand behind it.
    """

    median: float
    low: float
    high: float
    fp32_ms: Mapping[str, float]
    candidate_ms: Mapping[str, float]
    rounds: int

    @property
    def brief(self) -> bool:
        """Say whether it was timed in a few rounds only, to be told and not to be chosen by."""
        return self.rounds < FEW_ROUNDS


@denormals_flushed()
def compare(
    fp32: Session,
    candidates: Mapping[str, Session],
    cases: Mapping[str, Arrays],
    *,
    clock: Callable[[], float],
    budget_s: float = 30.0,
    brief: Mapping[str, Session] | None = None,
) -> dict[str, Speedup]:
    """Run FP32 and all candidates in turn over every case until ``budget_s`` is spent (15 to 61 rounds).

    ``clock`` returns seconds. One round gives each candidate one ratio: the geometric mean over the cases. All take
    part in the same rounds, so that two candidates can be compared with one another as well; after the seventh only
    those that can still win go on. ``brief`` ones take part in the first five rounds and stop no other.
    """
    passing = brief or {}
    sessions = {_FP32: fp32, **candidates, **passing}
    for session in (*sessions.values(), *sessions.values()):  # first calls allocate and pack
        for feeds in cases.values():
            session.run(feeds)
    rounds: list[dict[str, list[float]]] = []
    end = time.monotonic() + budget_s
    names = list(sessions)
    least = MIN_ROUNDS if candidates else BRIEF_ROUNDS
    while len(rounds) < least or (
        candidates and len(rounds) < MAX_ROUNDS and time.monotonic() < end
    ):
        # Who goes first changes each round: the one after a large model finds colder caches.
        shift = len(rounds) % len(names)
        rounds.append(_round(sessions, [*names[shift:], *names[:shift]], cases, clock))
        if len(rounds) == BRIEF_ROUNDS:
            names = [_FP32, *candidates]
        if len(rounds) == FEW_ROUNDS:
            ratios = {name: _ratios(rounds, name) for name in candidates}
            names = [_FP32, *able_to_win(ratios)]
    return {
        name: speedup(list(cases), *(_times(rounds, of, name) for of in (_FP32, name)))
        for name in (*candidates, *passing)
    }


def able_to_win(ratios: Mapping[str, Floats]) -> list[str]:
    """Return the names whose best ratio is within reach of the fastest's worst."""
    if not ratios:
        return []
    fastest = max(ratios.values(), key=lambda found: float(np.median(found)))
    return [name for name, found in ratios.items() if found.max() >= HOPELESS * fastest.min()]


def clock_for(threads: int) -> Callable[[], float]:
    """Return the clock that tells the model's own time.

    One thread is timed by its CPU time, which other processes on the machine cannot stretch; several threads wait
    for one another, which only the wall clock sees.
    """
    return time.thread_time if threads == 1 else time.perf_counter


def on_the_wall() -> float:
    """Return the wall clock's seconds: what numbers of threads can be compared by, one among them."""
    return time.perf_counter()


def speedup(cases: list[str], fp32_s: Floats, candidate_s: Floats) -> Speedup:
    """Return the Speedup of (rounds, cases) times in seconds."""
    ratios = np.sort(_geometric(fp32_s, candidate_s))
    low, high = median_interval(ratios)
    return Speedup(
        float(np.median(ratios)),
        low,
        high,
        _medians(cases, fp32_s),
        _medians(cases, candidate_s),
        len(ratios),
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
    times: dict[str, list[float]] = {name: [] for name in order}
    for feeds in cases.values():
        for name in order:
            sessions[name].run(feeds)
            start = clock()
            sessions[name].run(feeds)
            times[name].append(clock() - start)
    return times


def _times(rounds: list[dict[str, list[float]]], of: str, while_timed: str) -> Floats:
    """Return the (rounds, cases) times of one over the rounds in which another took part."""
    return np.array([item[of] for item in rounds if while_timed in item])


def _ratios(rounds: list[dict[str, list[float]]], name: str) -> Floats:
    return _geometric(_times(rounds, _FP32, name), _times(rounds, name, name))


def _geometric(fp32_s: Floats, candidate_s: Floats) -> Floats:
    """Return FP32's time over the candidate's by round: the geometric mean over the cases."""
    return np.asarray(np.exp(np.log(fp32_s / candidate_s).mean(axis=1)))


def _medians(cases: list[str], times_s: Floats) -> dict[str, float]:
    medians = np.median(times_s, axis=0) * 1000
    return {case: float(ms) for case, ms in zip(cases, medians, strict=True)}
