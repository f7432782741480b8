"""Bills against pencil and paper: 10 requests a second for 24 hours, 3,000 bytes in and 1,200 out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.cost.bill import bill as bill_of
from deployer.cost.bill import price_lines
from deployer.cost.materials import Usage
from deployer.cost.report import Bill, LineItem
from deployer.errors import UnknownPrice
from deployer.pricing.book import Price, PriceBook, Sku, index
from deployer.runs import Run
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import (
    Ec2Fleet,
    SageMakerAsync,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

BARE = Assumptions(image_gb=0.0, bundle_gb=0.0, volume_gb=0.0, detailed_metrics=0)
REQUESTS = 864_000
GB_IN = Fraction(REQUESTS * 3000, 2**30)
GB_OUT = Fraction(REQUESTS * 1200, 2**30)


def bill(run: Run, target: Target, book: PriceBook) -> Bill:
    return bill_of(run, DeploymentSpec("digits", "none.tar.gz", target, assumptions=BARE), book)


def lines(found: Bill) -> dict[str, LineItem]:
    return {line.item: line for line in found.line_items}


def assert_usd(line: LineItem, expected: Fraction) -> None:
    """Quantities keep 12 significant digits; so does the amount."""
    assert float(line.usd) == pytest.approx(float(expected), rel=1e-11)


def test_one_fixed_ml_c5_large_equals_pencil_and_paper(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    found = bill(make_run(), SageMakerRealtime("ml.c5.large"), book)
    by_item = lines(found)
    instance = by_item.pop("ml.c5.large instances")
    assert instance.quantity == 24
    assert instance.usd == Decimal("0.102") * 24
    per_thousand = instance.usd * 1000 / REQUESTS
    assert per_thousand == Decimal("0.102") / 36
    assert round(per_thousand, 8) == Decimal("0.00283333")
    assert_usd(by_item.pop("endpoint data in"), GB_IN * Fraction("0.016"))
    assert_usd(by_item.pop("endpoint data out"), GB_OUT * Fraction("0.016"))
    assert_usd(by_item.pop("internet data out"), GB_OUT * Fraction("0.09"))
    assert not by_item
    assert found.successes == REQUESTS


def test_one_fixed_c5_large_fleet_equals_the_formulas(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    found = bill(make_run(), Ec2Fleet("c5.large"), book)
    by_item = lines(found)
    assert by_item.pop("c5.large instances").usd == 24 * Decimal("0.085")
    assert by_item.pop("load balancer").usd == 24 * Decimal("0.0225")
    capacity = by_item.pop("load balancer capacity")
    assert capacity.quantity == Decimal("9.6")  # 10 new connections a second / 25, for 24 hours
    assert capacity.usd == Decimal("0.0768")
    assert_usd(by_item.pop("EBS gp3 storage"), Fraction(24 * 20, 730) * Fraction("0.08"))
    addresses = by_item.pop("public IPv4 addresses")
    assert addresses.quantity == 24 + 2 * 24  # one for the instance, two for the load balancer
    assert addresses.usd == Decimal("0.36")
    assert_usd(by_item.pop("internet data out"), GB_OUT * Fraction("0.09"))
    # Eight metrics of the servers, and a record of 900 bytes a minute in the log, kept for 30 days.
    assert_usd(by_item.pop("metrics of the servers"), Fraction(8 * 24, 730) * Fraction("0.3"))
    written = Fraction(24 * 60 * 900, 2**30)
    assert_usd(by_item.pop("logs"), written * Fraction("0.5"))
    assert_usd(by_item.pop("logs kept"), written * Fraction(30 * 24, 730) * Fraction("0.03"))
    assert not by_item


def test_serverless_pays_for_compute_seconds(make_run: Callable[..., Run], book: PriceBook) -> None:
    run = make_run(billed_compute_s=8640.0)
    by_item = lines(bill(run, SageMakerServerless(), book))
    assert by_item["serverless 2GB compute"].usd == 8640 * Decimal("0.00004")
    assert set(by_item) - {"serverless 2GB compute"} == {
        "endpoint data in",
        "endpoint data out",
        "internet data out",
    }


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (SageMakerRealtime("ml.t3.medium"), "publishes no hosting price"),
        (SageMakerRealtime("ml.c5.large", region="us-west-2"), "no source in us-west-2"),
        (Ec2Fleet("g6.xlarge", region="eu-west-1"), "lists no g6"),
        (SageMakerServerless(memory_mb=4096), "only the 2 GB and 3 GB"),
        (SageMakerServerless(provisioned_concurrency=1), "provisioned concurrency"),
        (SageMakerAsync("ml.c5.large"), "not assumed equal"),
    ],
    ids=lambda value: value.kind if isinstance(value, Target) else None,
)
def test_bill_with_one_price_missing_is_no_bill(
    target: Target, reason: str, make_run: Callable[..., Run], book: PriceBook
) -> None:
    run = make_run(duration_s=60.0, billed_compute_s=1.0)
    with pytest.raises(UnknownPrice, match=reason):
        bill(run, target, book)


def test_idle_failed_and_refused_work_stays_in_the_numerator(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    served = bill(make_run(), SageMakerRealtime("ml.c5.large"), book)
    half_refused = bill(make_run(refused=REQUESTS // 2), SageMakerRealtime("ml.c5.large"), book)
    assert half_refused.usd == served.usd
    assert half_refused.usd_per_thousand == 2 * (served.usd_per_thousand or 0)


def test_bill_without_a_success_has_no_cost_per_thousand(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    found = bill(make_run(duration_s=10.0, refused=100), SageMakerRealtime("ml.c5.large"), book)
    assert found.usd > 0
    assert found.usd_per_thousand is None


def test_price_in_another_unit_is_refused() -> None:
    sku = Sku("ec2", "us-east-1", "c5.large")
    book = PriceBook(
        index([Price(sku, "second", Decimal("0.085"), "a table", "2026-07-20")]), "2026-11-20", ""
    )
    usage = Usage("c5.large instances", sku, Decimal(24), "instance-hour")
    with pytest.raises(UnknownPrice, match="per 'second', the usage is in 'instance-hour'"):
        price_lines([usage], book)


def test_oldest_price_is_the_bills(make_run: Callable[..., Run], book: PriceBook) -> None:
    run = make_run(duration_s=60.0)
    assert bill(run, Ec2Fleet("c5.large"), book).oldest_price == "2024-07-01"
    assert bill(run, SageMakerRealtime("ml.c5.large"), book).oldest_price == "2024-09-25"


amounts = st.decimals(min_value="0.000001", max_value="1000", places=6)


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=6), st.integers(1, 10**6))
@settings(max_examples=50)
def test_total_is_the_sum_of_the_lines(
    pairs: list[tuple[Decimal, Decimal]], successes: int
) -> None:
    skus = [Sku("ec2", "us-east-1", f"item-{i}") for i in range(len(pairs))]
    prices = [
        Price(sku, "hour", usd, "a table", "2026-01-01")
        for sku, (_, usd) in zip(skus, pairs, strict=True)
    ]
    used = [
        Usage(sku.item, sku, quantity, "hour")
        for sku, (quantity, _) in zip(skus, pairs, strict=True)
    ]
    found = Bill(price_lines(used, PriceBook(index(prices), "2026-01-01", "")), successes)
    exact = sum(Fraction(quantity) * Fraction(usd) for quantity, usd in pairs)
    assert Fraction(found.usd) == exact
    assert found.usd_per_thousand is not None
    assert float(found.usd_per_thousand) == pytest.approx(float(exact * 1000 / successes))


@given(st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_instances_scale_their_lines_and_nothing_else(
    make_run: Callable[..., Run], book: PriceBook, count: int
) -> None:
    one = lines(bill(make_run(duration_s=7200.0), Ec2Fleet("c5.large"), book))
    many = lines(bill(make_run(duration_s=7200.0, instances=count), Ec2Fleet("c5.large"), book))
    for item in ("c5.large instances", "EBS gp3 storage"):
        assert float(many[item].usd) == pytest.approx(count * float(one[item].usd), rel=1e-10)
    for item in ("load balancer", "load balancer capacity", "internet data out"):
        assert many[item] == one[item]
    addresses = "public IPv4 addresses"
    assert many[addresses].quantity - one[addresses].quantity == 2 * (count - 1)
