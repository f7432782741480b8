"""Arrival laws have the rates, gaps and shapes that they promise, and equal seeds give equal traces."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.traffic import arrivals
from deployer.traffic.trace import TrafficTrace

SEEDED: list[Callable[[int], TrafficTrace]] = [
    lambda seed: arrivals.poisson(20.0, 500.0, seed),
    lambda seed: arrivals.gamma(20.0, 500.0, 3.0, seed),
    lambda seed: arrivals.daily(2.0, 1.8, seed),
    lambda seed: arrivals.ramp(5.0, 35.0, 500.0, seed),
    lambda seed: arrivals.steps([(100.0, 5.0), (100.0, 50.0)], seed),
]


def cv_of_gaps(trace: TrafficTrace) -> float:
    gaps = np.diff(trace.arrival_s)
    return float(gaps.std() / gaps.mean())


@pytest.mark.parametrize("make", SEEDED)
def test_equal_seeds_give_equal_traces_and_others_do_not(
    make: Callable[[int], TrafficTrace],
) -> None:
    assert make(3).digest == make(3).digest
    assert make(3).digest != make(4).digest


@pytest.mark.parametrize("make", SEEDED)
def test_a_trace_names_its_law_and_seed(make: Callable[[int], TrafficTrace]) -> None:
    assert "seed 3" in make(3).origin


def test_poisson_gaps_vary_as_much_as_their_mean_and_counts_as_their_root() -> None:
    trace = arrivals.poisson(200.0, 500.0, 1)
    assert trace.mean_rps == pytest.approx(200.0, rel=0.02)
    assert cv_of_gaps(trace) == pytest.approx(1.0, abs=0.02)
    per_second = np.histogram(trace.arrival_s, bins=500, range=(0, 500))[0]
    assert per_second.var() / per_second.mean() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("cv", [0.3, 1.0, 4.0])
def test_gamma_gaps_have_the_variation_asked_for(cv: float) -> None:
    trace = arrivals.gamma(100.0, 2000.0, cv, 1)
    assert trace.mean_rps == pytest.approx(100.0, rel=0.03)
    assert cv_of_gaps(trace) == pytest.approx(cv, rel=0.05)


def test_constant_arrivals_stand_at_equal_distances_from_zero() -> None:
    trace = arrivals.constant(10.0, 1.0)
    assert trace.arrival_s == pytest.approx(np.arange(10) / 10)
    assert trace.duration_s == 1.0


def test_the_daily_curve_peaks_where_and_as_high_as_asked() -> None:
    trace = arrivals.daily(20.0, 1.8, seed=1, peak_s=14 * 3600)
    hours = np.histogram(trace.arrival_s, bins=24, range=(0, 86400))[0] / 3600
    at = np.arange(24) * 3600 + 1800
    expected = 20.0 * (1 + 0.8 * np.cos(2 * math.pi * (at - 14 * 3600) / 86400))
    assert hours == pytest.approx(expected, rel=0.05)
    assert trace.mean_rps == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize("peak_to_mean", [1.0, 1.5, 2.0, 2.1, 3.0, 10.6, 50.0])
def test_any_peak_keeps_the_mean_of_the_day(peak_to_mean: float) -> None:
    trace = arrivals.daily(20.0, peak_to_mean, seed=1, peak_s=43_200.0)
    around_noon = np.sum(np.abs(trace.arrival_s - 43_200.0) < 300.0) / 600.0
    assert trace.mean_rps == pytest.approx(20.0, rel=0.01)
    assert around_noon == pytest.approx(20.0 * peak_to_mean, rel=0.04)


def test_the_daily_curve_peaks_at_two_in_the_afternoon_of_its_clock() -> None:
    ten = datetime(2026, 3, 2, 10, tzinfo=UTC)
    late = arrivals.make("daily", rate=5.0, duration_s=86_400.0, seed=3, start=ten)
    hours = np.histogram(late.arrival_s, bins=24, range=(0.0, 86_400.0))[0]
    assert late.start == ten
    # 14:00 is four hours after the start, 2:00 sixteen hours: the highest and the lowest two hours
    assert hours[3:5].sum() == max(hours[i : i + 2].sum() for i in range(23))
    assert hours[15:17].sum() == min(hours[i : i + 2].sum() for i in range(23))


def test_a_day_from_midnight_is_the_day_without_a_start() -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    days = [
        arrivals.make("daily", rate=1.0, duration_s=86_400.0, seed=3, start=start)
        for start in (None, midnight)
    ]
    assert days[0].arrival_s.tolist() == days[1].arrival_s.tolist()


def test_a_part_of_the_day_is_that_part_of_the_curve() -> None:
    trace = arrivals.daily(20.0, 2.0, seed=1, duration_s=3600.0, peak_s=0.0)
    assert trace.mean_rps == pytest.approx(40.0, rel=0.05)


def test_a_ramp_goes_from_its_first_to_its_last_rate() -> None:
    trace = arrivals.ramp(10.0, 110.0, 1000.0, 1)
    tenths = np.histogram(trace.arrival_s, bins=10, range=(0, 1000))[0] / 100
    assert tenths == pytest.approx(10 + 10 * (np.arange(10) + 0.5), rel=0.1)


def test_steps_hold_their_rates_and_may_rest() -> None:
    trace = arrivals.steps([(100.0, 50.0), (100.0, 0.0), (100.0, 200.0)], 1)
    counts = np.histogram(trace.arrival_s, bins=3, range=(0, 300))[0] / 100
    assert counts == pytest.approx([50.0, 0.0, 200.0], rel=0.05)
    assert trace.duration_s == 300.0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: arrivals.constant(0.0, 1.0), "rate_rps must be a positive number, not 0"),
        (lambda: arrivals.poisson(-1.0, 1.0, 0), "rate_rps must be a positive number, not -1"),
        (lambda: arrivals.poisson(math.nan, 1.0, 0), "rate_rps must be a positive number"),
        (lambda: arrivals.poisson(1.0, math.inf, 0), "duration_s must be a positive number"),
        (lambda: arrivals.poisson(1.0, 1.0, -1), "seed must not be negative"),
        (lambda: arrivals.poisson(1e9, 1e9, 0), "more than 100000000 arrivals"),
        (lambda: arrivals.poisson(1e-9, 1.0, 0), "gives no arrival"),
        (lambda: arrivals.gamma(1.0, 1.0, 0.0, 0), "cv must be a positive number"),
        (lambda: arrivals.daily(1.0, 0.5, 0), "peak_to_mean must lie between 1 and 50"),
        (lambda: arrivals.daily(1.0, 50.5, 0), "peak_to_mean must lie between 1 and 50"),
        (lambda: arrivals.daily(1.0, math.nan, 0), "peak_to_mean must lie between 1 and 50"),
        (lambda: arrivals.ramp(-1.0, 5.0, 1.0, 0), "start_rps must not be negative"),
        (lambda: arrivals.steps([(1.0, -1.0)], 0), "rate_rps must not be negative"),
        (lambda: arrivals.steps([(0.0, 1.0)], 0), "duration_s must be a positive number"),
        (lambda: arrivals.steps([], 0), "at least one level"),
    ],
)
def test_bad_numbers_are_named(make: Callable[[], TrafficTrace], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=20),
    st.sampled_from(["poisson", "gamma", "uniform"]),
    st.floats(0.2, 20.0),
    st.integers(0, 1000),
)
def test_every_count_lands_within_its_interval(
    counts: list[int], spacing: Any, cv: float, seed: int
) -> None:
    starts = 60.0 * np.arange(len(counts))
    lengths = np.full(len(counts), 60.0)
    found = arrivals.spread(starts, lengths, np.array(counts), spacing, cv, seed)
    edges = np.append(starts, starts[-1] + 60.0)
    assert len(found) == sum(counts)
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        assert (
            np.sum((found > low) & (found < high))
            <= count
            <= np.sum((found >= low) & (found <= high))
        )


@pytest.mark.parametrize(("spacing", "cv"), [("poisson", 1.0), ("gamma", 3.0)])
def test_spread_arrivals_vary_as_their_law_says(spacing: Any, cv: float) -> None:
    one = np.array([0.0]), np.array([1000.0]), np.array([50_000])
    found = arrivals.spread(*one, spacing, cv, 1)
    gaps = np.diff(found)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_uniform_spacing_is_even() -> None:
    found = arrivals.spread(np.array([10.0]), np.array([4.0]), np.array([3]), "uniform", 1.0, 0)
    assert found.tolist() == [11.0, 12.0, 13.0]


def test_an_unknown_spacing_is_refused() -> None:
    spacing: Any = "fractal"
    with pytest.raises(InputError, match="'fractal' is not one of poisson, gamma, uniform"):
        arrivals.spread(np.zeros(1), np.ones(1), np.ones(1, int), spacing, 1.0, 0)


@pytest.mark.parametrize("shape", arrivals.SHAPES)
def test_every_shape_can_be_made_by_name(shape: str) -> None:
    trace = arrivals.make(shape, rate=10.0, duration_s=300.0, seed=2, name="mine")
    assert trace.name == "mine"
    assert trace.duration_s == 300.0
    assert len(trace) > 500


def test_make_passes_peak_and_cv_on() -> None:
    ramp = arrivals.make("ramp", rate=10.0, duration_s=100.0, peak_rate=30.0)
    assert ramp.digest == arrivals.ramp(10.0, 30.0, 100.0, 0).digest
    bursty = arrivals.make("gamma", rate=10.0, duration_s=100.0, cv=4.0)
    assert bursty.digest == arrivals.gamma(10.0, 100.0, 4.0, 0).digest


@pytest.mark.parametrize(
    ("shape", "extra", "complaint"),
    [
        ("square", {}, "'square' is not one of constant"),
        ("poisson", {"peak_rate": 20.0}, "a poisson trace has no peak rate"),
        ("daily", {"cv": 2.0}, "a daily trace has no cv"),
        ("daily", {"rate": 0.0}, "rate must be a positive number"),
        ("ramp", {"peak_rate": math.nan}, "peak_rate"),
    ],
)
def test_make_refuses_what_a_shape_does_not_have(
    shape: str, extra: dict[str, float], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        arrivals.make(shape, **({"rate": 10.0, "duration_s": 10.0} | extra))
