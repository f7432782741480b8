"""The event queue gives events back in order of time, then of number."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.simulation import events


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.5]), st.integers(0, 50)), max_size=40))
def test_events_leave_in_order_of_time_and_number(planned: list[tuple[float, int]]) -> None:
    queue = events.make(len(planned))
    for time_s, code in planned:
        events.push(queue, time_s, code)
    assert [events.pop(queue) for _ in planned] == sorted(planned)


@settings(deadline=None)
@given(st.data())
def test_order_holds_while_events_come_and_go(data: st.DataObject) -> None:
    queue, twin = events.make(30), []
    for code in range(30):
        time_s = data.draw(st.floats(0, 100))
        events.push(queue, time_s, code)
        twin.append((time_s, code))
        if data.draw(st.booleans()):
            assert events.next_time_s(queue) == min(twin)[0]
            assert events.pop(queue) == min(twin)
            twin.remove(min(twin))
    assert [events.pop(queue) for _ in range(len(twin))] == sorted(twin)


def test_an_empty_queue_has_nothing_before_the_end_of_time() -> None:
    assert events.next_time_s(events.make(3)) == float("inf")
