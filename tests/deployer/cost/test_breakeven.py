from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cost.breakeven import BreakEven, break_even, price_reversals, price_shares
from deployer.cost.candidates import Entry, assess
from deployer.cost.ranking import rank
from deployer.cost.report import Bill, Candidate, LineItem
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import Slo
from deployer.spec.target import Ec2Fleet, SageMakerRealtime


@pytest.fixture(scope="session")
def priced(
    make_entry: Callable[..., Entry], book: PriceBook
) -> Callable[[dict[str, str]], Candidate]:
    """A candidate with one bill line an item, at USD 1 a unit: so many USD per thousand each."""

    def make(shares: dict[str, str]) -> Candidate:
        found = tuple(
            LineItem(item, Decimal(usd), "hour", Decimal(1), Decimal(usd), "a table", "2026-01-01")
            for item, usd in shares.items()
        )
        base = assess(make_entry("+".join(shares)), Slo(), book)
        total = sum((line.usd for line in found), Decimal(0))
        return replace(base, bill=Bill(found, 1000), usd_per_thousand=total)

    return make


Priced = Callable[[dict[str, str]], Candidate]


def test_shares_sum_to_the_cost(make_entry: Callable[..., Entry], book: PriceBook) -> None:
    found = assess(make_entry("a", Ec2Fleet("c5.large")), Slo(), book)
    total = sum(price_shares(found).values(), Decimal(0))
    assert float(total) == pytest.approx(float(found.usd_per_thousand or 0), rel=1e-12)


def test_break_even_takes_the_smallest_change(priced: Priced) -> None:
    best, other = priced({"a": "8", "b": "1"}), priced({"c": "11"})
    # a must rise by 2/8, b by 2/1, c fall by 2/11
    found = break_even(best, other)
    assert found is not None
    assert (found.item, round(found.change, 4)) == ("c", Decimal("-0.1818"))


def test_shared_price_counts_by_its_difference(priced: Priced) -> None:
    best, other = priced({"shared": "4"}), priced({"shared": "1", "own": "5"})
    # 4(1+x) = 1(1+x) + 5 at x = 2/3; own must fall by 2/5
    assert break_even(best, other) == BreakEven("own", Decimal("-0.4"))


def test_dearer_use_of_the_same_price_cannot_win(priced: Priced) -> None:
    assert break_even(priced({"a": "2"}), priced({"a": "5"})) is None


@given(
    st.lists(st.integers(1, 50), min_size=3, max_size=3),
    st.lists(st.integers(1, 50), min_size=3, max_size=3),
)
def test_at_break_even_the_two_cost_the_same(
    priced: Priced, ours: list[int], theirs: list[int]
) -> None:
    items = ("a", "b", "c")
    pair = sorted(
        (
            priced({i: str(v) for i, v in zip(items, values, strict=True)})
            for values in (ours, theirs)
        ),
        key=lambda c: c.usd_per_thousand or 0,
    )
    found = break_even(pair[0], pair[1])
    if found is None:
        return
    costs = [
        sum(
            usd * (1 + found.change if key[0] == found.item else 1)
            for key, usd in price_shares(c).items()
        )
        for c in pair
    ]
    assert float(costs[0]) == pytest.approx(float(costs[1]))


def test_price_that_reverses_the_order_is_named(
    make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    entries = [
        make_entry("c5", SageMakerRealtime("ml.c5.large")),
        make_entry("c7i", SageMakerRealtime("ml.c7i.large")),
    ]
    ranked = rank([assess(entry, Slo(), book) for entry in entries])
    assert price_reversals(ranked, Decimal("0.10")) == (
        "Price of ml.c5.large instances 10% higher: c7i is cheapest.",
        "Price of ml.c7i.large instances 10% lower: c7i is cheapest.",
    )


def test_small_change_reverses_nothing(make_entry: Callable[..., Entry], book: PriceBook) -> None:
    entries = [make_entry("sagemaker"), make_entry("fleet", Ec2Fleet("c5.large"))]
    ranked = rank([assess(entry, Slo(), book) for entry in entries])
    assert price_reversals(ranked, Decimal("0.10")) == ()


def test_single_candidate_has_nothing_to_lose_to(
    make_entry: Callable[..., Entry], book: PriceBook
) -> None:
    ranked = rank([assess(make_entry("a"), Slo(), book)])
    assert price_reversals(ranked, Decimal("0.5")) == ()
