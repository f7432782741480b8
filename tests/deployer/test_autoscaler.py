"""The scaling policies, period by period."""

from __future__ import annotations

import math
import operator
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer import autoscaler
from deployer.autoscaler import CALM, Alarms, Observation, StepRule, TrackingRule
from deployer.spec.scaling import Adjustment, QueueBacklog, Step, TargetTracking
from deployer.spec.target import Ec2Fleet, Local, SageMakerRealtime, Target

RULE = TrackingRule(
    target=100.0,
    low_ratio=0.9,
    high_periods=3,
    low_periods=15,
    out_cooldown_s=300.0,
    in_cooldown_s=300.0,
    min_instances=1,
    max_instances=10,
    exclusive=False,
)
STEPS = StepRule(
    threshold=50.0,
    above=np.array([-50.0, -20.0, 0.0, 30.0]),
    change=np.array([-1, 0, 1, 3]),
    high_periods=3,
    low_periods=15,
    cooldown_s=300.0,
    min_instances=1,
    max_instances=10,
    exclusive=False,
)


def follow(metrics: list[float], capacity: int, rule: TrackingRule = RULE) -> list[int]:
    """Feed one metric a minute to a fleet whose instances start at once; return its capacities."""
    state, capacities = CALM, []
    for minute, metric in enumerate(metrics, start=1):
        seen = Observation(metric, float(capacity), capacity, capacity)
        capacity, state = autoscaler.track(60.0 * minute, seen, rule, state)
        capacities.append(capacity)
    return capacities


def test_scale_out_waits_for_three_periods_above_the_target() -> None:
    assert follow([250.0, 250.0, 250.0], 2) == [2, 2, 5]


def test_a_period_at_the_target_calms_the_alarm() -> None:
    assert follow([250.0, 250.0, 100.0, 250.0, 250.0], 2) == [2] * 5


def test_a_missing_metric_calms_both_alarms() -> None:
    assert follow([250.0, 250.0, math.nan, 250.0, 250.0], 2) == [2] * 5
    assert follow([10.0] * 14 + [math.nan] + [10.0] * 14, 5) == [5] * 29


def test_scale_out_stops_at_the_upper_bound() -> None:
    assert follow([10_000.0] * 3, 2)[-1] == RULE.max_instances


def test_scale_in_waits_for_fifteen_periods_below_nine_tenths_of_the_target() -> None:
    assert follow([10.0] * 15, 5) == [5] * 14 + [4]
    assert follow([91.0] * 60, 5) == [5] * 60


def test_scale_in_takes_one_instance_per_cooldown() -> None:
    capacities = follow([10.0] * 26, 5)
    assert capacities[14] == 4
    assert capacities[15:19] == [4] * 4  # 300 s after minute 15 is minute 20
    assert capacities[19] == 3
    assert capacities[24] == 2


def test_scale_in_stops_at_the_lower_bound() -> None:
    assert follow([0.0] * 120, 3)[-1] == RULE.min_instances


def test_scale_in_keeps_an_instance_without_which_the_rest_would_exceed_the_target() -> None:
    # two instances at 60 make 120 for one; three at 60 make 90 for two
    assert follow([60.0] * 30, 2) == [2] * 30
    assert follow([60.0] * 15, 3)[-1] == 2


def test_an_empty_queue_may_take_the_last_instance_when_the_bound_is_zero() -> None:
    rule = RULE._replace(min_instances=0)
    assert follow([0.0] * 15, 1, rule)[-1] == 0
    assert follow([0.1] * 60, 1, rule)[-1] == 1


def test_a_scale_out_remembers_its_base_and_begins_its_cooldown() -> None:
    state = Alarms(high=2, low=0, base=9, out_until_s=0.0, in_until_s=0.0)
    capacity, state = autoscaler.track(180.0, Observation(250.0, 2.0, 2, 2), RULE, state)
    assert (capacity, state.base, state.out_until_s) == (5, 2, 480.0)


def test_within_the_cooldown_only_a_larger_step_from_the_old_base_goes_further() -> None:
    state = Alarms(high=3, low=0, base=2, out_until_s=400.0, in_until_s=0.0)
    # the cooldown began with 2 -> 5 (+3); all five now see 150: +3 again is not larger
    assert autoscaler.track(180.0, Observation(150.0, 5.0, 5, 5), RULE, state)[0] == 5
    # 190 asks for 10, +5 from the base: two more than were added
    assert autoscaler.track(180.0, Observation(190.0, 5.0, 5, 5), RULE, state)[0] == 7
    assert autoscaler.track(400.0, Observation(150.0, 5.0, 5, 5), RULE, state)[0] == 8


def test_instances_that_start_count_as_capacity_but_not_in_the_metric() -> None:
    state = Alarms(high=3, low=0, base=2, out_until_s=0.0, in_until_s=0.0)
    # two active at 250 need five in all, and five are wanted already
    assert autoscaler.track(60.0, Observation(250.0, 2.0, 2, 5), RULE, state)[0] == 5
    assert autoscaler.track(60.0, Observation(350.0, 2.0, 2, 5), RULE, state)[0] == 7


def test_instances_new_in_service_do_not_multiply_the_load_of_the_period_before() -> None:
    # one instance carried 250 a minute all through the period; now three are in service
    state = Alarms(high=9, low=0, base=1, out_until_s=0.0, in_until_s=0.0)
    assert autoscaler.track(60.0, Observation(250.0, 1.0, 3, 3), RULE, state)[0] == 3


