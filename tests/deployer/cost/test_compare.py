from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal

import pytest

from deployer.cost.candidates import Entry
from deployer.cost.compare import NOT_COUNTED, compare
from deployer.cost.report import CostReport
from deployer.errors import InputError
from deployer.pricing.book import PriceBook
from deployer.profiles import Profile, ServiceTime
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.target import Ec2Fleet, SageMakerRealtime, SageMakerServerless
from deployer.traffic.trace import TrafficTrace

Make = Callable[..., Entry]


@pytest.fixture
def entries(make_entry: Make) -> list[Entry]:
    return [
        make_entry("endpoint"),
        make_entry("fleet", Ec2Fleet("c5.large")),
        make_entry("cold", SageMakerServerless(), late=900, billed_compute_s=360.0),
        make_entry("unpriced", SageMakerRealtime("ml.m6i.large")),
    ]


def report(
    entries: list[Entry], trace: TrafficTrace, book: PriceBook, **given: object
) -> CostReport:
    slo = given.pop("slo", Slo(p99_ms=100))
    return compare(entries, name="digits", trace=trace, slo=slo, book=book, **given)  # type: ignore[arg-type]


def test_report_holds_the_whole_comparison(
    entries: list[Entry], hour: TrafficTrace, book: PriceBook
) -> None:
    found = report(entries, hour, book, seeds=(7,), tool_version="0.1", commands=("deployer x",))
    assert [(c.name, c.verdict) for c in found.candidates] == [
        ("endpoint", "best"),
        ("fleet", "meets"),
        ("cold", "misses"),
        ("unpriced", "unknown"),
    ]
    assert found.best is found.candidates[0]
    assert found.oldest_price == "2024-07-01"
    assert (found.region, found.trace_requests, found.trace_duration_s) == (
        "us-east-1",
        36_000,
        3600,
    )
    assert found.trace_digest == hour.digest
    assert found.not_counted == NOT_COUNTED
    assert len(found.headline) == 2
    assert len(found.conventions) == len(set(found.conventions))
    assert (found.seeds, found.tool_version, found.commands) == ((7,), "0.1", ("deployer x",))


def test_order_of_entries_changes_nothing(
    entries: list[Entry], hour: TrafficTrace, book: PriceBook
) -> None:
    reports = [report(list(order), hour, book) for order in itertools.permutations(entries)]
    assert len({r.headline for r in reports}) == 1
    assert len({tuple(c.name for c in r.candidates) for r in reports}) == 1


def test_without_objective_cost_alone_ranks(
    entries: list[Entry], hour: TrafficTrace, book: PriceBook
) -> None:
    found = report(entries, hour, book, slo=Slo())
    assert [c.name for c in found.candidates] == ["cold", "endpoint", "fleet", "unpriced"]
    assert found.candidates[0].slo_attainment is None


def test_profiles_are_taken_from_the_entries_once(
    make_entry: Make, hour: TrafficTrace, book: PriceBook
) -> None:
    profile = Profile(
        name="digits",
        bundle_digest="d" * 64,
        precision="int8",
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
    spec = DeploymentSpec("a", "b.tar.gz", SageMakerRealtime("ml.c5.large"))
    runs = make_entry("x").runs
    found = report([Entry("a", spec, profile, runs), Entry("b", spec, profile, runs)], hour, book)
    assert found.profiles == (profile.to_json(),)
    assert {c.precision for c in found.candidates} == {"int8"}


def test_no_entry_is_refused(hour: TrafficTrace, book: PriceBook) -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        report([], hour, book)


def test_two_entries_of_one_name_are_refused(
    make_entry: Make, hour: TrafficTrace, book: PriceBook
) -> None:
    with pytest.raises(InputError, match="two candidates are named 'a'"):
        report([make_entry("a"), make_entry("b"), make_entry("a")], hour, book)


def test_all_unknown_is_a_report_without_a_winner(
    make_entry: Make, hour: TrafficTrace, book: PriceBook
) -> None:
    found = report([make_entry("a", SageMakerRealtime("ml.t3.large"))], hour, book)
    assert (found.best, found.oldest_price) == (None, None)
    assert found.headline[0] == "No candidate can be priced."


def test_cost_is_linear_in_the_price(make_entry: Make, hour: TrafficTrace, book: PriceBook) -> None:
    one = make_entry("one", request_bytes=0, response_bytes=0)
    three = make_entry("three", request_bytes=0, response_bytes=0, instances=3)
    found = {c.name: c for c in report([one, three], hour, book).candidates}
    assert found["one"].usd_per_thousand == Decimal("0.102") / 36
    assert found["three"].usd_per_thousand == 3 * Decimal("0.102") / 36
