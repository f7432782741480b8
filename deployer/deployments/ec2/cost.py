"""What a fleet costs a month, line by line, from the price book; what has no price or no quantity is unknown.

A month is 730 hours. What follows the traffic (capacity units of the load balancer, data, logs) has a price and no
quantity: a plan does not know the traffic; ``deployer compare`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from deployer.errors import SpecError, UnknownPrice
from deployer.pricing.book import Price, PriceBook
from deployer.spec.fleet import NAT, PUBLIC, ZONES, FleetType, endpoint_services
from deployer.spec.fleet_resolved import ResolvedFleet

HOURS = Decimal(730)
MONITORING_METRICS = 7
"""Metrics of one instance with detailed monitoring, each billed as a custom one: assumed, AWS names no count."""

TRAFFIC = "its quantity follows the traffic, which a plan does not know"


@dataclass(frozen=True)
class Line:
    """One thing that is billed. Quantities are a month's, of the smallest and the largest fleet.

    ``usd`` is the price of one ``unit``. What is None comes with ``unknown``: why.
    """

    item: str
    unit: str
    least: Decimal | None
    most: Decimal | None
    usd: Decimal | None
    source: str
    unknown: str = ""

    @property
    def usd_least(self) -> Decimal | None:
        """USD a month of the smallest fleet; None when it is not known."""
        return None if self.least is None or self.usd is None else self.least * self.usd

    @property
    def usd_most(self) -> Decimal | None:
        """USD a month of the largest fleet; None when it is not known."""
        return None if self.most is None or self.usd is None else self.most * self.usd

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; money and quantities are text, unknown is null with a reason."""
        numbers = {
            "least": self.least,
            "most": self.most,
            "usd_per_unit": self.usd,
            "usd_least": self.usd_least,
            "usd_most": self.usd_most,
        }
        texts = {key: None if value is None else str(value) for key, value in numbers.items()}
        rest = {"source": self.source, "unknown_reason": self.unknown or None}
        return {"item": self.item, "unit": self.unit, **texts, **rest}


