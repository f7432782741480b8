import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.grouping import batches_pay, best_group, overhead_tokens

LENGTHS = st.lists(st.integers(0, 500), min_size=1, max_size=40)


def gain(lengths, places, overhead):
    """What the requests cost one by one over what they cost together."""
    chosen = [lengths[place] for place in places]
    return (len(chosen) * overhead + sum(chosen)) / (overhead + len(chosen) * max(chosen))


@given(LENGTHS, st.integers(1, 9), st.floats(0.5, 100))
def test_a_group_has_the_oldest_and_keeps_the_order(lengths, most, overhead):
    group = best_group(lengths, most, overhead)
    assert group[0] == 0
    assert group == sorted(set(group))
    assert len(group) <= most


@given(LENGTHS, st.integers(1, 9), st.floats(0.5, 100))
def test_no_group_of_neighbours_gains_more_over_its_requests_one_by_one(lengths, most, overhead):
    group = best_group(lengths, most, overhead)
    found = gain(lengths, group, overhead)
    assert found >= 1.0
    ordered = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(len(ordered)):
        for end in range(start + 1, min(start + most, len(ordered)) + 1):
            if 0 in ordered[start:end]:
                assert gain(lengths, ordered[start:end], overhead) <= found * (1 + 1e-9)


def test_a_short_request_takes_no_longer_one_along_that_would_be_padded_to():
    assert best_group([8, 42], most=2, overhead=15) == [0]
    assert best_group([8, 10], most=2, overhead=15) == [0, 1]


def test_a_long_request_is_not_padded_to_by_short_ones():
    assert best_group([10, 250, 11, 12], most=8, overhead=15) == [0, 2, 3]
    assert best_group([250, 10, 11, 12], most=8, overhead=15) == [0]


def test_equal_lengths_fill_the_batch():
    assert best_group([7] * 20, most=8, overhead=0.5) == list(range(8))


def test_a_costly_run_takes_whatever_is_there():
    assert best_group([10, 40, 20, 30], most=4, overhead=10_000) == [0, 1, 2, 3]


def test_overhead_is_half_of_what_the_first_copy_costs_more_than_the_others():
    assert overhead_tokens(alone_s=0.003, full_s=0.010, size=8, length=20) == pytest.approx(20)
    assert overhead_tokens(alone_s=0.001, full_s=0.010, size=8, length=20) == 0.5
    assert overhead_tokens(alone_s=0.001, full_s=0.001, size=8, length=20) == 160


def test_batches_do_not_pay_when_they_take_as_long_as_their_parts():
    assert batches_pay(alone_s=1.0, full_s=4.0, size=8)
    assert not batches_pay(alone_s=1.0, full_s=8.0, size=8)
