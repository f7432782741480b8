from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from deployer.cost.candidates import Entry, assess
from deployer.errors import InputError
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.target import Ec2Fleet, Local, SageMakerRealtime, SageMakerServerless

SLO = Slo(p99_ms=100)


def test_month_is_730_hours_of_the_trace(make_entry: Callable[..., Entry], book: PriceBook) -> None:
    found = assess(make_entry("a", request_bytes=0, response_bytes=0), SLO, book)
    assert found.usd_per_month == Decimal("0.102") * 730
    assert found.verdict == "meets"
    assert (found.offered, found.successes, found.failures) == (36_000, 36_000, 0)
    assert found.instances == (1, 1)


def test_missing_price_makes_it_unknown_with_the_reason(
    make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    found = assess(make_entry("a", SageMakerRealtime("ml.t3.large")), SLO, book)
    assert (found.verdict, found.usd_per_thousand, found.bill) == ("unknown", None, None)
    assert "publishes no hosting price" in str(found.unknown_reason)


def test_entry_without_runs_is_unknown_with_its_reason(book: PriceBook) -> None:
    spec = DeploymentSpec("a", "b.tar.gz", Ec2Fleet("g6.xlarge"))
    found = assess(Entry("a", spec, unknown_reason="no profile for this GPU"), SLO, book)
    assert (found.verdict, found.unknown_reason) == ("unknown", "no profile for this GPU")


def test_local_target_is_unknown_not_free(
    make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    found = assess(make_entry("a", Local()), SLO, book)
    assert found.verdict == "unknown"
    assert found.usd_per_thousand is None


@pytest.mark.parametrize("reason", ["", None])
def test_entry_must_have_runs_or_a_reason(reason: str | None) -> None:
    spec = DeploymentSpec("a", "b.tar.gz", Ec2Fleet("c5.large"))
    with pytest.raises(InputError, match="either runs or an unknown_reason"):
        Entry("a", spec, unknown_reason=reason)


def test_row_comes_whole_from_the_run_of_median_cost(
    make_run: Callable[..., Run], make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    runs = tuple(make_run(duration_s=3600.0, refused=n) for n in (300, 0, 100))
    found = assess(make_entry("a", runs=runs), SLO, book)
    assert found.run is runs[2]
    assert found.refused == found.failures == 100
    assert found.bill is not None
    assert found.usd_per_thousand == found.bill.usd * 1000 / found.successes
    assert found.slo_attainment == (3 * 36_000 - 400) / (3 * 36_000)


def test_interval_is_students_over_the_seeds(
    make_run: Callable[..., Run], make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    runs = tuple(make_run(duration_s=3600.0, refused=n) for n in (0, 18_000))
    found = assess(make_entry("a", runs=runs), SLO, book)
    cost = assess(make_entry("a", runs=runs[:1]), SLO, book).usd_per_thousand
    assert cost is not None
    # costs c and 2c: standard deviation c/√2, over √2 seeds, t with one degree of freedom 12.706
    assert float(found.usd_interval or 0) == pytest.approx(12.706 * float(cost) / 2)


def test_one_seed_has_no_interval(make_entry: Callable[..., Entry], book: PriceBook) -> None:
    assert assess(make_entry("a"), SLO, book).usd_interval is None


def test_run_without_a_success_misses_at_unknown_cost(
    make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    found = assess(make_entry("a", refused=36_000), Slo(), book)
    assert (found.verdict, found.usd_per_thousand) == ("misses", None)
    assert found.unknown_reason == "no request succeeded"


def test_serverless_has_no_instances(make_entry: Callable[..., Entry], book: PriceBook) -> None:
    found = assess(make_entry("a", SageMakerServerless(), billed_compute_s=360.0), SLO, book)
    assert found.instances is None
    assert found.usd_per_thousand is not None
