"""The scaling policies as pure functions: ``(now, observation, rule, state) -> (capacity, state)``.

The simulator compiles these very functions with numba, the local deployment calls them as they are. So
they are leaf functions over scalars, arrays and NamedTuples: no clock, no helper, no I/O. Call one once
per metric period (STANDARD_PERIOD_S, or HIGH_RESOLUTION_PERIOD_S for the concurrency metric, not on EC2).

The rules that they take are made of a specification by the functions at the end of the file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.spec.scaling import QueueBacklog, Scheduled, Step, TargetTracking
from deployer.spec.target import Ec2Fleet, SageMakerAsync, SageMakerRealtime, Target

STANDARD_PERIOD_S = 60.0
"""InvocationsPerInstance, CPU and ALB metrics come once a minute. Source: CloudWatch metric lists of
SageMaker and Elastic Load Balancing."""

HIGH_RESOLUTION_PERIOD_S = 10.0
"""ConcurrentRequestsPerModel comes every 10 s. Source: SageMaker developer guide, endpoint auto scaling."""

HIGH_PERIODS = 3
"""AlarmHigh: 3 data points of 3 above the target. Source: the alarms that Application Auto Scaling creates
for a target-tracking policy (3 x 60 s). For the 10 s metric AWS states no number; 3 x 10 s is assumed."""

LOW_PERIODS = 15
"""AlarmLow: 15 data points of 15 below the low threshold (15 x 60 s). Source: as for HIGH_PERIODS."""

HIGH_RESOLUTION_LOW_PERIODS = 90
"""15 minutes of 10 s points: scale-in on the high-resolution metric is as slow as on the standard one.
Source: SageMaker developer guide."""

WAKE_PERIODS = 2
"""HasBacklogWithoutCapacity: 2 data points of 60 s with at least 1. Source: SageMaker developer guide,
autoscale an asynchronous endpoint."""

APPLICATION_LOW_RATIO = 0.9
"""AlarmLow threshold over target, Application Auto Scaling. Source: observed alarms (1350 for a target of
1500; 63 for 70)."""

EC2_LOW_RATIO = 0.7
"""AlarmLow threshold over target, EC2 Auto Scaling. Source: observed alarms (28 for 40, 42 for 60); older
ones showed 0.9, which scales in sooner and so costs less."""

SAFETY_FACTOR = 0.5
"""Share of the highest good rate to aim for. Source: SageMaker developer guide, load testing for
auto scaling ("start with 0.5")."""


ROUNDING = 1e-9
"""Relative slack against rounding: a metric is a sum of many fractions."""


class Observation(NamedTuple):
    """What a policy sees: the metric per instance of the period that ends now, NaN when missing.

    ``served`` is the mean number of instances in service in that period, ``active`` those in service now,
    ``capacity`` those in service or starting.
    """

    metric: float
    served: float
    active: int
    capacity: int


class Alarms(NamedTuple):
    """What a policy remembers.

    ``high`` and ``low`` count breaching periods in a row; ``base`` is the capacity before the scale-out
    whose cooldown ends at ``out_until_s``; no scale-in before ``in_until_s``.
    """

    high: int
    low: int
    base: int
    out_until_s: float
    in_until_s: float


CALM = Alarms(0, 0, 0, 0.0, 0.0)
"""The state at the start."""


class TrackingRule(NamedTuple):
    """Numbers of a target-tracking policy; the metric and ``target`` are per instance.

    ``exclusive``: no change while instances start, because a SageMaker endpoint that is Updating takes none.
    """

    target: float
    low_ratio: float
    high_periods: int
    low_periods: int
    out_cooldown_s: float
    in_cooldown_s: float
    min_instances: int
    max_instances: int
    exclusive: bool


class StepRule(NamedTuple):
    """Numbers of a step policy: from ``above[i]`` past the threshold (inclusive) add ``change[i]``."""

    threshold: float
    above: NDArray[np.float64]
    change: NDArray[np.int64]
    high_periods: int
    low_periods: int
    cooldown_s: float
    min_instances: int
    max_instances: int
    exclusive: bool


def track(now_s: float, seen: Observation, rule: TrackingRule, state: Alarms) -> tuple[int, Alarms]:
    """Return the capacity that keeps the metric near the target, and the new state.

    Out, after ``high_periods`` above the target: to ceil(served x metric / target), so that instances which
    came into service only after the period do not multiply its load. During the scale-out cooldown what was
    added counts: only a larger step from the old base goes further. In, after ``low_periods`` below
    ``low_ratio`` x target: one instance, if the rest stays at or under the target. Cooldowns count from the
    decision. Source: Application Auto Scaling user guide, target tracking and cooldown.
    """
    high = state.high + 1 if seen.metric > rule.target * (1 + ROUNDING) else 0
    low = state.low + 1 if seen.metric < rule.low_ratio * rule.target else 0
    starting = seen.capacity > seen.active
    counted = Alarms(high, low, state.base, state.out_until_s, state.in_until_s)
    if starting and rule.exclusive:
        return seen.capacity, counted
    load = seen.served * seen.metric / rule.target * (1 - ROUNDING)
    if high >= rule.high_periods:
        base = state.base if now_s < state.out_until_s else seen.active
        wanted = base - seen.active + math.ceil(load)
        wanted = min(wanted, rule.max_instances)
        if wanted > seen.capacity:
            return wanted, Alarms(high, low, base, now_s + rule.out_cooldown_s, now_s)
    rest = seen.capacity - 1
    fits = load <= rest and rest >= rule.min_instances
    if low >= rule.low_periods and fits and not starting and now_s >= state.in_until_s:
        return rest, Alarms(high, low, state.base, state.out_until_s, now_s + rule.in_cooldown_s)
    return seen.capacity, counted


def step(now_s: float, seen: Observation, rule: StepRule, state: Alarms) -> tuple[int, Alarms]:
    """Return the capacity after the step that the metric's distance from the threshold asks for.

    The last step whose lower edge is reached applies; a positive one needs ``high_periods`` in a row, a
    negative one ``low_periods``. Cooldowns as in ``track``. Source: Application Auto Scaling user guide,
    step scaling (the lower bound is inclusive above the threshold).
    """
    change = 0
    for i in range(len(rule.above)):
        if seen.metric - rule.threshold >= rule.above[i]:
            change = int(rule.change[i])
    high = state.high + 1 if change > 0 else 0
    low = state.low + 1 if change < 0 else 0
    starting = seen.capacity > seen.active
    counted = Alarms(high, low, state.base, state.out_until_s, state.in_until_s)
    if starting and rule.exclusive:
        return seen.capacity, counted
    if change > 0 and high >= rule.high_periods:
        base = state.base if now_s < state.out_until_s else seen.capacity
        wanted = min(base + change, rule.max_instances)
        if wanted > seen.capacity:
            return wanted, Alarms(high, low, base, now_s + rule.cooldown_s, now_s)
    ready = low >= rule.low_periods and not starting and now_s >= state.in_until_s
    wanted = max(seen.capacity + change, rule.min_instances)
    if ready and wanted < seen.capacity:
        return wanted, Alarms(high, low, state.base, state.out_until_s, now_s + rule.cooldown_s)
    return seen.capacity, counted


def wake(waiting: int, state: Alarms) -> tuple[int, Alarms]:
    """Return 1 once requests have waited WAKE_PERIODS without any instance, else 0; and the new state.

    Target tracking cannot leave zero: its metric is per instance. Source: as for WAKE_PERIODS.
    """
    high = state.high + 1 if waiting > 0 else 0
    capacity = 1 if high >= WAKE_PERIODS else 0
    return capacity, Alarms(high, 0, state.base, state.out_until_s, state.in_until_s)


def scheduled(now_s: float, start_s: NDArray[np.float64], instances: NDArray[np.int64]) -> int:
    """Return the capacity of the period that ``now_s`` falls in; times count from midnight UTC.

    Before the first start of the day the last period of the day before still holds.
    """
    capacity = instances[-1]
    for i in range(len(start_s)):
        if now_s % 86400.0 >= start_s[i]:
            capacity = instances[i]
    return int(capacity)


def invocations_target(max_rps: float, safety_factor: float = SAFETY_FACTOR) -> float:
    """Return the target of InvocationsPerInstance, in requests per instance per minute.

    target = MAX_RPS x SAFETY_FACTOR x 60, where MAX_RPS is the highest rate of one instance at which the
    latency objective holds. Source: SageMaker developer guide, load testing for auto scaling.
    """
    return max_rps * safety_factor * 60.0


def is_fast(metric: str, target: Target) -> bool:
    """Return whether the metric comes every 10 s instead of every minute.

    Only concurrency does, and not on an EC2 fleet: there CloudWatch computes it from the load balancer's
    metrics, which come once a minute (requests x mean time / hosts).
    """
    return metric == "concurrency" and not isinstance(target, Ec2Fleet)


def period_s(metric: str, target: Target) -> float:
    """Return how often the metric comes, in seconds."""
    return HIGH_RESOLUTION_PERIOD_S if is_fast(metric, target) else STANDARD_PERIOD_S


def low_periods(metric: str, target: Target) -> int:
    """Return how many periods below the low threshold make a scale-in: 15 minutes of either length."""
    return HIGH_RESOLUTION_LOW_PERIODS if is_fast(metric, target) else LOW_PERIODS


def low_ratio(target: Target) -> float:
    """Return the low alarm's threshold over the target."""
    return EC2_LOW_RATIO if isinstance(target, Ec2Fleet) else APPLICATION_LOW_RATIO


