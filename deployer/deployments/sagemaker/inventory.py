"""What a plan on SageMaker prices: its sizes, and what it makes beside its instances: pure."""

from __future__ import annotations

from deployer.cost import month
from deployer.cost.materials import TRACKING_ALARMS, Made
from deployer.cost.month import MonthlyCost
from deployer.deployments.sagemaker import alarms, variant_policies
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved
from deployer.spec.target import SageMakerBatch

FAST = "HighResolution"
"""In the names of predefined metrics that come more often than once a minute."""

_ANY = 1.0


def predict(resolved: Resolved, book: PriceBook, run: Run | None = None) -> MonthlyCost:
    """Return the bill of a month at the least and the most size, and by the traffic of ``run``.

    Units are instances, or provisioned containers.
    """
    bounds = resolved.scaling
    sizes = (resolved.instances, resolved.instances)
    if bounds is not None:
        sizes = (bounds.min_capacity, bounds.max_capacity)
    return month.predict(resolved.spec, sizes, book, made(resolved.spec), run)


def made(spec: DeploymentSpec) -> Made:
    """Return what an endpoint has: alarms, and the dashboard of its stack. A batch target has neither."""
    if isinstance(spec.target, SageMakerBatch):
        return Made()
    # How many alarms there are depends neither on the target value nor on the vCPUs.
    policies = variant_policies.resolve(spec, spec.name, derived=_ANY, vcpus=1)
    count, fast = len(alarms.generated(spec, spec.name)), 0
    if policies is not None:
        fast = TRACKING_ALARMS * sum(FAST in row.predefined for row in policies.tracking)
        every = TRACKING_ALARMS * len(policies.tracking) + len(policies.stepping)
        count += every - fast
    return Made(count, fast, 1)
