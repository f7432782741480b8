"""A rollout of the specification as an instance refresh of the group: percentages, checkpoints, bake time; pure."""

from __future__ import annotations

import math

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import Refresh
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.target import Ec2Fleet


def refresh(spec: DeploymentSpec, target: Ec2Fleet) -> Refresh:
    """Return how a new version comes in."""
    rollout, warmup = spec.rollout, math.ceil(target.startup_s)
    bake = int(rollout.bake_s)
    match rollout:
        case AllAtOnce():
            return Refresh(100, 200, warmup, bake)
        case Rolling():
            return Refresh(100, 100 + rollout.batch_percent, warmup, bake)
        case Canary() | Linear():
            steps = range(rollout.percent, 100, rollout.percent)
            first = (rollout.percent,) if isinstance(rollout, Canary) else tuple(steps)
            most = 100 + rollout.percent
            return Refresh(100, most, warmup, bake, (*first, 100), bake)
