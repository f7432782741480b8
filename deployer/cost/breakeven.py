"""At which price would the order change? Exact, because a bill is linear in each of its prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from deployer.cost.report import Candidate

Key = tuple[str, Decimal, str]
"""A price as the bills show it: item, USD per unit, source."""


@dataclass(frozen=True)
class BreakEven:
    """The relative change of one price at which two candidates cost the same: 0.34 raises it by 34%."""

    item: str
    change: Decimal


def price_shares(candidate: Candidate) -> dict[Key, Decimal]:
    """Return how much of a candidate's USD per thousand each price brings; they sum to the whole."""
    bill = candidate.bill
    if bill is None or not bill.successes:
        return {}
    shares: dict[Key, Decimal] = {}
    for line in bill.line_items:
        key = (line.item, line.usd_per_unit, line.source)
        shares[key] = shares.get(key, Decimal(0)) + line.usd * 1000 / bill.successes
    return shares


def break_even(best: Candidate, other: Candidate) -> BreakEven | None:
    """Return the smallest relative change of one price from which ``other`` costs no more than ``best``.

    With shares b and o of one price, costs B < O: the change is (O - B) / (b - o). A price cannot fall by
    100% or more; None when no single price can do it.
    """
    if best.usd_per_thousand is None or other.usd_per_thousand is None:
        return None
    gap = other.usd_per_thousand - best.usd_per_thousand
    ours, theirs = price_shares(best), price_shares(other)
    found = []
    for key in ours.keys() | theirs.keys():
        lever = ours.get(key, Decimal(0)) - theirs.get(key, Decimal(0))
        if lever and gap / lever > -1:
            found.append(BreakEven(key[0], gap / lever))
    return min(found, key=lambda b: (abs(b.change), b.item), default=None)


def price_reversals(candidates: Sequence[Candidate], share: Decimal) -> tuple[str, ...]:
    """Say which price, ``share`` dearer or cheaper, makes another candidate the cheapest that meets."""
    meeting = [c for c in candidates if c.verdict in ("best", "meets")]
    if len(meeting) < 2:
        return ()
    shares = {c.name: price_shares(c) for c in meeting}
    sentences = []
    for key in sorted({key for each in shares.values() for key in each}):
        for change, word in ((share, "higher"), (-share, "lower")):
            costs = {
                c.name: (c.usd_per_thousand or Decimal(0)) + change * shares[c.name].get(key, 0)
                for c in meeting
            }
            winner = min(costs, key=lambda name: (costs[name], name))
            if costs[winner] < costs[meeting[0].name]:
                sentences.append(f"Price of {key[0]} {share:.0%} {word}: {winner} is cheapest.")
    return tuple(sentences)
