"""Ticks of the axes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.report.plots.canvas import decimal, even_ticks, log_ticks


@given(st.floats(1e-6, 1e6))
def test_even_ticks_start_at_zero_and_reach_the_top(high: float) -> None:
    ticks = even_ticks(high)
    assert ticks[0] == 0
    assert ticks[-1] >= high * 0.999
    assert 3 <= len(ticks) <= 8


@given(st.floats(1e-4, 1e5), st.floats(1.8, 1e4))
def test_log_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert all(low <= t <= low * ratio for t in ticks)
    assert len(ticks) <= 10


def test_log_ticks_are_one_two_five() -> None:
    assert log_ticks(40, 1200) == [50, 100, 200, 500, 1000]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.005, "0.005"), (2000, "2,000"), (1e-6, "0.000001"), (0.1, "0.1")],
)
def test_ticks_have_no_exponent(value: float, text: str) -> None:
    assert decimal(value) == text
