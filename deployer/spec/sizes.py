"""Between which sizes the fleet of a specification stays."""

from __future__ import annotations

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import Fixed, Scheduled


def bounds(spec: DeploymentSpec) -> tuple[int, int]:
    """Return the least and the most that the fleet may hold, in instances or in units of capacity."""
    policy = spec.scaling
    if isinstance(policy, Fixed):
        count = spec.target.instances
        return count, count
    if isinstance(policy, Scheduled):
        counts = [row.instances for row in policy.periods]
        return min(counts), max(counts)
    return policy.min_instances, policy.max_instances
