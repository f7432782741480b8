from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from inference_code import policy

COUNTS = st.integers(0, 10_000)
SECONDS = st.floats(0, 1e4)


@given(COUNTS, SECONDS, st.integers(1, 512), SECONDS)
def test_a_batch_is_never_larger_than_the_queue_or_the_limit(queued, wait_s, max_batch, max_wait_s):
    size = policy.batch_size(queued, wait_s, max_batch, max_wait_s)
    assert 0 <= size <= min(queued, max_batch)


@given(st.integers(1, 10_000), SECONDS, st.integers(1, 512))
def test_without_a_wait_limit_nothing_waits(queued, wait_s, max_batch):
    assert policy.batch_size(queued, wait_s, max_batch, 0.0) > 0


@given(SECONDS, SECONDS, SECONDS, st.integers(1, 512))
def test_a_capped_batch_leaves_half_of_the_objective_to_the_one_before(
    objective_s, alone_s, more_s, max_batch
):
    cap = policy.batch_cap(objective_s, alone_s, alone_s + more_s, max_batch)
    assert 1 <= cap <= max_batch
    if cap > 1 and alone_s <= objective_s and alone_s + more_s > alone_s:
        took_s = alone_s + more_s * (cap - 1) / max(1, max_batch - 1)
        assert took_s <= 0.5 * objective_s * (1 + 1e-9)
    if alone_s > objective_s:
        assert cap == max_batch


def test_no_wait_where_no_other_request_is_likely_to_come():
    assert policy.useful_wait_s(0.01, 1.0, gap_s=0.5) == 0.0
    assert policy.useful_wait_s(0.01, 1.0, gap_s=0.001) == 0.01
    assert policy.useful_wait_s(0.01, 0.004, gap_s=0.001) == 0.002


@given(COUNTS, COUNTS, SECONDS, SECONDS)
def test_a_full_queue_admits_nothing(queued, limit, wait_s, deadline_s):
    if policy.admit(queued, limit, wait_s, deadline_s):
        assert queued < limit
        assert wait_s <= deadline_s


@given(COUNTS, st.integers(1, 8), st.integers(1, 64), SECONDS)
def test_the_predicted_wait_grows_with_the_queue(queued, workers, max_batch, batch_s):
    now = policy.predicted_wait_s(queued, workers, workers, max_batch, batch_s)
    later = policy.predicted_wait_s(queued + 1, workers, workers, max_batch, batch_s)
    assert 0 <= now <= later


@given(SECONDS)
def test_retry_after_is_between_a_second_and_a_minute(wait_s):
    assert 1 <= policy.retry_after_s(wait_s) <= 60


def test_numba_compiles_the_same_functions_to_the_same_answers():
    arguments = [
        (q, w, b, m) for q in (0, 1, 8, 9) for w in (0.0, 0.1) for b in (1, 8) for m in (0.0, 0.05)
    ]
    compiled = njit(policy.batch_size)
    assert [compiled(*a) for a in arguments] == [policy.batch_size(*a) for a in arguments]
    for cap in ((0.1, 0.01, 0.2, 8), (0.1, 0.2, 0.4, 8), (0.1, 0.06, 0.2, 8)):
        assert njit(policy.batch_cap)(*cap) == policy.batch_cap(*cap)
    assert njit(policy.useful_wait_s)(0.01, 1.0, 0.001) == 0.01
    assert njit(policy.admit)(3, 4, 0.1, 0.2) is True
    assert njit(policy.predicted_wait_s)(16, 1, 1, 8, 0.5) == policy.predicted_wait_s(
        16, 1, 1, 8, 0.5
    )
