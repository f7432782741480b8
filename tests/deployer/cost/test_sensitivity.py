from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest

from deployer.cost.candidates import Entry, assess
from deployer.cost.ranking import rank
from deployer.cost.report import LoadCurve, LoadPoint
from deployer.cost.sensitivity import Change, Crossover, crossovers, sensitivity
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import Slo
from deployer.spec.target import Ec2Fleet, SageMakerRealtime, SageMakerServerless

Make = Callable[..., Entry]
SLO = Slo(p99_ms=100)


def entries(make_entry: Make, change: Change) -> list[Entry]:
    """A fixed endpoint and a serverless one whose compute grows with the traffic."""
    rps = 10 * change.traffic
    late = 2000 if change.startup_extra_s else 0
    compute_s = 1800 * change.traffic
    return [
        make_entry("fixed", SageMakerRealtime("ml.c5.large"), rps=rps, late=late),
        make_entry("serverless", SageMakerServerless(), rps=rps, billed_compute_s=compute_s),
    ]


def test_without_a_rerun_only_prices_are_claimed(make_entry: Make, book: PriceBook) -> None:
    ranked = rank([assess(e, SLO, book) for e in entries(make_entry, Change())])
    found = sensitivity(ranked, slo=SLO, book=book, mean_rps=10.0)
    assert found.sentences == ("None of these changes the winner: each price ± 10%.",)
    assert found.load_curves == ()


def test_traffic_and_start_up_that_change_the_winner_are_told(
    make_entry: Make, book: PriceBook
) -> None:
    asked: list[Change] = []

    def rerun(change: Change) -> Sequence[Entry]:
        asked.append(change)
        return entries(make_entry, change)

    ranked = rank([assess(e, SLO, book) for e in entries(make_entry, Change())])
    assert ranked[0].name == "serverless"
    found = sensitivity(ranked, slo=SLO, book=book, mean_rps=10.0, rerun=rerun)
    assert asked == [Change(0.5), Change(2.0), Change(startup_extra_s=60.0)]
    # 3600 compute-seconds cost 0.144 USD an hour, more than the endpoint's 0.102
    assert found.sentences == ("Traffic × 2: fixed is cheapest (USD 0.0016 per thousand).",)


def test_losing_the_only_candidate_that_meets_is_told(make_entry: Make, book: PriceBook) -> None:
    def rerun(change: Change) -> Sequence[Entry]:
        return entries(make_entry, change)[:1]

    ranked = rank([assess(e, SLO, book) for e in rerun(Change())])
    found = sensitivity(ranked, slo=SLO, book=book, mean_rps=10.0, rerun=rerun)
    assert found.sentences == ("Start-up + 60 s: no candidate meets the objective.",)


def test_load_curves_hold_every_simulated_load(make_entry: Make, book: PriceBook) -> None:
    ranked = rank([assess(e, SLO, book) for e in entries(make_entry, Change())])
    found = sensitivity(
        ranked,
        slo=SLO,
        book=book,
        mean_rps=10.0,
        rerun=lambda change: entries(make_entry, change),
        loads=(0.5, 2.0, 4.0),
    )
    by_name = {curve.candidate: curve.points for curve in found.load_curves}
    assert [p.rps for p in by_name["fixed"]] == [5.0, 10.0, 20.0, 40.0]
    costs = [p.usd_per_thousand or Decimal(0) for p in by_name["fixed"]]
    assert costs == sorted(costs, reverse=True)
    assert all(p.meets for p in by_name["fixed"])
    assert crossovers(found.load_curves) == (Crossover(10.0, 20.0, "serverless", "fixed"),)


def test_nobody_meeting_leaves_nothing_to_reverse(make_entry: Make, book: PriceBook) -> None:
    ranked = rank([assess(make_entry("a", Ec2Fleet("c5.large"), late=9000), SLO, book)])
    assert sensitivity(ranked, slo=SLO, book=book, mean_rps=10.0).sentences == ()


def test_crossover_to_nobody_is_a_bracket_too() -> None:
    def points(*rows: tuple[float, str, bool]) -> tuple[LoadPoint, ...]:
        return tuple(LoadPoint(rps, Decimal(usd), meets) for rps, usd, meets in rows)

    curves = (
        LoadCurve("a", points((1, "0.1", True), (2, "0.2", True), (4, "0.3", False))),
        LoadCurve("b", points((1, "0.3", True), (2, "0.1", True), (4, "0.05", False))),
    )
    assert crossovers(curves) == (Crossover(1, 2, "a", "b"), Crossover(2, 4, "b", None))
    assert crossovers(()) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(), "no change"),
        (Change(0.5), "traffic × 0.5"),
        (Change(startup_extra_s=60), "start-up + 60 s"),
        (Change(2, 30), "traffic × 2, start-up + 30 s"),
    ],
)
def test_change_says_what_it_is(change: Change, words: str) -> None:
    assert str(change) == words
