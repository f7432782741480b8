"""FleetPlan: what deploying a fleet would change in the account, as data that is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deployer.cost.month import MonthlyCost
from deployer.deployments.aws import steps
from deployer.deployments.aws.checks import Check
from deployer.deployments.aws.steps import Step
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import ENDPOINTS, NAT
from deployer.spec.fleet_resolved import ResolvedFleet

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FleetPlan:
    """Steps, in order, that make the account equal to ``resolved``; with checks and cost.

    ``offline``: nothing in AWS was looked at, so there are no steps.
    """

    resolved: ResolvedFleet
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    cost: MonthlyCost
    offline: bool = False

    @property
    def spec(self) -> DeploymentSpec:
        """The specification."""
        return self.resolved.spec

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """What the stack consists of, in words for people."""
        return parts(self.resolved)

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return steps.changes(self.steps)

    @property
    def summary(self) -> str:
        """The last line of a plan."""
        return (
            steps.unseen(self.spec.name)
            if self.offline
            else steps.summary(self.spec.name, self.steps)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "resolved": self.resolved.to_json(),
            "steps": [asdict(step) for step in self.steps],
            "checks": [asdict(check) for check in self.checks],
            "cost": self.cost.to_json(),
            "summary": self.summary,
            **({"offline": True} if self.offline else {}),
        }


def parts(resolved: ResolvedFleet) -> tuple[tuple[str, str], ...]:
    """Return what the stack consists of, in words for people."""
    target = resolved.target
    network = target.network
    ways = {NAT: "private, behind NAT", ENDPOINTS: "private, VPC endpoints only"}
    where = ways.get(network.egress, "public, without NAT")
    vpc = f"a new VPC {network.cidr}" if network.made else network.vpc_id
    kinds = ", ".join(row.instance_type for row in target.types) or target.instance_type
    size = (
        f"{resolved.least}"
        if resolved.least == resolved.most
        else f"{resolved.least} to {resolved.most}"
    )
    paid = ""
    if target.spot is not None:
        spot = target.spot
        paid = f"; {spot.on_demand_base} on demand, above it {100 - spot.on_demand_percent}% spot"
    rows = [("network", f"{vpc}; instances {where}"), ("group", f"{size} x {kinds}{paid}")]
    if target.warm_pool is not None:
        rows.append(("warm pool", f"{target.warm_pool.size} {target.warm_pool.state}"))
    if target.listener is not None:
        who = ", ".join(target.listener.allow_cidrs) or "nobody"
        rows.append(("load balancer", f"{target.listener.protocol.upper()}, open to {who}"))
    if resolved.queue:
        rows.append(("queue", f"{resolved.queue}, results in {resolved.results_s3_uri}"))
    scaling = resolved.scaling
    if scaling is not None:
        names = [row.name for row in scaling.tracking]
        names += [row.name for row in scaling.stepping]
        names += [row.name for row in scaling.schedules]
        rows.append(("scaling", f"{', '.join(names)} ({scaling.basis})"))
    refresh = resolved.refresh
    stops = (
        f", watched by {len(resolved.rollback_alarms)} alarms" if resolved.rollback_alarms else ""
    )
    stages = f", stages {', '.join(map(str, refresh.checkpoints))}%" if refresh.checkpoints else ""
    most = refresh.most_percent
    rows.append(
        ("new versions", f"instance refresh, {refresh.least_percent} to {most}%{stages}{stops}")
    )
    return tuple(rows)
