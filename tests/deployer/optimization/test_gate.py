from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.optimization import metrics
from deployer.optimization.gate import accuracy_gate, cost_gate, latency_gate
from deployer.optimization.timing import Speedup, median_interval, speedup

pytestmark = pytest.mark.optimize


def answers(labels: np.ndarray, wrong: int) -> np.ndarray:
    """One-hot answers, the first ``wrong`` of them wrong."""
    given = labels.copy()
    given[:wrong] = (given[:wrong] + 1) % 10
    return np.eye(10, dtype=np.float32)[given]


def judge(rows: int, lost: int, max_drop: float = 0.01):  # type: ignore[no-untyped-def]
    labels = np.arange(rows) % 10
    metric = metrics.resolve("accuracy")
    before, after = answers(labels, 0), answers(labels, lost)
    return accuracy_gate(metric, after, before, labels, max_drop=max_drop, seed=0)


def test_no_change_on_many_rows_passes() -> None:
    assert judge(1000, 0).passed


def test_no_change_on_few_rows_is_too_few_to_tell() -> None:
    verdict = judge(50, 0)
    assert not verdict.passed
    assert "50 rows are too few" in verdict.reason


def test_gate_fails_on_the_worse_end_of_the_interval() -> None:
    verdict = judge(
        1000, 9
    )  # 0.9 points lost, 1 allowed, and a thousand rows cannot tell them apart
    assert verdict.value == pytest.approx(0.009)
    assert verdict.high > 0.01
    assert not verdict.passed


def test_clear_loss_is_called_more_than_allowed() -> None:
    assert "more than the allowed" in judge(1000, 100).reason


def test_interval_covers_the_true_drop_of_a_simulated_classifier() -> None:
    rng = np.random.default_rng(3)
    metric = metrics.resolve("accuracy")
    covered = 0
    for seed in range(200):
        labels = np.zeros(400, int)
        flips = rng.random(400)
        after = np.where((flips < 0.03)[:, None], np.eye(10)[1], np.eye(10)[0])
        before = np.where((flips > 0.99)[:, None], np.eye(10)[1], np.eye(10)[0])
        verdict = accuracy_gate(metric, after, before, labels, max_drop=0.1, seed=seed)
        covered += verdict.high >= 0.02  # true drop: 3% lost, 1% won
    assert covered >= 180  # nominal 95% one-sided: 190; six standard errors below would be 171


def test_nan_outputs_fail() -> None:
    metric = metrics.resolve("cosine")
    bad = np.full((30, 4), np.nan, np.float32)
    verdict = accuracy_gate(metric, bad, np.ones((30, 4)), None, max_drop=0.1, seed=0)
    assert not verdict.passed
    assert "NaN" in verdict.reason


def test_few_rows_of_a_continuous_metric_cannot_tell() -> None:
    ones = np.ones((5, 4), np.float32)
    verdict = accuracy_gate(metrics.resolve("cosine"), ones, ones, None, max_drop=0.1, seed=0)
    assert not verdict.passed
    assert math.isinf(verdict.high)


def test_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(100, 8))
    after = before + rng.normal(0, 0.1, (100, 8))
    first, second = (
        accuracy_gate(metrics.resolve("cosine"), after, before, None, max_drop=0.1, seed=5)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(("ratio", "passed"), [(1.3, True), (0.8, False), (1.0, False)])
def test_latency_gate_keeps_only_what_is_measurably_faster(ratio: float, passed: bool) -> None:
    fp32 = np.full((21, 2), 0.010) * (1 + 0.01 * np.sin(np.arange(21)))[:, None]
    measured = speedup(["batch 1", "batch 8"], fp32 * ratio, fp32[::-1])
    assert latency_gate(measured).passed is passed


SPEEDS = {
    "enough": (1.06, 1.02, 1.05, True, "1.06x FP32's speed (1.02 to 1.20)"),
    "just enough": (1.05, 1.02, 1.05, True, "1.05x FP32's speed (1.02 to 1.20)"),
    "too little": (1.01, 1.004, 1.05, False, "to 1.20): less than the least gain of 1.05x"),
    "perhaps none": (1.08, 0.99, 1.05, False, "to 1.20): not measurably faster"),
    "any gain asked": (1.01, 1.004, 1.0, True, "1.01x FP32's speed (1.00 to 1.20)"),
    "much asked": (1.4, 1.3, 1.5, False, "less than the least gain of 1.5x"),
}


@pytest.mark.parametrize("case", SPEEDS)
def test_latency_gate_asks_for_a_least_gain_and_says_so(case: str) -> None:
    median, low, least, passed, told = SPEEDS[case]
    verdict = latency_gate(Speedup(median, low, 1.2, {}, {}, 31), least)
    assert verdict.passed is passed
    assert verdict.reason.endswith(told)


def test_drift_that_hits_both_leaves_the_ratio_alone() -> None:
    drift = np.linspace(1, 5, 31)[:, None]
    measured = speedup(["batch 1"], 0.02 * drift, 0.01 * drift)
    assert measured.median == pytest.approx(2.0)
    assert measured.low == pytest.approx(2.0)
    assert measured.high == pytest.approx(2.0)


@given(st.lists(st.floats(0.1, 10), min_size=15, max_size=61))
def test_median_interval_holds_the_median(values: list[float]) -> None:
    ordered = np.sort(np.array(values))
    low, high = median_interval(ordered)
    assert low <= np.median(ordered) <= high


def test_median_interval_covers_the_true_median() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(500):
        low, high = median_interval(np.sort(rng.lognormal(0, 0.5, 31)))
        hits += low <= 1.0 <= high
    assert hits >= 460


def test_cost_gate_compares_money() -> None:
    assert cost_gate(Decimal("0.10"), Decimal("0.10")).passed
    assert not cost_gate(Decimal("0.11"), Decimal("0.10")).passed
