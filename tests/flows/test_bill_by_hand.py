"""From a trace to report.json: 10 requests a second for 24 hours equal pencil and paper."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from deployer import api
from deployer.profiles import Profile, ServiceTime
from deployer.report.rows import to_json
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.fleet import Listener
from deployer.spec.target import Ec2Fleet, SageMakerRealtime

REQUESTS = 864_000
REQUEST_GB = Fraction(REQUESTS * 3000, 2**30)
ANSWER_GB = Fraction(REQUESTS * 1200, 2**30)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    profile = Profile(
        name="digits",
        bundle_digest="d" * 64,
        precision="fp32",
        hardware={"cpu": "a CPU"},
        workers=1,
        threads=1,
        service_time_ms={1: ServiceTime("deterministic", 10.0)},
        request_bytes=3000,
        response_bytes=1200,
        memory_mb=100.0,
        startup_s=1.0,
        date="2026-11-20",
    )
    specs = [
        DeploymentSpec("digits", "digits.tar.gz", target, slo=Slo(p99_ms=100))
        for target in (
            SageMakerRealtime("ml.c5.large"),
            Ec2Fleet("c5.large", listener=Listener("http")),
        )
    ]
    trace = api.make_trace("constant", rate=10, duration_s=86400)
    return to_json(api.compare(specs, trace=trace, profiles=[profile], seeds=(0,)))


def bill(document: dict[str, Any], target: str) -> dict[str, Decimal]:
    (candidate,) = (c for c in document["candidates"] if c["target"] == target)
    assert candidate["successes"] == REQUESTS
    items = {line["item"]: Decimal(line["usd"]) for line in candidate["line_items"]}
    assert Decimal(candidate["usd_per_thousand"]) == sum(items.values()) * 1000 / REQUESTS
    return items


def test_endpoint(document: dict[str, Any]) -> None:
    items = bill(document, "sagemaker-realtime")
    instance = items.pop("ml.c5.large instances") * 1000 / REQUESTS
    assert instance == Decimal("0.102") / 36
    assert round(instance, 8) == Decimal("0.00283333")
    expected = {
        "endpoint data in": REQUEST_GB * Fraction("0.016"),
        "endpoint data out": ANSWER_GB * Fraction("0.016"),
        "internet data out": ANSWER_GB * Fraction("0.09"),
    }
    assert {k: float(v) for k, v in items.items()} == pytest.approx(
        {k: float(v) for k, v in expected.items()}, rel=1e-11
    )


def test_fleet(document: dict[str, Any]) -> None:
    expected = {
        "c5.large instances": 24 * Fraction("0.085"),
        "load balancer": 24 * Fraction("0.0225"),
        "load balancer capacity": 24 * Fraction(10, 25) * Fraction("0.008"),
        "EBS gp3 storage": Fraction(24 * 20, 730) * Fraction("0.08"),
        "public IPv4 addresses": (24 + 24 * 2) * Fraction("0.005"),
        "internet data out": ANSWER_GB * Fraction("0.09"),
    }
    assert {k: float(v) for k, v in bill(document, "ec2-fleet").items()} == pytest.approx(
        {k: float(v) for k, v in expected.items()}, rel=1e-11
    )


def test_every_price_names_source_and_date(document: dict[str, Any]) -> None:
    lines = [line for c in document["candidates"] for line in c["line_items"]]
    assert all(line["source"] and line["as_of"] for line in lines)
    assert document["oldest_price"] == min(line["as_of"] for line in lines)
