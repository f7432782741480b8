"""Percentiles and intervals against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import stats


def test_percentile_is_an_observed_value_with_q_percent_at_or_below() -> None:
    values = np.arange(1.0, 101.0)
    assert stats.percentile(values, 99) == 99.0
    assert stats.percentile(values, 50) == 50.0
    assert stats.percentile(values, 100) == 100.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.1, 100))
def test_percentile_covers_at_least_its_share(values: list[float], q: float) -> None:
    data = np.array(values)
    at = stats.percentile(data, q)
    assert at in data
    assert np.count_nonzero(data <= at) >= q / 100 * len(data) - 1e-9


def test_p99_is_stated_only_from_a_thousand_samples() -> None:
    assert stats.summarize_ms(np.full(999, 0.01)).p99 is None
    assert stats.summarize_ms(np.full(1000, 0.01)).p99 == pytest.approx(10.0)


def test_no_samples_have_no_percentiles() -> None:
    assert stats.summarize_ms(np.array([])) == stats.LatencySummary(0, None, None, None, None)


def test_interval_of_known_values() -> None:
    interval = stats.mean_interval(np.array([1.0, 2.0, 3.0, 4.0]), 0.95)
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(1.959964 * 1.2909944 / 2, rel=1e-5)
    assert interval.relative == pytest.approx(interval.half_width / 2.5)


def test_one_value_has_no_finite_interval() -> None:
    assert stats.mean_interval(np.array([3.0])).half_width == math.inf


def test_interval_of_a_few_values_is_students() -> None:
    # 1, 2, 3: standard deviation 1, t with two degrees of freedom 4.303
    assert stats.student_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3))
    assert stats.student_half_width([5.0]) == math.inf


def test_students_interval_covers_the_mean_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 5, 40):
        samples = rng.normal(10.0, 2.0, (4000, size))
        hits = [abs(s.mean() - 10.0) <= stats.student_half_width(s.tolist()) for s in samples]
        assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
