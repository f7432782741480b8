"""Make a trace: constant, Poisson, bursty (gamma), daily curve, ramp, steps.

Each law takes a ``seed`` for numpy's PCG64 generator: equal arguments give equal traces on any machine.
Rates are requests per second, times seconds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import numpy as np

from deployer.errors import InputError
from deployer.stats import Floats
from deployer.traffic import clock
from deployer.traffic.trace import Ints, TrafficTrace

Spacing = Literal["poisson", "gamma", "uniform"]
"""How arrivals lie within an interval of which only the count is known."""

SHAPES = ("constant", "poisson", "gamma", "daily", "ramp", "steps")
_PEAKED = ("daily", "ramp", "steps")
DEFAULT_PEAK_TO_MEAN = 1.8
DEFAULT_CV = 2.0

DAY_S = 86400.0
PEAK_S = 14 * 3600.0
"""Second of the day at which the daily curve peaks: 14:00 UTC."""

MAX_PEAK_TO_MEAN = 50.0
MAX_ARRIVALS = 100_000_000
_CURVE_STEP_S = 1.0


def make(
    shape: str,
    *,
    rate: float,
    duration_s: float,
    seed: int = 0,
    peak_rate: float | None = None,
    cv: float | None = None,
    name: str | None = None,
    start: datetime | None = None,
) -> TrafficTrace:
    """Make a trace of one of SHAPES; ``rate`` is in requests per second: the mean, or the first of a ramp or steps.

    ``peak_rate`` is the daily curve's highest rate, the ramp's last, and that of the middle third of
    ``steps``; its default is 1.8 x ``rate``. ``cv`` belongs to gamma, 2 by default. ``start`` is the moment of
    second 0, with its offset from UTC. The daily curve follows the clock: it peaks at 14:00 UTC, and its first
    hour is that of ``start``; without one it begins at midnight. Raises InputError for an unknown shape, and
    for an argument that the shape does not use.
    """
    if shape not in SHAPES:
        raise InputError(f"shape {shape!r} is not one of {', '.join(SHAPES)}")
    if peak_rate is not None and shape not in _PEAKED:
        raise InputError(f"a {shape} trace has no peak rate", hint=f"use {' or '.join(_PEAKED)}")
    if cv is not None and shape != "gamma":
        raise InputError(f"a {shape} trace has no cv", hint="use gamma")
    peak = DEFAULT_PEAK_TO_MEAN * rate if peak_rate is None else peak_rate
    _check("rate", rate, duration_s)
    _not_negative("peak_rate", peak)
    match shape:
        case "constant":
            trace = constant(rate, duration_s)
        case "poisson":
            trace = poisson(rate, duration_s, seed)
        case "gamma":
            trace = gamma(rate, duration_s, DEFAULT_CV if cv is None else cv, seed)
        case "daily":
            begins_s = 0.0 if start is None else clock.second_of_day(clock.in_utc(start))
            trace = daily(rate, peak / rate, seed, duration_s, PEAK_S - begins_s)
        case "ramp":
            trace = ramp(rate, peak, duration_s, seed)
        case _:
            third = duration_s / 3
            trace = steps([(third, rate), (third, peak), (third, rate)], seed)
    return dataclasses.replace(trace, name=trace.name if name is None else name, start=start)


def constant(rate_rps: float, duration_s: float) -> TrafficTrace:
    """Return arrivals at equal distances, the first at 0. Raises InputError for a rate that is not positive."""
    _check("rate_rps", rate_rps, duration_s)
    count = math.ceil(rate_rps * duration_s - 1e-9)
    arrivals = np.arange(count) / rate_rps
    return _trace("constant", arrivals, duration_s, f"constant {rate_rps:g} req/s")


def poisson(rate_rps: float, duration_s: float, seed: int) -> TrafficTrace:
    """Return Poisson arrivals: independent users, exponential gaps. Raises InputError for a bad rate."""
    _check("rate_rps", rate_rps, duration_s)
    edges = np.array([0.0, duration_s])
    arrivals = _along(edges, edges * rate_rps, seed)
    return _trace("poisson", arrivals, duration_s, f"Poisson {rate_rps:g} req/s, seed {seed}")


def gamma(rate_rps: float, duration_s: float, cv: float, seed: int) -> TrafficTrace:
    """Return bursty arrivals: gamma gaps with mean 1/rate and coefficient of variation ``cv``.

    ``cv`` 1 is Poisson, above 1 comes in bursts. Raises InputError for a rate or ``cv`` that is not positive.
    """
    _check("rate_rps", rate_rps, duration_s)
    _positive("cv", cv)
    rng = _generator(seed)
    shape, scale = cv**-2, cv**2 / rate_rps
    block = math.ceil(rate_rps * duration_s) + 100
    arrivals = np.cumsum(rng.gamma(shape, scale, block))
    while arrivals[-1] < duration_s:
        more = arrivals[-1] + np.cumsum(rng.gamma(shape, scale, block))
        arrivals = np.concatenate((arrivals, more))
    origin = f"gamma {rate_rps:g} req/s, cv {cv:g}, seed {seed}"
    return _trace("gamma", arrivals[arrivals < duration_s], duration_s, origin)


def daily(
    mean_rps: float,
    peak_to_mean: float,
    seed: int,
    duration_s: float = DAY_S,
    peak_s: float = PEAK_S,
) -> TrafficTrace:
    """Return Poisson arrivals along a curve with a period of one day and its peak at ``peak_s``.

    With c(t) = cos(2 pi (t - peak_s) / 86400) the rate is the sinusoid mean (1 + (peak_to_mean - 1) c) up to
    ``peak_to_mean`` 2, where it touches zero at night; beyond, the narrower mean peak_to_mean ((1 + c) / 2)^k
    with the power k that keeps the mean. Raises InputError for a ``peak_to_mean`` outside 1..MAX_PEAK_TO_MEAN.
    """
    _check("mean_rps", mean_rps, duration_s)
    if not 1 <= peak_to_mean <= MAX_PEAK_TO_MEAN:
        raise InputError(
            f"peak_to_mean must lie between 1 and {MAX_PEAK_TO_MEAN:g}, not {peak_to_mean!r}",
            hint="a peak rate lies above the mean; use steps for sharper peaks",
        )
    times = _grid(duration_s)
    curve = np.cos(2 * math.pi * (times - peak_s) / DAY_S)
    if peak_to_mean <= 2:
        rates = mean_rps * (1 + (peak_to_mean - 1) * curve)
    else:
        rates = mean_rps * peak_to_mean * ((1 + curve) / 2) ** _power(peak_to_mean)
    pieces = np.diff(times) * (rates[1:] + rates[:-1]) / 2
    arrivals = _along(times, np.concatenate(([0.0], np.cumsum(pieces))), seed)
    origin = f"daily curve, mean {mean_rps:g} req/s, peak/mean {peak_to_mean:g}, seed {seed}"
    return _trace("daily", arrivals, duration_s, origin)


def _power(peak_to_mean: float) -> float:
    """Return k for which the mean of ((1 + cos) / 2)^k over a period is 1 / peak_to_mean, by bisection.

    That mean is Gamma(k + 1/2) / (sqrt(pi) Gamma(k + 1)), which falls as k grows.
    """
    low, high = 1.0, MAX_PEAK_TO_MEAN**2 * math.pi
    for _ in range(100):
        k = (low + high) / 2
        log_mean = math.lgamma(k + 0.5) - math.lgamma(k + 1) - 0.5 * math.log(math.pi)
        low, high = (k, high) if log_mean > -math.log(peak_to_mean) else (low, k)
    return (low + high) / 2


def ramp(start_rps: float, end_rps: float, duration_s: float, seed: int) -> TrafficTrace:
    """Return Poisson arrivals whose rate goes in a straight line from ``start_rps`` to ``end_rps``."""
    for key, rate in (("start_rps", start_rps), ("end_rps", end_rps)):
        _not_negative(key, rate)
    _check("start_rps + end_rps", start_rps + end_rps, duration_s)
    times = _grid(duration_s)
    expected = start_rps * times + (end_rps - start_rps) * times**2 / (2 * duration_s)
    origin = f"ramp {start_rps:g} to {end_rps:g} req/s, seed {seed}"
    return _trace("ramp", _along(times, expected, seed), duration_s, origin)


def steps(levels: Sequence[tuple[float, float]], seed: int) -> TrafficTrace:
    """Return Poisson arrivals at one rate after another; ``levels`` are (duration_s, rate_rps)."""
    if not levels:
        raise InputError("steps need at least one level")
    for duration_s, rate_rps in levels:
        _positive("duration_s", duration_s)
        _not_negative("rate_rps", rate_rps)
    durations = np.array([level[0] for level in levels], dtype=float)
    counts = durations * np.array([level[1] for level in levels], dtype=float)
    times = np.concatenate(([0.0], np.cumsum(durations)))
    expected = np.concatenate(([0.0], np.cumsum(counts)))
    _check_count(expected[-1], f"{len(levels)} levels")
    words = ", ".join(f"{rate:g} req/s for {duration:g} s" for duration, rate in levels)
    origin = f"steps {words}, seed {seed}"
    return _trace("steps", _along(times, expected, seed), float(times[-1]), origin)


def spread(
    start_s: Floats, interval_s: Floats, counts: Ints, spacing: Spacing, cv: float, seed: int
) -> Floats:
    """Return ``counts[i]`` sorted arrivals within each interval ``start_s[i] + [0, interval_s[i])``.

    ``poisson`` scatters them as a Poisson process would, ``gamma`` in bursts with coefficient of variation
    ``cv`` of the gaps, ``uniform`` at equal distances. Raises InputError for an unknown spacing or bad ``cv``.
    """
    if spacing not in get_args(Spacing):
        raise InputError(f"spacing {spacing!r} is not one of {', '.join(get_args(Spacing))}")
    _positive("cv", cv)
    total = int(counts.sum())
    _check_count(total, f"counts of {total} in all")
    # A gap before each arrival and one after the last, scaled to fill the interval: with exponential
    # gaps this is exactly a Poisson process of which the count is given.
    gaps = _gaps(total + len(counts), spacing, cv, _generator(seed))
    owner = np.repeat(np.arange(len(counts)), counts + 1)
    reached = np.cumsum(gaps)
    last = np.cumsum(counts + 1) - 1
    before = np.concatenate(([0.0], reached[last[:-1]]))
    whole = (reached[last] - before)[owner]
    # Gamma gaps of a high cv underflow to 0; where all of an interval do, its arrivals come at once.
    share = np.divide(reached - before[owner], whole, out=np.zeros_like(reached), where=whole > 0)
    inner = np.ones(len(gaps), dtype=bool)
    inner[last] = False
    arrivals: Floats = np.sort((start_s[owner] + share * interval_s[owner])[inner])
    return arrivals


def _gaps(count: int, spacing: Spacing, cv: float, rng: np.random.Generator) -> Floats:
    if spacing == "uniform":
        return np.ones(count)
    if spacing == "gamma":
        return rng.gamma(cv**-2, cv**2, count)
    return rng.exponential(1.0, count)


def _along(times: Floats, expected: Floats, seed: int) -> Floats:
    """Draw a Poisson process whose expected count up to ``times[i]`` is ``expected[i]``, by inversion."""
    rng = _generator(seed)
    count = rng.poisson(expected[-1])
    arrivals: Floats = np.interp(np.sort(rng.random(count)) * expected[-1], expected, times)
    return arrivals


def _grid(duration_s: float) -> Floats:
    return np.linspace(0.0, duration_s, math.ceil(duration_s / _CURVE_STEP_S) + 1)


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"seed must not be negative, not {seed!r}")
    return np.random.Generator(np.random.PCG64(seed))


def _check(key: str, rate_rps: float, duration_s: float) -> None:
    _positive(key, rate_rps)
    _positive("duration_s", duration_s)
    _check_count(rate_rps * duration_s, f"{rate_rps:g} req/s for {duration_s:g} s")


def _check_count(expected: float, what: str) -> None:
    if expected > MAX_ARRIVALS:
        raise InputError(
            f"{what} are more than {MAX_ARRIVALS} arrivals",
            hint="shorten the trace or lower the rate",
        )


def _positive(key: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{key} must be a positive number, not {value!r}")


def _not_negative(key: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{key} must not be negative, not {value!r}")


def _trace(name: str, arrivals: Floats, duration_s: float, origin: str) -> TrafficTrace:
    if len(arrivals) == 0:
        raise InputError(
            f"{origin} for {duration_s:g} s gives no arrival", hint="raise the rate or the duration"
        )
    return TrafficTrace(name, np.asarray(arrivals, dtype=np.float64), duration_s, origin=origin)
