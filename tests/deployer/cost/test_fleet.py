from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cost.fleet import billed_instance_s, lcu_hours
from deployer.runs import CapacityTimeline, Run


def timeline(steps: Sequence[tuple[float, int]]) -> CapacityTimeline:
    times, counts = (np.array(column, dtype=float) for column in zip(*steps, strict=True))
    return CapacityTimeline(times, counts, counts)


@pytest.mark.parametrize(
    ("steps", "billed_s"),
    [
        ([(0, 1)], 1000),
        ([(0, 1), (100, 2)], 1900),
        ([(0, 1), (100, 2), (400, 1)], 1300),
        ([(0, 1), (100, 2), (110, 1)], 1060),  # lives 10 s, is billed 60
        ([(0, 1), (100, 3), (130, 1)], 1120),  # two live 30 s each
        ([(0, 2), (10, 1)], 1060 - 50),  # launched before the trace: no minute is due
        ([(0, 1), (990, 2)], 1010),  # still runs at the end
        ([(0, 1), (100, 2), (150, 3), (160, 2), (400, 1)], 1000 + 300 + 60),  # newest ends first
        ([(0, 0), (100, 1), (200, 0)], 100),
    ],
)
def test_launch_is_billed_a_minute_at_least(
    steps: list[tuple[float, int]], billed_s: float
) -> None:
    assert billed_instance_s(timeline(steps), 1000.0) == pytest.approx(billed_s)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_bill_lies_between_the_integral_and_a_minute_more_a_launch(counts: list[int]) -> None:
    capacity = timeline([(20.0 * i, count) for i, count in enumerate(counts)])
    end_s = 20.0 * len(counts)
    integral = capacity.billed_instance_s(end_s)
    launches = sum(max(0, b - a) for a, b in itertools.pairwise(counts))
    assert integral <= billed_instance_s(capacity, end_s) <= integral + 60.0 * launches


def test_steps_a_minute_apart_are_billed_as_their_integral() -> None:
    capacity = timeline([(0, 1), (60, 4), (120, 2), (180, 5), (240, 1)])
    assert billed_instance_s(capacity, 300.0) == capacity.billed_instance_s(300.0)


def test_new_connections_count_while_they_dominate(make_run: Callable[..., Run]) -> None:
    assert lcu_hours(make_run(rps=50, duration_s=3600.0)) == pytest.approx(50 / 25)


def test_active_connections_count_for_long_requests(make_run: Callable[..., Run]) -> None:
    run = make_run(rps=10, duration_s=3600.0, latency_s=600.0)
    assert lcu_hours(run) == pytest.approx(10 * 600 / 3000)


def test_bytes_count_for_large_requests(make_run: Callable[..., Run]) -> None:
    run = make_run(rps=1, duration_s=3600.0, request_bytes=2**20, response_bytes=2**20)
    assert lcu_hours(run) == pytest.approx(3600 * 2 * 2**20 / 2**30)


def test_each_hour_takes_its_own_largest_dimension(make_run: Callable[..., Run]) -> None:
    busy = make_run(rps=50, duration_s=3600.0)
    both = make_run(rps=50, duration_s=7200.0)
    sizes = np.where(both.intended_s < 3600, 0, 2**17)
    heavy = Run(
        "simulated",
        7200.0,
        both.intended_s,
        both.done_s,
        both.status,
        sizes,
        np.zeros_like(sizes),
        both.capacity,
    )
    second_hour = 50 * 3600 * 2**17 / 2**30
    assert lcu_hours(heavy) == pytest.approx(lcu_hours(busy) + second_hour)
    assert second_hour > 2


def test_part_of_an_hour_counts_as_that_part(make_run: Callable[..., Run]) -> None:
    assert lcu_hours(make_run(rps=50, duration_s=5400.0)) == pytest.approx(1.5 * 50 / 25)


def test_unanswered_requests_open_connections_too(make_run: Callable[..., Run]) -> None:
    run = make_run(rps=50, duration_s=60.0)
    lost = Run(
        "simulated",
        60.0,
        run.intended_s,
        np.full(run.offered, np.nan),
        np.zeros(run.offered, np.int16),
        run.request_bytes,
        np.zeros(run.offered, np.int64),
        run.capacity,
    )
    assert lcu_hours(lost) == pytest.approx(60 / 3600 * 50 / 25)


@given(st.floats(0.5, 30), st.floats(30, 9000))
def test_units_grow_with_traffic_in_proportion(rps: float, duration_s: float) -> None:
    def hours(requests: int) -> float:
        times = np.linspace(0, duration_s, requests, endpoint=False)
        size, status = np.full(requests, 1000), np.full(requests, 200)
        fleet = CapacityTimeline.fixed(1)
        return lcu_hours(
            Run("simulated", duration_s, times, times + 0.01, status, size, size, fleet)
        )

    count = max(1, round(rps * duration_s))
    assert hours(3 * count) == pytest.approx(3 * hours(count))
