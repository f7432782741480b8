"""Conditions that a report is held to in CI: an objective, a budget."""

from __future__ import annotations

from decimal import Decimal

from deployer.cost.report import CostReport
from deployer.errors import ConditionFailed
from deployer.units import format_usd


def require_objective(report: CostReport) -> None:
    """Raise ConditionFailed unless a candidate meets the objective."""
    if report.best is None:
        raise ConditionFailed(
            " ".join(report.headline), hint="loosen the objective, or add a larger candidate"
        )


def require_budget(report: CostReport, usd_per_thousand: Decimal) -> None:
    """Raise ConditionFailed unless the best candidate costs at most ``usd_per_thousand``.

    Also raises where no candidate meets the objective: there is nothing to hold to the budget.
    """
    require_objective(report)
    best = report.best
    if best is None or best.usd_per_thousand is None:  # pragma: no cover - a best has a cost
        return
    if best.usd_per_thousand > usd_per_thousand:
        raise ConditionFailed(
            f"{best.name} costs USD {format_usd(best.usd_per_thousand, 4)} per thousand successful "
            f"requests, above the budget of USD {usd_per_thousand:f}",
            hint="it is the cheapest candidate that meets the objective: raise the budget, loosen the "
            "objective, or add candidates",
        )
