"""A DeploymentSpec as the numbers of the compiled fleet."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from deployer import autoscaler
from deployer.autoscaler import StepRule, TrackingRule
from deployer.errors import NotSupported
from deployer.profiles import Profile
from deployer.simulation import state
from deployer.simulation.state import Rules
from deployer.spec import limits
from deployer.spec.scaling import (
    Fixed,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import Ec2Fleet, Local, SageMakerAsync, SageMakerRealtime

InstanceTarget = Local | SageMakerRealtime | SageMakerAsync | Ec2Fleet
"""Targets that run on instances."""

METRICS = {
    "invocations_per_instance": state.INVOCATIONS,
    "cpu": state.CPU,
    "concurrency": state.CONCURRENCY,
}
_NO_TRACKING = TrackingRule(1.0, 1.0, 1, 1, 0.0, 0.0, 1, 1, False)
_NO_STEP = StepRule(0.0, np.zeros(1), np.zeros(1, np.int64), 1, 1, 0.0, 1, 1, False)


def fixed(instances: int, end_s: float) -> Rules:
    """Return the rules of a fleet that never changes, requests going to the least busy instance."""
    return Rules(
        routing=state.LEAST_OUTSTANDING,
        shared_queue=0,
        wait_s=np.inf,
        startup_s=0.0,
        policy=state.FIXED,
        metric=state.INVOCATIONS,
        period_s=autoscaler.STANDARD_PERIOD_S,
        phase_s=0.0,
        clock_s=0.0,
        initial=instances,
        end_s=float(end_s),
        tracking=_NO_TRACKING,
        step=_NO_STEP,
        schedule_s=np.zeros(1),
        schedule_instances=np.zeros(1, np.int64),
    )


def from_spec(
    policy: ScalingPolicy,
    target: InstanceTarget,
    profile: Profile,
    end_s: float,
    metric_target: float | None,
    clock_s: float = 0.0,
) -> Rules:
    """Return the rules of a fleet; ``metric_target`` is what target tracking aims at, per instance.

    ``clock_s`` is the second of the day at which the trace starts. A schedule acts on full minutes of the
    clock, so its decisions fall on them even where the trace starts between two.

    Raises NotSupported for a metric that does not follow from the traffic.
    """
    base = fixed(initial_instances(target, policy, clock_s), end_s)._replace(
        routing=routing(target),
        shared_queue=shared_queue(policy, target, profile),
        wait_s=limits.of(target).wait_s,
        startup_s=float(startup_s(target, profile)),
    )
    match policy:
        case Fixed():
            return base
        case Scheduled():
            start_s, instances = autoscaler.schedule(policy)
            return base._replace(
                policy=state.SCHEDULED,
                phase_s=clock_s % base.period_s,
                clock_s=clock_s,
                schedule_s=start_s,
                schedule_instances=instances,
            )
        case Step():
            rules = base._replace(policy=state.STEP, step=autoscaler.step_rule(policy, target))
            return _with_metric(rules, policy.metric, target)
        case TargetTracking():
            if metric_target is None:
                raise ValueError("target tracking needs a target")
            rule = autoscaler.tracking_rule(policy, target, metric_target)
            rules = base._replace(policy=state.TRACKING, tracking=rule)
            return _with_metric(rules, policy.metric, target)
        case QueueBacklog():
            rule = autoscaler.tracking_rule(policy, target, policy.target)
            return base._replace(policy=state.BACKLOG, tracking=rule)
        case _:
            assert_never(policy)


def routing(target: InstanceTarget) -> int:
    """Return how requests find an instance: at random in SageMaker, to the least busy one elsewhere."""
    return state.RANDOM if isinstance(target, SageMakerRealtime) else state.LEAST_OUTSTANDING


def shared_queue(policy: ScalingPolicy, target: InstanceTarget, profile: Profile) -> int:
    """Return how many requests an instance takes at a time from a queue outside it; 0 when there is none."""
    if isinstance(target, SageMakerAsync):
        return target.max_concurrent
    queued = isinstance(policy, QueueBacklog) or target.queue is not None
    return profile.workers * profile.max_batch if queued else 0


def startup_s(target: InstanceTarget, profile: Profile) -> float:
    """Return seconds from a scaling decision to the first request served by the new instance."""
    return profile.startup_s if isinstance(target, Local) else target.startup_s


def initial_instances(target: InstanceTarget, policy: ScalingPolicy, clock_s: float = 0.0) -> int:
    """Return the instances in service at the start: the target's within the bounds, the schedule's by the clock."""
    match policy:
        case Fixed():
            return target.instances
        case Scheduled():
            return autoscaler.scheduled(clock_s, *autoscaler.schedule(policy))
        case TargetTracking() | Step() | QueueBacklog():
            return min(max(target.instances, policy.min_instances), policy.max_instances)
        case _:
            assert_never(policy)


def most_instances(target: InstanceTarget, policy: ScalingPolicy) -> int:
    """Return the most instances that the policy can ask for."""
    match policy:
        case Fixed():
            return target.instances
        case Scheduled():
            return max(period.instances for period in policy.periods)
        case TargetTracking() | Step() | QueueBacklog():
            return policy.max_instances
        case _:
            assert_never(policy)


def _with_metric(rules: Rules, metric: str, target: InstanceTarget) -> Rules:
    if metric not in METRICS:
        raise NotSupported(
            f"scaling.metric {metric!r} cannot be simulated: nothing says how it follows the traffic",
            hint=f"simulate with one of {', '.join(METRICS)}",
        )
    return rules._replace(metric=METRICS[metric], period_s=autoscaler.period_s(metric, target))
