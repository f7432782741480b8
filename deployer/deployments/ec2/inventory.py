"""What a plan of a fleet prices: its sizes, and what it makes beside its instances: pure."""

from __future__ import annotations

from deployer.cost import month
from deployer.cost.materials import TRACKING_ALARMS, Made
from deployer.cost.month import MonthlyCost
from deployer.deployments.ec2 import alarms, group_policies
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Expression, Metric, Policies
from deployer.spec.target import Ec2Fleet

_ANY = 1.0


def predict(resolved: ResolvedFleet, book: PriceBook, run: Run | None = None) -> MonthlyCost:
    """Return the bill of a month at the least and the most units, and by the traffic of ``run``."""
    sizes = (resolved.least, resolved.most)
    return month.predict(resolved.spec, sizes, book, made(resolved.spec, resolved.target), run)


def made(spec: DeploymentSpec, target: Ec2Fleet) -> Made:
    """Return what the stack makes: alarms by the metrics that they watch, and a dashboard."""
    count = sum(_metrics(row.metric) for row in alarms.generated(spec, target, "queue"))
    # How many alarms there are does not depend on the target value.
    policies = group_policies.resolve(spec, "group", "queue", _ANY)
    return Made(count + _of_group(policies), 0, 1)


def _of_group(policies: Policies | None) -> int:
    """Count the metrics that the alarms of a group's policies watch."""
    if policies is None:
        return 0
    tracking = sum(TRACKING_ALARMS * _metrics(row.metric) for row in policies.tracking)
    return tracking + sum(_metrics(row.alarm.metric) for row in policies.stepping)


def _metrics(watched: Metric | Expression | None) -> int:
    """Count the metrics that an alarm is billed for: each input of an expression; one that is predefined has one."""
    return len(watched.inputs) if isinstance(watched, Expression) else 1
