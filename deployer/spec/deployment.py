"""DeploymentSpec: all of the wish in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.assumptions import Assumptions
from deployer.spec.rollout import AllAtOnce, Rollout
from deployer.spec.scaling import Fixed, ScalingPolicy
from deployer.spec.target import Target


@dataclass(frozen=True)
class Slo:
    """The latency objective: at least 99% of *offered* requests succeed within ``p99_ms`` milliseconds.

    ``p99_ms`` None means that none is set. The share generalises the percentile: p50_ms asks for 50%.
    """

    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None

    def __post_init__(self) -> None:
        for key, value in self.items():
            checks.at_least(f"slo.{key}", value, 1e-3)

    def items(self) -> list[tuple[str, float]]:
        """Return the objectives that are set, as (key, milliseconds)."""
        pairs = (("p50_ms", self.p50_ms), ("p90_ms", self.p90_ms), ("p99_ms", self.p99_ms))
        return [(key, value) for key, value in pairs if value is not None]


@dataclass(frozen=True)
class DeploymentSpec:
    """A name, what to run (``bundle`` is a path), where, how it scales and rolls out, and for what objective.

    ``assumptions`` only move the bill: they change nothing that is deployed. What its parts must hold to together
    stands in the rule book (``spec.rules``), which every verb asks.
    """

    name: str
    bundle: str
    target: Target
    scaling: ScalingPolicy = Fixed()
    rollout: Rollout = AllAtOnce()
    slo: Slo = Slo()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    assumptions: Assumptions = Assumptions()

    def __post_init__(self) -> None:
        checks.name("name", self.name)
        if not self.bundle:
            raise SpecError("bundle", "is empty", hint="give the path of a bundle")
