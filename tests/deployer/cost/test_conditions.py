from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from deployer.cost.candidates import Entry
from deployer.cost.compare import compare
from deployer.cost.conditions import require_budget, require_objective
from deployer.cost.report import CostReport
from deployer.errors import ConditionFailed
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import Slo
from deployer.traffic.trace import TrafficTrace


@pytest.fixture
def report(
    make_entry: Callable[..., Entry], hour: TrafficTrace, book: PriceBook
) -> Callable[..., CostReport]:
    def make(**run: int) -> CostReport:
        entry = make_entry("a", request_bytes=0, response_bytes=0, **run)
        return compare([entry], name="x", trace=hour, slo=Slo(p99_ms=100), book=book)

    return make


def test_budget_at_the_cost_holds(report: Callable[..., CostReport]) -> None:
    require_budget(report(), Decimal("0.102") / 36)


def test_budget_below_the_cost_fails_with_both_figures(report: Callable[..., CostReport]) -> None:
    with pytest.raises(
        ConditionFailed, match=r"a costs USD 0.002833 .* above the budget of USD 0.0028"
    ) as caught:
        require_budget(report(), Decimal("0.0028"))
    assert caught.value.exit_code == 1


def test_objective_that_nobody_meets_fails(report: Callable[..., CostReport]) -> None:
    missed = report(late=9000)
    with pytest.raises(ConditionFailed, match="No candidate meets p99 ≤ 100 ms"):
        require_objective(missed)
    with pytest.raises(ConditionFailed, match="No candidate meets p99 ≤ 100 ms"):
        require_budget(missed, Decimal(1))


def test_objective_that_is_met_holds(report: Callable[..., CostReport]) -> None:
    require_objective(report())
