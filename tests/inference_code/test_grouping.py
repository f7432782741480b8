import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.grouping import batches_pay, best_group, overhead_tokens

LENGTHS = st.lists(st.integers(0, 500), min_size=1, max_size=40)


def padded_per_token(lengths, places, overhead):
    chosen = [lengths[place] for place in places]
    return (overhead + len(chosen) * max(chosen)) / max(1, sum(chosen))


@given(LENGTHS, st.integers(1, 9), st.floats(0.5, 100))
def test_a_group_has_the_oldest_and_keeps_the_order(lengths, most, overhead):
    group = best_group(lengths, most, overhead)
    assert group[0] == 0
    assert group == sorted(set(group))
    assert len(group) <= most


@given(LENGTHS, st.integers(1, 9), st.floats(0.5, 100))
def test_a_group_wastes_no_more_than_the_oldest_alone_or_those_nearest_to_it(
    lengths, most, overhead
):
    group = best_group(lengths, most, overhead)
    nearest = sorted(range(len(lengths)), key=lambda place: abs(lengths[place] - lengths[0]))
    for other in ([0], nearest[:most] if 0 in nearest[:most] else [0]):
        if lengths[0]:
            wasted = padded_per_token(lengths, group, overhead)
            assert wasted <= padded_per_token(lengths, other, overhead) * (1 + 1e-9)


def test_a_long_request_is_not_padded_to_by_short_ones():
    assert best_group([10, 250, 11, 12], most=8, overhead=15) == [0, 2, 3]
    assert best_group([250, 10, 11, 12], most=8, overhead=15) == [0]


def test_equal_lengths_fill_the_batch():
    assert best_group([7] * 20, most=8, overhead=0.5) == list(range(8))


def test_a_costly_run_takes_whatever_is_there():
    assert best_group([10, 40, 20, 30], most=4, overhead=10_000) == [0, 1, 2, 3]


def test_overhead_is_what_the_first_copy_costs_more_than_the_others():
    assert overhead_tokens(alone_s=0.003, full_s=0.010, size=8, length=20) == pytest.approx(40)
    assert overhead_tokens(alone_s=0.001, full_s=0.010, size=8, length=20) == 0.5
    assert overhead_tokens(alone_s=0.001, full_s=0.001, size=8, length=20) == 160


def test_batches_do_not_pay_when_they_take_as_long_as_their_parts():
    assert batches_pay(alone_s=1.0, full_s=4.0, size=8)
    assert not batches_pay(alone_s=1.0, full_s=8.0, size=8)
