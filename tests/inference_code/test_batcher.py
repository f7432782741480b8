import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.batcher import Batcher, Objective, ServiceTimes, Waiting


def filled(lengths, max_batch=4, overhead=10.0, **options):
    batcher = Batcher(max_batch, overhead=overhead, **options)
    for number, length in enumerate(lengths):
        batcher.add(Waiting(number, float(number), length))
    return batcher


def taken(batcher, now=1000.0):
    return [waiting.item for waiting in batcher.take(now)]


def test_a_batch_is_the_oldest_and_those_nearest_to_it_in_length():
    assert taken(filled([10, 90, 11, 50, 9, 12])) == [0, 2, 4, 5]


def test_without_lengths_the_order_is_kept():
    batcher = filled([5, 1, 4, 2, 3], overhead=None)
    assert taken(batcher) == [0, 1, 2, 3]
    assert taken(batcher) == [4]


def test_a_lone_request_waits_only_if_told_to():
    assert taken(filled([1])) == [0]
    patient = filled([1], max_wait_s=0.5)
    assert patient.take(0.4) == []
    assert patient.wait_s(0.4) == 0.5 - 0.4
    assert taken(patient, now=0.5) == [0]


def test_a_suspect_runs_alone():
    batcher = filled([1, 1])
    batcher.add(Waiting("suspect", 2.0, 1, alone=True))
    batcher.add(Waiting("after", 3.0, 1))
    assert taken(batcher) == [0, 1, "after"]
    assert taken(batcher) == ["suspect"]


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=60),
    st.integers(1, 9),
    st.none() | st.floats(0.5, 1000),
)
def test_every_request_is_taken_once_and_the_oldest_is_always_in(lengths, max_batch, overhead):
    batcher = filled(lengths, max_batch, overhead)
    waiting = list(range(len(lengths)))
    while waiting:
        batch = taken(batcher)
        assert waiting[0] in batch
        assert 1 <= len(batch) <= max_batch
        waiting = [number for number in waiting if number not in batch]
    assert len(batcher) == 0


def test_the_more_urgent_go_first_and_equals_keep_their_order():
    batcher = Batcher(2)
    for number, urgency in enumerate([3, 3, 0, 7, 0]):
        batcher.add(Waiting(number, float(number), urgency=urgency))
    assert [taken(batcher) for _ in range(3)] == [[2, 4], [0, 1], [3]]


def test_an_objective_keeps_batches_small_enough():
    objective = Objective(0.1, ServiceTimes(alone_s=0.02, full_s=0.09, max_batch=8))
    batcher = filled([1] * 9, max_batch=8, overhead=None, objective=objective)
    assert len(taken(batcher)) == 4  # 20 + 3 x 10 ms is half of the objective


def test_what_batches_take_is_learned_by_size():
    times = ServiceTimes(alone_s=0.02, full_s=0.09, max_batch=8)
    objective = Objective(0.1, times)
    for _ in range(200):
        times.learn(1, 0.01)
        times.learn(8, 0.045)
    assert objective.cap() == 8
    assert times.of(4) == pytest.approx(0.025)
    for _ in range(200):
        times.learn(8, 0.2)
    assert objective.cap() < 4


def test_with_an_objective_a_lone_client_does_not_pay_the_wait():
    objective = Objective(1.0, ServiceTimes(alone_s=0.01, full_s=0.04, max_batch=4))
    batcher = filled([], overhead=None, max_wait_s=0.05, objective=objective)
    for turn in range(40):
        batcher.add(Waiting(turn, turn * 0.2))
        batcher.take(turn * 0.2 + 0.05)
    batcher.add(Waiting("last", 8.0))
    assert taken(batcher, now=8.0) == ["last"]
