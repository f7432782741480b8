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
    assert njit(policy.admit)(3, 4, 0.1, 0.2) is True
    assert njit(policy.predicted_wait_s)(16, 1, 1, 8, 0.5) == policy.predicted_wait_s(
        16, 1, 1, 8, 0.5
    )