def test_rounding_of_a_metric_at_the_target_raises_no_alarm() -> None:
    noisy = reduce(operator.add, [1 / 6] * 600)  # sum() rounds better from Python 3.12 on
    assert noisy > RULE.target
    assert follow([noisy] * 5, 3) == [3] * 5


def test_no_scale_in_while_instances_start() -> None:
    state = Alarms(high=0, low=99, base=2, out_until_s=0.0, in_until_s=0.0)
    assert autoscaler.track(60.0, Observation(1.0, 2.0, 2, 3), RULE, state)[0] == 3


def test_an_endpoint_that_is_updating_takes_no_action_and_acts_right_after() -> None:
    rule = RULE._replace(exclusive=True)
    capacity, state = autoscaler.track(
        60.0, Observation(900.0, 2.0, 2, 3), rule, Alarms(9, 0, 2, 0.0, 0.0)
    )
    assert (capacity, state.high) == (3, 10)
    assert autoscaler.track(120.0, Observation(200.0, 3.0, 3, 3), rule, state)[0] == 6


def test_a_scale_out_ends_the_scale_in_cooldown() -> None:
    state = Alarms(high=2, low=0, base=0, out_until_s=0.0, in_until_s=9e9)
    _, state = autoscaler.track(60.0, Observation(500.0, 1.0, 1, 1), RULE, state)
    assert state.in_until_s == 60.0


def step_out(metric: float, capacity: int) -> int:
    state = Alarms(high=2, low=14, base=0, out_until_s=0.0, in_until_s=0.0)
    return autoscaler.step(
        60.0, Observation(metric, float(capacity), capacity, capacity), STEPS, state
    )[0]


def test_the_step_is_chosen_by_the_distance_from_the_threshold() -> None:
    assert [step_out(metric, 4) for metric in (49.9, 50.0, 79.9, 80.0)] == [4, 5, 5, 7]
    assert [step_out(metric, 4) for metric in (0.0, 29.9, 30.0)] == [3, 3, 4]
    assert step_out(math.nan, 4) == 4


def test_steps_respect_the_bounds() -> None:
    assert step_out(90.0, 9) == 10
    assert step_out(0.0, 1) == 1


def test_a_larger_step_within_the_cooldown_adds_only_the_difference() -> None:
    state = CALM
    capacity = 4
    capacities = []
    for minute, metric in enumerate([60.0, 60.0, 60.0, 60.0, 95.0, 95.0], start=1):
        seen = Observation(metric, float(capacity), capacity, capacity)
        capacity, state = autoscaler.step(60.0 * minute, seen, STEPS, state)
        capacities.append(capacity)
    assert capacities == [4, 4, 5, 5, 7, 7]


def test_an_empty_fleet_wakes_after_two_periods_with_a_backlog() -> None:
    capacity, state = autoscaler.wake(5, CALM)
    assert capacity == 0
    assert autoscaler.wake(0, state)[1].high == 0
    assert autoscaler.wake(5, state)[0] == 1


@pytest.mark.parametrize(
    ("now_s", "instances"),
    [(0.0, 1), (28_799.0, 1), (28_800.0, 6), (72_000.0, 1), (86_400.0 + 30_000.0, 6)],
)
def test_the_schedule_holds_by_time_of_day(now_s: float, instances: int) -> None:
    starts, counts = np.array([28_800.0, 72_000.0]), np.array([6, 1])
    assert autoscaler.scheduled(now_s, starts, counts) == instances


@pytest.mark.parametrize(
    ("target", "period_s", "low_periods"),
    [
        (SageMakerRealtime("ml.c5.large"), 10.0, 90),
        (Local(), 10.0, 90),
        (Ec2Fleet("c5.large"), 60.0, 15),
    ],
)
def test_concurrency_is_a_fast_metric_but_on_ec2(
    target: Target, period_s: float, low_periods: int
) -> None:
    assert autoscaler.period_s("concurrency", target) == period_s
    assert autoscaler.period_s("invocations_per_instance", target) == 60.0
    tracking = autoscaler.tracking_rule(TargetTracking("concurrency", 2.0), target, 2.0)
    steps = autoscaler.step_rule(Step("concurrency", 2.0, (Adjustment(0.0, 1),)), target)
    assert tracking.low_periods == steps.low_periods == low_periods
    backlog = autoscaler.tracking_rule(QueueBacklog(2.0), target, 2.0)
    assert backlog.low_periods == 15


def test_the_invocations_target_is_half_the_highest_rate_per_minute() -> None:
    assert autoscaler.invocations_target(20.0) == 600.0
    assert autoscaler.invocations_target(20.0, safety_factor=0.8) == 960.0


counts = st.integers(0, 20)
times = st.floats(0, 1e5)
alarms = st.builds(Alarms, counts, counts, counts, times, times)
metrics = st.one_of(st.just(math.nan), st.floats(0, 1e6))


@settings(deadline=None)
@given(times, metrics, st.integers(1, 10), st.integers(0, 5), alarms, st.booleans())
def test_no_policy_leaves_its_bounds(
    now_s: float, metric: float, capacity: int, starting: int, state: Alarms, exclusive: bool
) -> None:
    active = max(0, capacity - starting)
    seen = Observation(metric, float(active), active, capacity)
    tracked, _ = autoscaler.track(now_s, seen, RULE._replace(exclusive=exclusive), state)
    stepped, _ = autoscaler.step(now_s, seen, STEPS._replace(exclusive=exclusive), state)
    assert 1 <= tracked <= 10
    assert 1 <= stepped <= 10
