"""What a scaling policy of the specification comes to on either AWS target: pure.

Sources: Application Auto Scaling user guide and EC2 Auto Scaling user guide (target tracking, step, scheduled).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deployer.errors import SpecError
from deployer.spec.resolved import StepRange
from deployer.spec.scaling import Step, TargetTracking

OUT_PERIODS = 3
IN_PERIODS = 15
"""Periods of a minute before a step: those of target tracking's own alarms."""


@dataclass(frozen=True)
class StepWay:
    """The steps of one direction: an alarm has one. Bounds are distances from its ``threshold``.

    The outermost step has no outer bound: AWS refuses one that has (API reference, StepAdjustment).
    """

    direction: Literal["out", "in"]
    threshold: float
    ranges: tuple[StepRange, ...]

    @property
    def comparison(self) -> str:
        """CloudWatch's word for when the alarm fires."""
        return "GreaterThanOrEqualToThreshold" if self.direction == "out" else "LessThanThreshold"

    @property
    def periods(self) -> int:
        """For how many minutes the metric must be there."""
        return OUT_PERIODS if self.direction == "out" else IN_PERIODS


def tracking_target(policy: TargetTracking, derived: float | None) -> tuple[float, str]:
    """Return the target value and where it is from; ``derived`` is worked out of a profile.

    Raises SpecError for one that nothing gives.
    """
    if policy.target is not None:
        return policy.target, "scaling.target"
    if derived is None:
        raise SpecError(
            "scaling.target",
            "is not said, and there is no profile to derive it from",
            hint="write it, or give `plan` the measured one: --profile profile.json",
        )
    return float(f"{derived:.4g}"), "derived from the profile and the objective"


def step_ways(policy: Step, factor: float = 1.0) -> Iterator[StepWay]:
    """Yield the steps that add and those that remove; ``factor`` is the metric's unit in the specification's.

    The alarm stands at the edge where the first of the steps begins to hold: the edge nearest to it is 0.
    """
    base = policy.threshold * factor
    edges = [edge * factor for edge in policy.edges]
    changes = [row.change for row in policy.adjustments]
    signs = [(change > 0) - (change < 0) for change in changes]
    if 1 in signs:
        first = signs.index(1)
        bounds = [*(edge - edges[first] for edge in edges[first:]), None]
        yield StepWay("out", base + edges[first], _ranges(changes[first:], bounds))
    if -1 in signs:
        count = signs.count(-1)
        edge = edges[count]  # where removing stops: the rule step-stop holds
        lower: list[float | None] = [None, *(row - edge for row in edges[1:count]), 0.0]
        yield StepWay("in", base + edge, _ranges(changes[:count], lower))


def _ranges(changes: list[int], bounds: list[float | None]) -> tuple[StepRange, ...]:
    return tuple(StepRange(change, bounds[i], bounds[i + 1]) for i, change in enumerate(changes))
