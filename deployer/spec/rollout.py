"""How a new version takes over from the old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deployer.spec import checks


@dataclass(frozen=True)
class AllAtOnce:
    """Switch all traffic when the new version is healthy; keep the old one for ``bake_s``."""

    kind: ClassVar[str] = "all-at-once"
    bake_s: float = 0.0

    def __post_init__(self) -> None:
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Rolling:
    """Replace at most ``batch_percent`` of the fleet at a time."""

    kind: ClassVar[str] = "rolling"
    batch_percent: int = 50
    bake_s: float = 0.0

    def __post_init__(self) -> None:
        checks.between("rollout.batch_percent", self.batch_percent, 5, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Canary:
    """Send ``percent`` of the traffic to the new version, watch it for ``bake_s``, then the rest."""

    kind: ClassVar[str] = "canary"
    percent: int = 10
    bake_s: float = 600.0

    def __post_init__(self) -> None:
        checks.between("rollout.percent", self.percent, 1, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


@dataclass(frozen=True)
class Linear:
    """Shift ``percent`` of the traffic every ``bake_s``."""

    kind: ClassVar[str] = "linear"
    percent: int = 25
    bake_s: float = 300.0

    def __post_init__(self) -> None:
        checks.between("rollout.percent", self.percent, 10, 50)
        checks.between("rollout.bake_s", self.bake_s, 0, 3600)


Rollout = AllAtOnce | Rolling | Canary | Linear
ROLLOUTS: dict[str, type[Rollout]] = {k.kind: k for k in (AllAtOnce, Rolling, Canary, Linear)}
