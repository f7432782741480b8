"""When to grow and shrink. Bounds and cooldowns as AWS Application Auto Scaling has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.records import QUIET

CUSTOM = "custom"
PROVISIONED = "provisioned_concurrency"
METRICS = ("invocations_per_instance", "cpu", "concurrency", PROVISIONED, CUSTOM)
STATISTICS = ("Average", "Minimum", "Maximum", "Sum", "SampleCount")


@dataclass(frozen=True)
class CustomMetric:
    """A CloudWatch metric of yours, per instance: it must fall when instances are added."""

    namespace: str
    name: str
    statistic: str = "Average"
    dimensions: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), metadata=QUIET
    )
    unit: str = field(default="", metadata=QUIET)

    def __post_init__(self) -> None:
        for key in ("namespace", "name"):
            if not getattr(self, key):
                raise SpecError(f"scaling.custom.{key}", "is empty")
        checks.one_of("scaling.custom.statistic", self.statistic, STATISTICS)


def _bounds(low: int, high: int, smallest: int) -> None:
    checks.between("scaling.min_instances", low, smallest, 1000)
    checks.between("scaling.max_instances", high, 1, 1000)


@dataclass(frozen=True)
class Fixed:
    """As many instances as the target names, always."""

    kind: ClassVar[str] = "fixed"


@dataclass(frozen=True)
class TargetTracking:
    """Keep a metric near ``target``; None derives it from the profile and the objective.

    ``invocations_per_instance`` is a sum per minute, ``cpu`` a percentage, ``concurrency`` the requests
    in flight per instance, ``provisioned_concurrency`` the share of a serverless endpoint's that is in use
    (0 to 1; instances then mean units of it), ``custom`` the metric of ``custom``. Default cooldowns are
    AWS's, 300 s.
    """

    kind: ClassVar[str] = "target-tracking"
    metric: str = "invocations_per_instance"
    target: float | None = None
    min_instances: int = 1
    max_instances: int = 4
    scale_in_cooldown_s: float = 300.0
    scale_out_cooldown_s: float = 300.0
    custom: CustomMetric | None = None

    def __post_init__(self) -> None:
        checks.one_of("scaling.metric", self.metric, METRICS)
        if self.target is not None:
            checks.at_least("scaling.target", self.target, 1e-6)
        _bounds(self.min_instances, self.max_instances, 1)
        checks.between("scaling.scale_in_cooldown_s", self.scale_in_cooldown_s, 0, 86400)
        checks.between("scaling.scale_out_cooldown_s", self.scale_out_cooldown_s, 0, 86400)


@dataclass(frozen=True)
class Adjustment:
    """One step: from ``above`` (inclusive, distance of the metric from the threshold) add ``change`` instances."""

    above: float
    change: int


@dataclass(frozen=True)
class Step:
    """Add or remove instances by how far the metric is from ``threshold``.

    The last adjustment whose edge is reached holds. A first one that removes instances also holds below its
    own edge: AWS refuses steps that end there.
    """

    kind: ClassVar[str] = "step"
    metric: str
    threshold: float
    adjustments: tuple[Adjustment, ...]
    min_instances: int = 1
    max_instances: int = 4
    cooldown_s: float = 300.0
    custom: CustomMetric | None = None

    def __post_init__(self) -> None:
        checks.one_of("scaling.metric", self.metric, METRICS)
        checks.at_least("scaling.threshold", self.threshold, 0)
        if not self.adjustments:
            raise SpecError("scaling.adjustments", "needs at least one step")
        edges = [a.above for a in self.adjustments]
        if sorted(set(edges)) != edges:
            raise SpecError("scaling.adjustments", "must be sorted by 'above', each edge once")
        _bounds(self.min_instances, self.max_instances, 1)
        checks.between("scaling.cooldown_s", self.cooldown_s, 0, 86400)

    @property
    def edges(self) -> tuple[float, ...]:
        """The lower edge of each adjustment; minus infinity for a first one that removes instances."""
        first, *others = self.adjustments
        lowest = -math.inf if first.change < 0 else first.above
        return (lowest, *(row.above for row in others))


@dataclass(frozen=True)
class Period:
    """From ``start_s`` of each day (UTC, seconds after midnight) the fleet has ``instances``."""

    start_s: float
    instances: int


@dataclass(frozen=True)
class Scheduled:
    """A capacity by time of day."""

    kind: ClassVar[str] = "scheduled"
    periods: tuple[Period, ...]

    def __post_init__(self) -> None:
        if not self.periods:
            raise SpecError("scaling.periods", "needs at least one period")
        starts = [p.start_s for p in self.periods]
        if sorted(set(starts)) != starts:
            raise SpecError("scaling.periods", "must be sorted by 'start_s', each once")
        for period in self.periods:
            checks.between("scaling.periods.start_s", period.start_s, 0, 86399)
            checks.between("scaling.periods.instances", period.instances, 0, 1000)


@dataclass(frozen=True)
class QueueBacklog:
    """Keep the backlog per instance near ``target`` messages; may scale to zero."""

    kind: ClassVar[str] = "queue-backlog"
    target: float
    min_instances: int = 0
    max_instances: int = 4
    scale_in_cooldown_s: float = 300.0
    scale_out_cooldown_s: float = 300.0

    def __post_init__(self) -> None:
        checks.at_least("scaling.target", self.target, 1e-6)
        _bounds(self.min_instances, self.max_instances, 0)
        checks.between("scaling.scale_in_cooldown_s", self.scale_in_cooldown_s, 0, 86400)
        checks.between("scaling.scale_out_cooldown_s", self.scale_out_cooldown_s, 0, 86400)


ScalingPolicy = Fixed | TargetTracking | Step | Scheduled | QueueBacklog
POLICIES: dict[str, type[ScalingPolicy]] = {
    kind.kind: kind for kind in (Fixed, TargetTracking, Step, Scheduled, QueueBacklog)
}
