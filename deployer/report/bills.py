"""A bill in words, such that every line and the sum can be checked with a calculator."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from deployer.cost.report import Bill, Candidate, LineItem
from deployer.report.table import Row


@dataclass(frozen=True)
class BillLine:
    """A line item in words: ``quantity unit × usd_per_unit = usd``."""

    item: str
    quantity: str
    unit: str
    usd_per_unit: str
    usd: str
    source: str
    as_of: str


@dataclass(frozen=True)
class BillText:
    """One candidate's bill and how its cost per thousand follows from it."""

    row: Row
    lines: tuple[BillLine, ...]
    total: str
    arithmetic: str


def bill_text(row: Row, bill: Bill) -> BillText:
    """Return the bill of one candidate in words."""
    lines = tuple(_line(line) for line in bill.line_items)
    return BillText(row, lines, f"{bill.usd:,.6f}", _arithmetic(row.candidate, bill))


def _line(line: LineItem) -> BillLine:
    return BillLine(
        item=line.item,
        quantity=_number(line.quantity),
        unit=line.unit,
        usd_per_unit=_number(line.usd_per_unit),
        usd=f"{line.usd:,.6f}",
        source=line.source,
        as_of=line.as_of,
    )


def _number(value: Decimal) -> str:
    """Print at least six significant digits and six decimals, without trailing zeros or exponent."""
    text = f"{value:,.{max(6, 5 - value.adjusted())}f}"
    return text.rstrip("0").rstrip(".")


def _arithmetic(candidate: Candidate, bill: Bill) -> str:
    per_thousand = bill.usd_per_thousand
    if per_thousand is None:
        return f"{bill.usd:,.6f} USD and no successful request: no cost per thousand."
    text = (
        f"{bill.usd:,.6f} USD ÷ {bill.successes:,} successful requests × 1,000 "
        f"= {per_thousand:.8f} USD per 1,000"
    )
    stated = candidate.usd_per_thousand
    if stated is None or f"{stated:.8f}" == f"{per_thousand:.8f}":
        return f"{text}."
    return f"{text} for the run billed here; the table states {stated:.8f}."
