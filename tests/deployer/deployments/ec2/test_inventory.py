"""What a plan of a fleet says of cost: every part by hand, and unknown with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deployer.cost.materials import Made
from deployer.cost.month import MonthLine
from deployer.deployments.backend import Asked
from deployer.deployments.ec2 import inventory
from deployer.deployments.ec2.resolve import resolve
from deployer.pricing import snapshot
from deployer.spec import serde
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Image, Place
from inference_code.contract import ServingConfig

ROOT = Path(__file__).parents[4]


def resolved(data: Mapping[str, Any]) -> ResolvedFleet:
    spec = serde.from_dict(data)
    place = Place("123456789012", data["target"].get("region", "us-east-1"), "target.region")
    image = Image("example.com/digits@sha256:" + "7b" * 32, "7b" * 32)
    return resolve(
        spec, place, image, "3f" * 32, ServingConfig(), "ami-1",
        asked=Asked(), now=datetime(2026, 11, 21, tzinfo=UTC),
    )  # fmt: skip


def example(name: str) -> ResolvedFleet:
    return resolved(serde.to_dict(serde.load(ROOT / "examples" / "deploy_ec2" / f"{name}.toml")))


def wish(**target: Any) -> dict[str, Any]:
    base = {"kind": "ec2-fleet", "instance_type": "c7i.large", "listener": {"protocol": "http"}}
    return {"name": "digits", "bundle": "d.tar.gz", "target": base | target}


def lines(found: ResolvedFleet) -> dict[str, MonthLine]:
    return {line.item: line for line in inventory.predict(found, snapshot.load()).lines}


def test_every_part_is_priced_by_hand() -> None:
    """minimal: one c7i.large, 20 GB, a load balancer with two addresses and one of the instance's."""
    found = lines(example("minimal"))
    assert found["load balancer"].usd_least == Decimal("0.0225") * 730
    assert found["public IPv4 addresses"].usd_least == Decimal("0.005") * 730 * 3
    assert found["EBS gp3 storage"].usd_least == Decimal("0.08") * 20
    assert found["alarms"].usd_least == Decimal("0.1") * 4, "two, of two metrics each"
    assert found["dashboard"].usd_least == 3
    instances = found["c7i.large instances"]
    assert (instances.least, instances.most) == (730, 730)
    assert instances.usd == snapshot.load().lookup("ec2", "us-east-1", "c7i.large").usd


def test_nat_and_endpoints_are_priced() -> None:
    nat = lines(example("spot"))
    assert nat["NAT gateways"].usd_least == Decimal("0.045") * 730
    assert nat["public IPv4 addresses"].least == 730 * 3, "two of the load balancer, one of NAT"
    endpoints = lines(example("graviton"))
    assert "public IPv4 addresses" not in endpoints, "an internal load balancer has none"
    (row,) = [line for item, line in endpoints.items() if item.startswith("VPC endpoints")]
    assert row.usd_least == Decimal("0.01") * 730 * 7 * 2


def test_unknown_is_never_nothing() -> None:
    predicted = inventory.predict(
        resolved(wish(spot={}, instances=3, instance_type="c5a.large")), snapshot.load()
    )
    rows = {line.item: line for line in predicted.lines}
    spot = rows["c5a.large instances on spot"]
    assert (spot.usd, spot.usd_most) == (None, None)
    assert "target.spot: no price for ec2-spot/us-east-1/c5a.large" in spot.unknown
    assert (predicted.month_least, predicted.month_most) == (None, None)
    units = rows["load balancer capacity"]
    assert (units.least, units.usd_least, units.usd) == (None, None, Decimal("0.008"))
    assert spot.item in predicted.unknown
    assert units.item in predicted.by_traffic
    document = predicted.to_json()
    assert [
        row for row in document["lines"] if row["usd_least"] is None and not row["unknown_reason"]
    ] == []


def test_an_instance_type_without_a_price_is_unknown_by_its_key() -> None:
    predicted = inventory.predict(resolved(wish(instance_type="c99i.large")), snapshot.load())
    assert predicted.month_least is None
    assert predicted.unknown["c99i.large instances"].startswith("target.instance_type: no price")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minimal", Made(4, 0, 1)),  # 5xx and unreachable, of two metrics each
        ("https", Made(4 + 1 + 2, 0, 1)),  # p99; target tracking's two
        ("queue", Made(1 + 2 * 2, 0, 1)),  # dead letters; two on the backlog of two metrics
        ("warm-pool", Made(4 + 1 + 2 * 3, 0, 1)),  # two steps on requests in flight, of three
        ("graviton", Made(4, 0, 1)),  # schedules need none
        ("spot", Made(4 + 1 + 2, 0, 1)),
    ],
)
def test_alarms_are_counted_by_the_metrics_that_they_watch(name: str, expected: Made) -> None:
    found = example(name)
    assert inventory.made(found.spec, found.target) == expected


@pytest.mark.parametrize(
    ("region", "usd"),
    [("us-west-2", "16.425"), ("eu-west-1", "18.396")],  # 730 x 0.0225 and 730 x 0.0252
)
def test_each_region_has_its_own_price_of_a_load_balancer(region: str, usd: str) -> None:
    found = lines(resolved(wish(region=region)))["load balancer"]
    assert (found.usd_least, found.usd_most) == (Decimal(usd), Decimal(usd))


def test_a_part_without_a_price_says_so() -> None:
    book = snapshot.load()
    priced = {sku: price for sku, price in book.prices.items() if sku.service != "elb"}
    fleet = resolved(wish(region="us-west-2"))
    predicted = inventory.predict(fleet, replace(book, prices=priced))
    assert predicted.month_least is None
    reason = predicted.unknown["load balancer"]
    assert reason.startswith("target.listener: no price for elb/us-west-2/application-load")
