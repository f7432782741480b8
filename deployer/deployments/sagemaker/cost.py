"""What a deployment costs a month and per thousand requests, from the price book; nothing is guessed.

A month is 730 hours. Data, logs and storage are not counted: they depend on the traffic, which a plan does not
know (``deployer compare`` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from deployer.errors import SpecError, UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.spec.resolved import Resolved
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import SageMakerAsync, SageMakerBatch, SageMakerServerless

HOURS = Decimal(730)
SERVICES = {
    "sagemaker-realtime": "sagemaker-hosting",
    "sagemaker-async": "sagemaker-async",
    "sagemaker-batch": "sagemaker-batch-transform",
}


@dataclass(frozen=True)
class PlannedCost:
    """USD of the smallest and the largest fleet a month; per thousand where the policy says the load.

    ``per_thousand`` None comes with ``unknown``: why. ``source`` names price and date.
    """

    month_least: Decimal
    month_most: Decimal
    per_thousand: Decimal | None
    unknown: str
    source: str
    per_hour: Decimal


def predict(resolved: Resolved, book: PriceBook, *, busy_ms: float | None = None) -> PlannedCost:
    """Return the predicted cost. ``busy_ms`` is a request's measured time, which serverless bills.

    Raises SpecError for an instance type without a price: what it costs would only show on the bill.
    """
    target = resolved.spec.target
    if isinstance(target, SageMakerServerless):
        return _serverless(resolved, target, book, busy_ms)
    instance_type = str(getattr(target, "instance_type", ""))
    try:
        price = book.lookup(SERVICES[target.kind], resolved.place.region, instance_type)
    except UnknownPrice as error:
        raise SpecError("target.instance_type", error.message, hint=error.hint) from error
    source = f"{price.source}, {price.as_of}"
    if isinstance(target, SageMakerBatch):
        words = "a batch job is billed while it runs"
        return PlannedCost(Decimal(0), Decimal(0), None, words, source, price.usd)
    bounds = resolved.scaling
    least = bounds.min_capacity if bounds else resolved.instances
    most = bounds.max_capacity if bounds else resolved.instances
    rate = _requests_per_hour(resolved)
    words = "" if rate else "no scaling target in requests says what one instance serves"
    if isinstance(target, SageMakerAsync):
        words = "how long requests take is not known here"
    per_thousand = price.usd / Decimal(repr(rate)) * 1000 if rate else None
    month = price.usd * HOURS
    return PlannedCost(month * least, month * most, per_thousand, words, source, price.usd)


def _requests_per_hour(resolved: Resolved) -> float | None:
    """Requests of one instance an hour at the scaling target, which is a sum per minute."""
    policy = resolved.spec.scaling
    scaling = resolved.scaling
    if scaling is None or not isinstance(policy, TargetTracking):
        return None
    if policy.metric != "invocations_per_instance" or not scaling.tracking:
        return None
    return scaling.tracking[0].target * 60


def _serverless(
    resolved: Resolved, target: SageMakerServerless, book: PriceBook, busy_ms: float | None
) -> PlannedCost:
    region, size = resolved.place.region, f"{target.memory_mb // 1024}GB"
    price = book.lookup("sagemaker-serverless", region, f"Mem-{size}")
    source = f"{price.source}, {price.as_of}"
    low = high = 0
    kept = book.lookup("sagemaker-serverless-pc", region, f"Usage-{size}").usd * HOURS * 3600
    if target.provisioned_concurrency:
        bounds = resolved.scaling
        low = bounds.min_capacity if bounds else resolved.instances
        high = bounds.max_capacity if bounds else resolved.instances
    if busy_ms is None:
        words = "give the measured times: --profile profile.json"
        return PlannedCost(kept * low, kept * high, None, words, source, kept / HOURS)
    per_thousand = price.usd * Decimal(repr(busy_ms))  # per second x ms / 1000 x 1000 requests
    return PlannedCost(kept * low, kept * high, per_thousand, "", source, kept / HOURS)
