"""A month's bill as plain lines for a terminal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from deployer.cli.text import table

if TYPE_CHECKING:
    from deployer.cost.month import MonthLine, MonthlyCost


def money(value: Decimal) -> str:
    """Return dollars with cents, or with three digits that count below ten cents."""
    return f"${value:,.2f}" if value >= Decimal("0.1") or value == 0 else f"${value:.3g}"


def month(cost: MonthlyCost) -> list[str]:
    """Return a line for each thing that is billed, the sums, and what is in none of them."""
    rows = [
        (line.item, _quantity(line, cost), _price(line), _month(line, cost)) for line in cost.lines
    ]
    return [table(rows), *_by_size(cost), *_by_trace(cost)]


def _by_size(cost: MonthlyCost) -> list[str]:
    least, most = cost.month_least, cost.month_most
    words = "unknown" if least is None or most is None else _range(money(least), money(most))
    found = [f"  Per month of 730 h by size, without what follows the traffic: {words}"]
    if cost.by_traffic and cost.successes is None:
        found.append(f"  Follows the traffic: {', '.join(cost.by_traffic)}")
        found.append(
            "  Per thousand requests: unknown; give the traffic: --trace trace.csv --profile profile.json"
        )
    return found + [f"  unknown: {item}: {why}" for item, why in cost.unknown.items()]


def _by_trace(cost: MonthlyCost) -> list[str]:
    if cost.successes is None:
        return []
    if cost.month_by_trace is None:
        return [f"  Per month, {cost.basis}: unknown"]
    month = f"  Per month, {cost.basis}: {money(cost.month_by_trace)}"
    if cost.per_thousand is None:
        return [f"{month}; no request succeeds"]
    return [f"{month}; per thousand successful requests {money(cost.per_thousand)}"]


def _quantity(line: MonthLine, cost: MonthlyCost) -> str:
    ends = [f"{_short(value)}" for value in (line.least, line.most) if value is not None]
    if line.traffic:
        ends = [] if line.by_trace is None else [_short(line.by_trace)]
    if not ends:
        return "unknown" if line.unknown and not line.traffic else "by traffic"
    return f"{_range(ends[0], ends[-1])} {line.unit}".strip()


def _price(line: MonthLine) -> str:
    return "price unknown" if line.usd is None else f"${line.usd:f} per {line.unit}"


def _month(line: MonthLine, cost: MonthlyCost) -> str:
    if line.traffic:
        return "unknown" if line.usd_by_trace is None else money(line.usd_by_trace)
    if line.usd_least is None or line.usd_most is None:
        return "unknown"
    return _range(money(line.usd_least), money(line.usd_most))


def _range(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _short(value: Decimal) -> str:
    """Return a quantity with at most six digits that count."""
    return f"{value:.6g}" if value < 1_000_000 else f"{value:,.0f}"
