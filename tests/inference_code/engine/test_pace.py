"""What the front learns of its workers' speed decides whom it takes."""

from __future__ import annotations

import pytest

from inference_code.contract import ServingConfig
from inference_code.engine.frames import Report
from inference_code.engine.pace import Pace


@pytest.fixture
def pace() -> Pace:
    pace = Pace(ServingConfig(queue_limit=100))
    pace.begin(max_batch=4, slowest_s=0.0, batch_effect=None)
    pace.count(2)
    return pace


def batch(size: int, seconds: float) -> Report:
    return Report(size, 0, 0.0, 0.0, seconds, 0.0)


def test_takes_all_that_the_workers_can_compute_at_once(pace: Pace) -> None:
    pace.learn(batch(4, 9.0), waiting=0)
    assert pace.refusal(unanswered=7, limit_s=1.0) is None


def test_refuses_whom_the_measured_pace_cannot_answer_in_time(pace: Pace) -> None:
    pace.learn(batch(4, 0.5), waiting=0)
    refusal = pace.refusal(unanswered=8, limit_s=0.6)
    assert refusal is not None
    assert refusal.reason == "too slow"
    assert refusal.retry_after_s >= 1.0
    assert pace.refusal(unanswered=8, limit_s=1.0) is None


def test_a_full_queue_refuses_whatever_the_deadline(pace: Pace) -> None:
    refusal = pace.refusal(unanswered=108, limit_s=1e9)
    assert refusal is not None
    assert refusal.reason == "queue full"


def test_part_full_batches_under_load_count_by_their_pace(pace: Pace) -> None:
    pace.learn(batch(2, 0.1), waiting=5)
    assert pace.batch_s == pytest.approx(0.2)


def test_part_full_batches_of_an_idle_server_teach_nothing_new(pace: Pace) -> None:
    pace.learn(batch(4, 0.2), waiting=0)
    pace.learn(batch(1, 0.1), waiting=0)
    assert pace.batch_s == pytest.approx(0.2)


def test_one_stall_does_not_turn_away_all_who_come_after_it(pace: Pace) -> None:
    pace.learn(batch(4, 0.1), waiting=0)
    pace.learn(batch(1, 50.0), waiting=5)
    assert pace.refusal(unanswered=16, limit_s=1.0) is None


def test_a_model_that_has_become_slow_is_noticed_within_a_dozen_batches(pace: Pace) -> None:
    pace.learn(batch(4, 0.01), waiting=0)
    for _ in range(12):
        pace.learn(batch(4, 1.0), waiting=0)
    assert pace.batch_s > 0.5
