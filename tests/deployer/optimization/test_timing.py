"""Taking turns: warm, in the same rounds, and no longer than there is something to win."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployer.optimization.timing import (
    BRIEF_ROUNDS,
    FEW_ROUNDS,
    MAX_ROUNDS,
    able_to_win,
    compare,
)

pytestmark = pytest.mark.optimize


class Clock:
    """Stands still except while a twin of a session runs."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Twin:
    """A model that takes ``warm`` seconds where it ran last, a second more where another did."""

    last: Twin | None = None

    def __init__(self, clock: Clock, warm: float) -> None:
        self.clock, self.warm, self.runs = clock, warm, 0

    def run(self, feeds: Any) -> None:
        self.clock.now += self.warm + (Twin.last is not self)
        Twin.last = self
        self.runs += 1


CASES: dict[str, Any] = {"batch 1": {}, "batch 8": {}}


def timed(**warm: float) -> tuple[dict[str, Any], dict[str, Twin]]:
    clock = Clock()
    fp32, twins = Twin(clock, 4.0), {name: Twin(clock, s) for name, s in warm.items()}
    found: Any = compare(fp32, twins, CASES, clock=clock)  # type: ignore[arg-type]
    return found, twins


def test_each_is_timed_with_its_own_weights_in_the_caches() -> None:
    found, _ = timed(a=2.0, b=1.0)
    assert found["a"].median == pytest.approx(2.0)
    assert found["b"].median == pytest.approx(4.0)
    assert found["b"].fp32_ms == {
        "batch 1": pytest.approx(4000.0),
        "batch 8": pytest.approx(4000.0),
    }


def test_those_that_cannot_win_stop_early_and_keep_their_interval() -> None:
    found, twins = timed(slow=5.0, fast=1.0)
    warm_up, per_round = 2 * len(CASES), 2 * len(CASES)
    assert twins["slow"].runs == warm_up + FEW_ROUNDS * per_round
    assert twins["fast"].runs == warm_up + MAX_ROUNDS * per_round
    assert (found["slow"].low, found["slow"].high) == pytest.approx((0.8, 0.8))


@pytest.mark.parametrize("right", [{}, {"right": 1.0}])
def test_what_is_wrong_is_timed_briefly_and_stops_nobody(right: dict[str, float]) -> None:
    clock = Clock()
    fp32, wrong = Twin(clock, 4.0), {"wrong": Twin(clock, 0.5)}
    twins = {name: Twin(clock, s) for name, s in right.items()}
    found: Any = compare(fp32, twins, CASES, clock=clock, brief=wrong)  # type: ignore[arg-type]
    assert (found["wrong"].median, found["wrong"].rounds) == (pytest.approx(8.0), BRIEF_ROUNDS)
    assert found["wrong"].brief
    per_round = 2 * len(CASES)
    assert wrong["wrong"].runs == per_round * (1 + BRIEF_ROUNDS)
    if right:
        assert (found["right"].median, found["right"].rounds) == (pytest.approx(4.0), MAX_ROUNDS)


def test_only_what_is_clearly_behind_cannot_win() -> None:
    ratios = {
        "fastest": np.array([2.9, 3.0, 3.1]),
        "near": np.array([2.0, 2.2, 2.4]),
        "far": np.array([1.0, 1.1, 2.3]),
    }
    assert able_to_win(ratios) == ["fastest", "near"]
    assert able_to_win({}) == []