def is_exclusive(target: Target) -> bool:
    """Return whether instances that start block every other change: SageMaker's endpoints do."""
    return isinstance(target, SageMakerRealtime | SageMakerAsync)


def tracking_rule(
    policy: TargetTracking | QueueBacklog, target: Target, metric_target: float
) -> TrackingRule:
    """Return the rule that keeps the policy's metric near ``metric_target`` per instance."""
    metric = policy.metric if isinstance(policy, TargetTracking) else "backlog"
    return TrackingRule(
        target=float(metric_target),
        low_ratio=low_ratio(target),
        high_periods=HIGH_PERIODS,
        low_periods=low_periods(metric, target),
        out_cooldown_s=float(policy.scale_out_cooldown_s),
        in_cooldown_s=float(policy.scale_in_cooldown_s),
        min_instances=policy.min_instances,
        max_instances=policy.max_instances,
        exclusive=is_exclusive(target),
    )


def step_rule(policy: Step, target: Target) -> StepRule:
    """Return the rule of a step policy."""
    return StepRule(
        threshold=float(policy.threshold),
        above=np.array(policy.edges, dtype=np.float64),
        change=np.array([a.change for a in policy.adjustments], dtype=np.int64),
        high_periods=HIGH_PERIODS,
        low_periods=low_periods(policy.metric, target),
        cooldown_s=float(policy.cooldown_s),
        min_instances=policy.min_instances,
        max_instances=policy.max_instances,
        exclusive=is_exclusive(target),
    )


def schedule(policy: Scheduled) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the starts of a schedule's periods, in seconds after midnight UTC, and their instances."""
    starts = np.array([period.start_s for period in policy.periods], dtype=np.float64)
    return starts, np.array([period.instances for period in policy.periods], dtype=np.int64)
