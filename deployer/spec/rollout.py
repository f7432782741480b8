"""How a new version takes over from the old one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from deployer.errors import SpecError
from deployer.spec import checks
from deployer.spec.records import QUIET


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What stops a rollout on SageMaker and brings the old version back.

    Generated alarms fire when more than ``max_error_percent`` of the requests fail with 5xx, when the model
    itself fails, and when the p99 is above ``slo.p99_ms``; ``alarms`` names CloudWatch alarms of yours.
    ``retain_capacity``: a fleet that has scaled keeps its size. A rollout ends, one way or the other, within
    ``timeout_s``; left out, within what its steps need.
    """

    generated_alarms: bool = field(default=True, metadata=QUIET)
    max_error_percent: float = field(default=1.0, metadata=QUIET)
    alarms: tuple[str, ...] = field(default=(), metadata=QUIET)
    retain_capacity: bool = field(default=True, metadata=QUIET)
    timeout_s: int | None = None

    def __post_init__(self) -> None:
        checks.between("rollout.max_error_percent", self.max_error_percent, 0, 100)
        if len(self.alarms) > 7:
            raise SpecError(
                "rollout.alarms", "names more than 7; with 3 generated ones 10 is the most"
            )
        if self.timeout_s is not None:
            checks.between("rollout.timeout_s", self.timeout_s, 600, 28800)


@dataclass(frozen=True)
class AllAtOnce(Guard):
    """Switch all traffic when the new version is healthy; keep the old one for ``bake_s``."""

    kind: ClassVar[str] = "all-at-once"
    bake_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Rolling(Guard):
    """Replace at most ``batch_percent`` of the fleet at a time."""

    kind: ClassVar[str] = "rolling"
    batch_percent: int = 50
    bake_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.between("rollout.batch_percent", self.batch_percent, 5, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Canary(Guard):
    """Send ``percent`` of the traffic to the new version, watch it for ``bake_s``, then the rest."""

    kind: ClassVar[str] = "canary"
    percent: int = 10
    bake_s: float = 600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.between("rollout.percent", self.percent, 1, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Linear(Guard):
    """Shift ``percent`` of the traffic every ``bake_s``."""

    kind: ClassVar[str] = "linear"
    percent: int = 25
    bake_s: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.between("rollout.percent", self.percent, 10, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


Rollout = AllAtOnce | Rolling | Canary | Linear


def waits_s(rollout: Rollout) -> float:
    """Return how long a rollout waits by itself, in seconds: the bakes of all its steps."""
    if isinstance(rollout, Linear):
        return -(-100 // rollout.percent) * rollout.bake_s
    if isinstance(rollout, Rolling):
        return -(-100 // rollout.batch_percent) * rollout.bake_s
    return rollout.bake_s


ROLLOUTS: dict[str, type[Rollout]] = {k.kind: k for k in (AllAtOnce, Rolling, Canary, Linear)}
