"""What a deployment costs a month and per thousand requests, from the price book; nothing is guessed.

A month is 730 hours. Data, logs and storage are not counted: they depend on the traffic, which a plan does not
know (``deployer compare`` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from deployer.errors import SpecError, UnknownPrice
from deployer.pricing.book import PriceBook, Sku
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

    What is None is not known, and ``unknown`` says why. ``source`` names price and date.
    """

    month_least: Decimal | None
    month_most: Decimal | None
    per_thousand: Decimal | None
    unknown: str
    source: str
    per_hour: Decimal | None


def predict(resolved: Resolved, book: PriceBook, *, busy_ms: float | None = None) -> PlannedCost:
    """Return the predicted cost. ``busy_ms`` is a request's measured time, which serverless bills.

    Where AWS's figures for a mode were not read, the cost is unknown: it is not assumed to be that of another
    mode. Raises SpecError for an instance type that has no price in any mode: it may not even exist there.
    """
    target = resolved.spec.target
    if isinstance(target, SageMakerServerless):
        return _serverless(resolved, target, book, busy_ms)
    region, instance_type = resolved.place.region, str(getattr(target, "instance_type", ""))
    try:
        price = book.lookup(SERVICES[target.kind], region, instance_type)
    except UnknownPrice as error:
        if not _has_price(book, region, instance_type):
            raise SpecError("target.instance_type", error.message, hint=error.hint) from error
        return PlannedCost(None, None, None, error.message, "", None)
    source = f"{price.source}, {price.as_of}"
    if isinstance(target, SageMakerBatch):
        words = "a batch job is billed while it runs"
        return PlannedCost(Decimal(0), Decimal(0), None, words, source, price.usd)
    least, most = _bounds(resolved)
    rate = _requests_per_hour(resolved)
    words = "" if rate else "no scaling target in requests says what one instance serves"
    if isinstance(target, SageMakerAsync):
        words = "how long requests take is not known here"
    per_thousand = price.usd / Decimal(repr(rate)) * 1000 if rate else None
    month = price.usd * HOURS
    return PlannedCost(month * least, month * most, per_thousand, words, source, price.usd)


def _has_price(book: PriceBook, region: str, instance_type: str) -> bool:
    """Whether an instance type has a price in some mode."""
    wanted = {Sku(service, region, instance_type) for service in SERVICES.values()}
    return not wanted.isdisjoint(book.prices)


def _bounds(resolved: Resolved) -> tuple[int, int]:
    """The smallest and the largest fleet, in instances or units."""
    bounds = resolved.scaling
    if bounds is None:
        return resolved.instances, resolved.instances
    return bounds.min_capacity, bounds.max_capacity


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
    """What is kept warm costs by the hour; the rest by the work, which ``busy_ms`` tells."""
    region, size = resolved.place.region, f"{target.memory_mb // 1024}GB"
    least = most = Decimal(0)
    per_hour: Decimal | None = Decimal(0)
    try:
        price = book.lookup("sagemaker-serverless", region, f"Mem-{size}")
        if target.provisioned_concurrency:
            kept = book.lookup("sagemaker-serverless-pc", region, f"Usage-{size}").usd * 3600
            least, most = (kept * HOURS * count for count in _bounds(resolved))
            per_hour = kept
    except UnknownPrice as error:
        return PlannedCost(None, None, None, error.message, "", None)
    source = f"{price.source}, {price.as_of}"
    if busy_ms is None:
        words = "give the measured times: --profile profile.json"
        return PlannedCost(least, most, None, words, source, per_hour)
    per_thousand = price.usd * Decimal(repr(busy_ms))  # per second x ms / 1000 x 1000 requests
    return PlannedCost(least, most, per_thousand, "", source, per_hour)
