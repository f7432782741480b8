"""A month's bill on a terminal: what is known, what follows the traffic, what is unknown and why."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from deployer.cli import bills
from deployer.cost.month import MonthLine, MonthlyCost

HOURS = MonthLine(
    "c5.large instances", "instance-hour", "target.instance_type", Decimal(730), Decimal(1460), None,
    Decimal("0.085"), "a table, 2026-07-20",
)  # fmt: skip
DATA = MonthLine(
    "internet data out", "GB", "target", None, None, None, Decimal("0.09"), "a table, 2026-07-20",
    traffic=True, unknown="follows the traffic",
)  # fmt: skip
SPOT = MonthLine(
    "c5.large instances on spot", "instance-hour", "target.spot", Decimal(730), Decimal(730), None,
    None, "", unknown="target.spot: no price",
)  # fmt: skip


def shown(*lines: MonthLine, successes: Decimal | None = None) -> str:
    return "\n".join(bills.month(MonthlyCost(lines, successes, "by trace 'day'")))


def test_sizes_are_told_apart_and_traffic_is_named() -> None:
    text = shown(HOURS, DATA)
    assert "730 to 1460 instance-hour  $0.085 per instance-hour  $62.05 to $124.10" in text
    assert "by traffic" in text
    assert "by size, without what follows the traffic: $62.05 to $124.10" in text
    assert "Follows the traffic: internet data out" in text
    assert "Per thousand requests: unknown; give the traffic: --trace" in text


def test_one_unknown_line_makes_the_sum_unknown_with_its_reason() -> None:
    text = shown(HOURS, SPOT)
    assert "without what follows the traffic: unknown" in text
    assert "unknown: c5.large instances on spot: target.spot: no price" in text
    assert "price unknown" in text


def test_the_traffic_is_priced_all_in() -> None:
    lines = (
        replace(HOURS, by_trace=Decimal(1000)),
        replace(DATA, by_trace=Decimal(10), unknown=""),
    )
    text = shown(*lines, successes=Decimal(1_000_000))
    assert "Per month, by trace 'day': $85.90; per thousand successful requests $0.0859" in text
    assert "Follows the traffic" not in text


@pytest.mark.parametrize(
    ("usd", "text"),
    [("0", "$0.00"), ("0.7", "$0.70"), ("0.00306", "$0.00306"), ("1234.5", "$1,234.50")],
)
def test_money(usd: str, text: str) -> None:
    assert bills.money(Decimal(usd)) == text