@dataclass(frozen=True)
class FleetCost:
    """All lines. The month's sums are of what is known; ``unknown`` names the items that are not in them."""

    lines: tuple[Line, ...]

    @property
    def month_least(self) -> Decimal:
        """USD of the smallest fleet a month, of what is known."""
        return sum((line.usd_least or Decimal(0) for line in self.lines), Decimal(0))

    @property
    def month_most(self) -> Decimal:
        """USD of the largest fleet a month, of what is known."""
        return sum((line.usd_most or Decimal(0) for line in self.lines), Decimal(0))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The items whose cost is not in the sums."""
        return tuple(line.item for line in self.lines if line.unknown)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "lines": [line.to_json() for line in self.lines],
            "month_least": str(self.month_least),
            "month_most": str(self.month_most),
            "unknown": list(self.unknown),
        }


def predict(resolved: ResolvedFleet, book: PriceBook) -> FleetCost:
    """Return what is billed. Raises SpecError for an instance type without a price, naming the key."""
    return FleetCost(tuple(_lines(resolved, book)))


def _lines(resolved: ResolvedFleet, book: PriceBook) -> Iterator[Line]:
    least, most = Decimal(resolved.least), Decimal(resolved.most)
    yield from _instances(resolved, book, least, most)
    pool = Decimal(resolved.target.warm_pool.size) if resolved.target.warm_pool else Decimal(0)
    volume = resolved.target.volume_gb
    few, many = _counts(resolved)
    volumes = ((few + pool) * volume, (many + pool) * volume)
    yield _line(resolved, book, "EBS gp3 storage", ("ebs", "gp3-storage"), *volumes)
    metrics = (few * MONITORING_METRICS, many * MONITORING_METRICS)
    what = f"detailed monitoring (assumed {MONITORING_METRICS} metrics an instance)"
    yield _line(resolved, book, what, ("cloudwatch", "custom-metric-first-10k"), *metrics)
    yield from _entry(resolved, book)
    yield from _network(resolved, book, few, many)
    alarms = len(resolved.alarms) + sum(len(a.value.inputs) for a in resolved.computed_alarms)
    if alarms:
        count = Decimal(alarms)
        yield _line(resolved, book, "alarms", ("cloudwatch", "alarm-standard"), count, count)
    dashboard = ("cloudwatch", "dashboard-above-3-free")
    yield _line(
        resolved, book, "dashboard (an account has 3 free)", dashboard, Decimal(0), Decimal(1)
    )
    yield _line(resolved, book, "logs", ("cloudwatch", "logs-ingested"), None, None)


def _counts(resolved: ResolvedFleet) -> tuple[Decimal, Decimal]:
    """Return the fewest and the most instances that the group's units of capacity can be."""
    weights = [row.weight for row in resolved.target.types] or [1]
    return Decimal(-(-resolved.least // max(weights))), Decimal(-(-resolved.most // min(weights)))


def _instances(
    resolved: ResolvedFleet, book: PriceBook, least: Decimal, most: Decimal
) -> Iterator[Line]:
    """Instance-hours. Of several types the cheapest unit bounds the smallest fleet, the dearest the largest."""
    target = resolved.target
    rows = target.types or (FleetType(target.instance_type),)
    prices = []
    for index, row in enumerate(rows):
        key = f"target.types[{index}].instance_type" if target.types else "target.instance_type"
        try:
            price = book.lookup("ec2", resolved.place.region, row.instance_type)
        except UnknownPrice as error:
            raise SpecError(key, error.message, hint=error.hint) from error
        prices.append((price.usd / row.weight, price))
    prices.sort(key=lambda pair: pair[0])
    low, high = prices[0], prices[-1]
    spot = target.spot
    kept_least, kept_most = least, most
    if spot is not None:
        base = Decimal(spot.on_demand_base)
        share = Decimal(spot.on_demand_percent) / 100
        kept_least = min(least, base) + max(Decimal(0), least - base) * share
        kept_most = min(most, base) + max(Decimal(0), most - base) * share
    pool = target.warm_pool
    if pool is not None and pool.state == "running":
        kept_least, kept_most = kept_least + pool.size, kept_most + pool.size
    source = _source(low[1]) if low == high else f"{_source(low[1])}; {_source(high[1])}"
    words = " or ".join(sorted({row.instance_type for row in rows}))
    name = f"{words}, on demand"
    if low == high:
        yield Line(name, "hour", kept_least * HOURS, kept_most * HOURS, low[0], source)
    else:
        # One price a unit-hour for both ends would hide that they differ: hours are of the dearest unit.
        hours = (kept_least * HOURS * low[0] / high[0]).quantize(Decimal("0.01"))
        yield Line(
            f"{name} (unit-hours of the dearest)", "hour", hours, kept_most * HOURS, high[0], source
        )
    if spot is not None and (most - kept_most) > 0:
        top = f"at most the on-demand price of {high[0]:f} USD an hour a unit"
        reason = f"spot prices change by the hour and are not in the price book; {top}"
        hours_of = ((least - kept_least) * HOURS, (most - kept_most) * HOURS)
        yield Line(f"{words}, spot", "hour", *hours_of, None, "", reason)


def _entry(resolved: ResolvedFleet, book: PriceBook) -> Iterator[Line]:
    """The load balancer and its capacity units, or the queue's requests."""
    if resolved.queue:
        yield _line(resolved, book, "SQS requests", ("sqs", "standard-requests-tier1"), None, None)
        return
    balancer = "application-load-balancer"
    yield _line(resolved, book, "load balancer", ("elb", balancer), HOURS, HOURS)
    units = ("elb", f"{balancer}-lcu")
    yield _line(resolved, book, "load balancer capacity units", units, None, None)
    yield _line(
        resolved,
        book,
        "data to the internet",
        ("data-transfer", "internet-out-first-10TB"),
        None,
        None,
    )


def _network(
    resolved: ResolvedFleet, book: PriceBook, least: Decimal, most: Decimal
) -> Iterator[Line]:
    network, listener = resolved.target.network, resolved.target.listener
    nat = network.nat_gateways if network.made and network.egress == NAT else 0
    open_side = listener is not None and not listener.internal
    addresses = Decimal((resolved.target.alb_ipv4 if open_side else 0) + nat)
    each = 1 if network.egress == PUBLIC else 0
    ipv4 = ("vpc", "public-ipv4-address")
    if addresses or each:
        hours = ((addresses + least * each) * HOURS, (addresses + most * each) * HOURS)
        yield _line(resolved, book, "public IPv4 addresses", ipv4, *hours)
    if nat:
        hours = (nat * HOURS, nat * HOURS)
        yield _line(resolved, book, "NAT gateways", ("vpc", "nat-gateway"), *hours)
        yield _line(resolved, book, "data through NAT", ("vpc", "nat-gateway-data"), None, None)
    if network.made and network.egress not in (PUBLIC, NAT):
        services = len(endpoint_services(bool(resolved.queue)))
        count = Decimal(services * ZONES) * HOURS
        what = f"VPC endpoints ({services} services in {ZONES} zones)"
        yield _line(resolved, book, what, ("vpc", "vpc-endpoint-interface"), count, count)
        data = ("vpc", "vpc-endpoint-interface-data-first-1PB")
        yield _line(resolved, book, "data through endpoints", data, None, None)


def _line(
    resolved: ResolvedFleet,
    book: PriceBook,
    item: str,
    sku: tuple[str, str],
    least: Decimal | None,
    most: Decimal | None,
) -> Line:
    service, name = sku
    try:
        price = book.lookup(service, resolved.place.region, name)
    except UnknownPrice as error:
        return Line(item, "", least, most, None, "", error.message)
    why = TRAFFIC if least is None else ""
    return Line(item, price.unit, least, most, price.usd, _source(price), why)


def _source(price: Price) -> str:
    return f"{price.source}, {price.as_of}"
