"""The verdicts that a pipeline may act on: budget, objective, unknown candidates, age of the prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from deployer.cost.report import Candidate, CostReport
from deployer.units import format_usd

OLD_PRICES_DAYS = 90
Level = Literal["PASS", "FAIL", "WARN"]


@dataclass(frozen=True)
class Check:
    """One condition that a pipeline may act on."""

    level: Level
    text: str


def objective(report: CostReport) -> str:
    """Print the objective: ``p99 ≤ 100 ms``."""
    wanted = [f"{key.removesuffix('_ms')} ≤ {value:g} ms" for key, value in report.slo.items()]
    return ", ".join(wanted) or "no objective"


def checks(report: CostReport, today: date | None, budget: Decimal | None) -> Iterator[Check]:
    """Yield each verdict; ``budget`` is USD per thousand, ``today`` gives the prices an age."""
    best = report.best
    if budget is not None:
        yield _budget(best, budget)
    judged = [c for c in report.candidates if c.verdict != "unknown"]
    met = [c for c in judged if c.verdict in ("best", "meets")]
    if not report.slo.items():
        yield Check("WARN", "no objective set: the cheapest wins, however slow")
    else:
        level: Level = "PASS" if best else "FAIL"
        yield Check(level, f"{objective(report)}: met by {len(met)} of {len(judged)} candidates")
    unknown = len(report.candidates) - len(judged)
    if unknown:
        yield Check("WARN", f"{unknown} of {len(report.candidates)} candidates unknown")
    yield from _price_age(report.oldest_price, today)


def _budget(best: Candidate | None, budget: Decimal) -> Check:
    stated = f"budget ${budget:f} per 1,000"
    if best is None or best.usd_per_thousand is None:
        return Check("FAIL", f"{stated}: no candidate to hold to it")
    if best.usd_per_thousand > budget:
        return Check("FAIL", f"{stated}: exceeded, ${format_usd(best.usd_per_thousand, 3)}")
    unused = f" ({1 - best.usd_per_thousand / budget:.0%} unused)" if budget else ""
    return Check("PASS", f"{stated}{unused}")


def _price_age(oldest: str | None, today: date | None) -> Iterator[Check]:
    """Judge the oldest price; one dated to the month counts from its first day."""
    if oldest is None or today is None:
        return
    try:
        age = (today - date.fromisoformat(f"{oldest}-01"[:10])).days
    except ValueError:
        yield Check("WARN", f"age of prices unknown: {oldest}")
        return
    level: Level = "WARN" if age > OLD_PRICES_DAYS else "PASS"
    yield Check(level, f"oldest price {age} days old")
