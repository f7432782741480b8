"""TrafficTrace: what it refuses, windows of it, more or less of it, its digest."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.traffic import arrivals
from deployer.traffic.trace import TrafficTrace

SIZED = TrafficTrace(
    "sized", np.array([0.0, 1.0, 2.0, 2.0, 9.0]), 10.0, np.array([1, 2, 3, 4, 5]), None, "by hand"
)

TEN = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "duration_s", "complaint"),
    [
        ([], 1.0, "holds no arrival"),
        ([0.0, math.nan], 1.0, "not a finite number"),
        ([-1.0], 1.0, "not negative"),
        ([2.0, 1.0], 3.0, "sorted"),
        ([2.0], 1.0, "ends before the last arrival"),
        ([2.0], math.nan, "ends before the last arrival"),
    ],
)
def test_arrivals_that_make_no_sense_are_refused(
    times: list[float], duration_s: float, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        TrafficTrace("bad", np.array(times), duration_s)


@pytest.mark.parametrize("sizes", [[1], [1, -1]])
def test_sizes_must_be_one_non_negative_number_per_arrival(sizes: list[int]) -> None:
    with pytest.raises(InputError, match="payload_bytes"):
        TrafficTrace("bad", np.array([0.0, 1.0]), 1.0, np.array(sizes))


def test_a_slice_counts_from_its_start_and_keeps_its_sizes() -> None:
    part = SIZED.slice(1.0, 9.0)
    assert part.arrival_s.tolist() == [0.0, 1.0, 1.0]
    assert part.payload_bytes is not None
    assert part.payload_bytes.tolist() == [2, 3, 4]
    assert part.response_bytes is None
    assert part.duration_s == 8.0
    assert part.origin == "by hand; 1 to 9 s of it"


@pytest.mark.parametrize("window", [(-1.0, 5.0), (5.0, 5.0), (6.0, 5.0), (0.0, 10.1)])
def test_a_window_outside_the_trace_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="lasts from 0 to 10 s"):
        SIZED.slice(*window)


def test_a_window_without_an_arrival_is_refused() -> None:
    with pytest.raises(InputError, match="holds no arrival"):
        SIZED.slice(3.0, 9.0)


def test_once_the_traffic_is_the_traffic() -> None:
    same = SIZED.scaled(1.0)
    assert same.digest == SIZED.digest


@settings(deadline=None)
@given(st.floats(0.3, 4.0), st.integers(0, 100))
def test_scaled_traffic_has_the_rate_asked_for_over_the_same_time(factor: float, seed: int) -> None:
    trace = arrivals.poisson(50.0, 100.0, 1)
    more = trace.scaled(factor, seed)
    assert more.duration_s == trace.duration_s
    spread = 5 * math.sqrt(len(trace))  # five standard deviations of thinning, at most
    assert abs(len(more) - factor * len(trace)) <= spread
    assert np.all(np.diff(more.arrival_s) >= 0)


def test_doubled_traffic_holds_the_trace_itself_and_a_shifted_copy_with_its_sizes() -> None:
    double = SIZED.scaled(2.0)
    assert len(double) == 10
    assert set(SIZED.arrival_s) <= set(double.arrival_s)
    assert double.payload_bytes is not None
    assert sorted(double.payload_bytes.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_scaling_keeps_the_shape_of_a_day() -> None:
    day = arrivals.daily(5.0, 1.8, seed=1)
    hours = np.histogram(day.arrival_s, bins=24, range=(0, 86400))[0]
    doubled = np.histogram(day.scaled(2.0).arrival_s, bins=24, range=(0, 86400))[0]
    assert np.corrcoef(hours, doubled)[0, 1] > 0.99


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_factor_that_is_not_positive_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="factor must be a positive number"):
        SIZED.scaled(factor)


def test_the_digest_sees_times_sizes_and_duration() -> None:
    times = np.array([0.0, 1.0])
    sizes = np.array([1, 2])
    digests = {
        TrafficTrace("a", times, 1.0).digest,
        TrafficTrace("a", times, 2.0).digest,
        TrafficTrace("a", times + 0.5, 2.0).digest,
        TrafficTrace("a", times, 1.0, sizes).digest,
        TrafficTrace("a", times, 1.0, None, sizes).digest,
    }
    assert len(digests) == 5
    assert TrafficTrace("a", times, 1.0).digest == TrafficTrace("b", times, 1.0).digest


def test_the_digest_tells_the_time_of_day_and_is_as_before_without_one() -> None:
    bare = TrafficTrace("a", np.array([0.0, 1.0]), 1.0)
    # the value of the version before traces had a start
    assert bare.digest == "53abba38b51b96e912436e433c67c1c434dc7dfb4de75a63ead6ab1100c3d4cb"
    assert replace(bare, start=TEN).digest != bare.digest
    east = TEN.astimezone(timezone(timedelta(hours=2)))
    assert replace(bare, start=east).digest == replace(bare, start=TEN).digest


@given(st.floats(0.0, 8.9), st.floats(0.1, 4.0), st.integers(0, 99))
def test_a_slice_starts_later_and_scaled_traffic_at_the_same_time(
    start_s: float, factor: float, seed: int
) -> None:
    trace = replace(SIZED, start=TEN)
    assert trace.slice(start_s, 10.0).start == TEN + timedelta(seconds=start_s)
    times = np.linspace(0.0, 10.0, 200)
    assert TrafficTrace("a", times, 10.0, start=TEN).scaled(factor, seed).start == TEN
    assert SIZED.slice(start_s, 10.0).start is None


def test_a_start_is_kept_in_utc_and_must_say_its_offset() -> None:
    east = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=2)))
    start = replace(SIZED, start=east).start
    assert start is not None
    assert start.isoformat() == "2026-03-02T10:00:00+00:00"
    with pytest.raises(InputError, match="does not say its offset from UTC"):
        replace(SIZED, start=datetime(2026, 3, 2, 10))


def test_a_trace_takes_a_start_but_gives_none_up() -> None:
    known = SIZED.started_at(TEN)
    assert known.start == TEN
    assert known.started_at(TEN).start == TEN
    with pytest.raises(
        InputError, match="starts at 2026-03-02T10:00:00Z, not at 2026-03-02T11:00:00Z"
    ):
        known.started_at(TEN + timedelta(hours=1))
