"""How many servers a fleet should have: the policy functions over what was seen in a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from deployer import autoscaler
from deployer.autoscaler import Alarms, Observation
from deployer.errors import SpecError
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules.local import METRICS
from deployer.spec.scaling import (
    Fixed,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.sizes import bounds
from deployer.spec.target import Local


@dataclass
class Period:
    """What was seen since ``start_s``: answers, and the sums over looks of requests and servers in service."""

    start_s: float
    answers: int = 0
    in_flight: int = 0
    serving: int = 0
    looks: int = 0

    def add(self, answers: int, in_flight: int, serving: int) -> None:
        """Add one look: answers since the look before, requests in flight and servers in service now."""
        self.answers += answers
        self.in_flight += in_flight
        self.serving += serving
        self.looks += 1

    def metric(self, name: str, now_s: float) -> tuple[float, float]:
        """Return the metric per server, and the mean number in service; NaN when none was.

        ``invocations_per_instance`` is scaled to a minute, whatever the period's length.
        """
        served = self.serving / self.looks if self.looks else 0.0
        if not served:
            return float("nan"), 0.0
        if name == "concurrency":
            return self.in_flight / self.looks / served, served
        minutes = (now_s - self.start_s) / 60
        return self.answers / minutes / served, served


def most(spec: DeploymentSpec) -> int:
    """Return the most servers that the policy can ask for."""
    return max(1, bounds(spec)[1])


def at_start(spec: DeploymentSpec, current: int | None, now_s: float) -> int:
    """Return how many servers a deployment begins with: as many as run, within the bounds.

    ``current`` None: none ran before. ``now_s`` is the time of day.
    """
    match spec.scaling:
        case Fixed():
            return _target(spec).instances
        case Scheduled():
            return autoscaler.scheduled(now_s, *autoscaler.schedule(spec.scaling))
        case TargetTracking() | Step() | QueueBacklog():
            wanted = _target(spec).instances if current is None else current
            return min(max(wanted, spec.scaling.min_instances), spec.scaling.max_instances)
        case _:
            assert_never(spec.scaling)


def period_s(spec: DeploymentSpec) -> float:
    """Return how often the policy is asked, in seconds."""
    given = _target(spec).period_s
    return given if given is not None else autoscaler.period_s(metric_of(spec.scaling), spec.target)


def metric_of(policy: ScalingPolicy) -> str:
    """Return the metric that a policy follows; those that follow none count invocations."""
    return policy.metric if isinstance(policy, TargetTracking | Step) else METRICS[0]


def decide(
    spec: DeploymentSpec, now_s: float, seen: Observation, state: Alarms
) -> tuple[int, Alarms]:
    """Return how many servers there should be after a period, and what the policy remembers."""
    match spec.scaling:
        case Fixed() | QueueBacklog():
            return seen.capacity, state
        case Scheduled():
            return autoscaler.scheduled(now_s, *autoscaler.schedule(spec.scaling)), state
        case Step():
            rule = autoscaler.step_rule(spec.scaling, spec.target)
            return autoscaler.step(now_s, seen, rule, state)
        case TargetTracking():
            if spec.scaling.target is None:
                raise SpecError("scaling.target", "is missing")
            tracking = autoscaler.tracking_rule(spec.scaling, spec.target, spec.scaling.target)
            return autoscaler.track(now_s, seen, tracking, state)
        case _:
            assert_never(spec.scaling)


def _target(spec: DeploymentSpec) -> Local:
    if not isinstance(spec.target, Local):
        raise SpecError("target.kind", f"{spec.target.kind!r} is not 'local'")
    return spec.target
