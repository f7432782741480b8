from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cost.ranking import pareto_front, rank, tied
from deployer.cost.report import Candidate
from deployer.stats import LatencySummary


def candidate(name: str, usd: str | None = None, **fields: Any) -> Candidate:
    values: dict[str, Any] = {
        "target": "ec2-fleet",
        "precision": "fp32",
        "spec": {},
        "verdict": "meets" if usd else "unknown",
        "reason": "",
        "usd_per_thousand": Decimal(usd) if usd else None,
        "usd_interval": None,
        "usd_per_month": None,
        "bill": None,
        "latency_ms": None,
        "slo_attainment": None,
        "offered": 0,
        "successes": 0,
        "failures": 0,
        "refused": 0,
        "instances": None,
        "provenance": "simulated",
    }
    return Candidate(name=name, **(values | fields))


def missing(name: str, usd: str | None, share: float) -> Candidate:
    return candidate(name, usd, verdict="misses", attainments={"p99_ms": share})


def test_cheapest_that_meets_is_best_even_if_a_miss_is_cheaper() -> None:
    ranked = rank([candidate("b", "0.003"), missing("a", "0.001", 0.97), candidate("c", "0.002")])
    assert [(c.name, c.verdict, c.rank) for c in ranked] == [
        ("c", "best", 1),
        ("b", "meets", 2),
        ("a", "misses", None),
    ]


def test_nearest_miss_comes_first_and_unknown_last() -> None:
    ranked = rank(
        [
            candidate("unknown"),
            missing("far", "0.001", 0.5),
            missing("near", "0.009", 0.985),
            missing("dead", None, 0.5),
        ]
    )
    assert [c.name for c in ranked] == ["near", "far", "dead", "unknown"]


def test_overlapping_intervals_tie() -> None:
    a = candidate("a", "0.0020", usd_interval=Decimal("0.0003"))
    b = candidate("b", "0.0024", usd_interval=Decimal("0.0001"))
    c = candidate("c", "0.0025", usd_interval=Decimal("0.0001"))
    ranked = rank([c, b, a])
    assert [(x.name, x.tied) for x in ranked] == [("a", False), ("b", True), ("c", False)]
    assert ranked[1].reason == "tied with the best: the 95% intervals overlap"


def test_equal_cost_without_an_interval_ties() -> None:
    ranked = rank([candidate("b", "0.002"), candidate("a", "0.002")])
    assert [(c.name, c.verdict, c.tied) for c in ranked] == [
        ("a", "best", False),
        ("b", "meets", True),
    ]
    assert ranked[1].reason == "tied with the best: the same cost"


def test_faster_comes_first_at_equal_cost() -> None:
    ranked = rank([with_p99("a", "0.002", 80), with_p99("b", "0.002", 20), candidate("c", "0.002")])
    assert [c.name for c in ranked] == ["b", "a", "c"]


def test_unknown_cost_ties_with_nothing() -> None:
    assert not tied(candidate("a"), candidate("b"))


verdicts = st.sampled_from(["meets", "misses", "unknown"])
money = st.decimals(min_value="0.0001", max_value="1", places=4)


@st.composite
def fields(draw: st.DrawFn) -> Candidate:
    name = draw(st.text("abcdef", min_size=1, max_size=4))
    match draw(verdicts):
        case "meets":
            return candidate(name, str(draw(money)), usd_interval=draw(st.none() | money))
        case "misses":
            usd = draw(st.none() | money)
            return missing(name, str(usd) if usd else None, draw(st.floats(0, 0.9899)))
        case _:
            return candidate(name)


@given(st.lists(fields(), max_size=8, unique_by=lambda c: c.name), st.randoms())
def test_ranking_does_not_depend_on_the_order_given(candidates: list[Candidate], rng: Any) -> None:
    shuffled = list(candidates)
    rng.shuffle(shuffled)
    ranked = rank(shuffled)
    assert ranked == rank(candidates)
    assert sorted(c.name for c in ranked) == sorted(c.name for c in candidates)


@given(st.lists(fields(), max_size=8, unique_by=lambda c: c.name))
def test_ranking_is_in_blocks_and_costs_rise(candidates: list[Candidate]) -> None:
    ranked = rank(candidates)
    order = {"best": 0, "meets": 1, "misses": 2, "unknown": 3}
    places = [order[c.verdict] for c in ranked]
    assert places == sorted(places)
    assert places.count(0) == any(c.verdict == "meets" for c in candidates)
    costs = [c.usd_per_thousand or Decimal(0) for c in ranked if c.rank]
    assert costs == sorted(costs)
    assert rank(ranked) == ranked


def with_p99(name: str, usd: str, p99: float) -> Candidate:
    return candidate(name, usd, latency_ms=LatencySummary(2000, p99 / 3, p99 / 4, p99 / 2, p99))


def test_pareto_front_keeps_what_nothing_beats_in_both() -> None:
    front = pareto_front(
        [
            with_p99("slow and dear", "0.009", 90),
            with_p99("cheap", "0.001", 80),
            with_p99("fast", "0.005", 20),
            with_p99("between", "0.003", 40),
            with_p99("dominated", "0.004", 60),
            candidate("no p99", "0.0005"),
            replace(with_p99("no cost", "0.001", 1), usd_per_thousand=None),
        ]
    )
    assert [c.name for c in front] == ["cheap", "between", "fast"]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=9, unique=True)
)
def test_pareto_front_dominates_the_rest(points: list[tuple[int, int]]) -> None:
    every = [with_p99(f"{cost}-{p99}", str(cost), p99) for cost, p99 in points]
    kept = {c.name for c in pareto_front(every)}
    for cost, p99 in points:
        beaten = any(c <= cost and p <= p99 and (c, p) != (cost, p99) for c, p in points)
        assert (f"{cost}-{p99}" not in kept) == beaten


@pytest.mark.parametrize("verdict", ["best", "meets"])
def test_ranking_again_after_a_new_best_demotes_the_old(verdict: str) -> None:
    old = candidate("old", "0.003", verdict=verdict, rank=1)
    ranked = rank([old, candidate("new", "0.002")])
    assert [(c.name, c.verdict) for c in ranked] == [("new", "best"), ("old", "meets")]
