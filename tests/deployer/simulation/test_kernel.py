"""The compiled decisions are the server's and the policies' own: equal answers on random questions."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer import autoscaler
from deployer.autoscaler import Alarms, Observation, StepRule, TrackingRule
from deployer.simulation import kernel, replica
from inference_code import policy

small = st.integers(0, 20)
sizes = st.integers(1, 64)
times = st.floats(0, 1e5)
alarms = st.builds(Alarms, small, small, small, times, times)
metrics = st.one_of(st.just(math.nan), st.floats(0, 1e6))

TRACKING = TrackingRule(100.0, 0.9, 3, 15, 300.0, 300.0, 1, 10, False)
STEPS = StepRule(
    50.0, np.array([-50.0, 0.0, 30.0]), np.array([-1, 1, 3]), 3, 15, 300.0, 1, 10, False
)


@settings(deadline=None)
@given(small, times, sizes, st.floats(0, 10))
def test_compiled_batching_forms_the_servers_batches(
    queued: int, waited_s: float, max_batch: int, max_wait_s: float
) -> None:
    question = (queued, waited_s, max_batch, max_wait_s)
    assert replica.batch_size(*question) == policy.batch_size(*question)


@settings(deadline=None)
@given(st.integers(0, 10_000), small, sizes, sizes, st.floats(0, 10), st.floats(0, 100), sizes)
def test_compiled_admission_lets_in_what_the_server_lets_in(
    queued: int,
    busy: int,
    workers: int,
    max_batch: int,
    batch_s: float,
    deadline_s: float,
    queue_limit: int,
) -> None:
    wait_s = policy.predicted_wait_s(queued, busy, workers, max_batch, batch_s)
    assert replica.predicted_wait_s(queued, busy, workers, max_batch, batch_s) == wait_s
    question = (queued, queue_limit, wait_s, deadline_s)
    assert replica.admit(*question) == policy.admit(*question)


@settings(deadline=None)
@given(times, metrics, small, st.integers(0, 5), alarms, st.booleans())
def test_compiled_policies_decide_as_the_plain_ones(
    now_s: float, metric: float, active: int, starting: int, state: Alarms, exclusive: bool
) -> None:
    seen = Observation(metric, float(active), active, active + starting)
    rule, steps = TRACKING._replace(exclusive=exclusive), STEPS._replace(exclusive=exclusive)
    assert kernel.track(now_s, seen, rule, state) == autoscaler.track(now_s, seen, rule, state)
    assert kernel.step(now_s, seen, steps, state) == autoscaler.step(now_s, seen, steps, state)
    assert kernel.wake(active, state) == autoscaler.wake(active, state)
    schedule = (np.array([0.5e5, 0.7e5]), np.array([active, starting]))
    assert kernel.scheduled(now_s, *schedule) == autoscaler.scheduled(now_s, *schedule)


def test_the_compiled_functions_are_the_very_same_ones() -> None:
    assert replica.batch_size.py_func is policy.batch_size
    assert replica.admit.py_func is policy.admit
    assert replica.predicted_wait_s.py_func is policy.predicted_wait_s
    assert kernel.track.py_func is autoscaler.track
    assert kernel.step.py_func is autoscaler.step
