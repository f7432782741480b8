from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from deployer.cost.candidates import Entry, assess
from deployer.cost.headline import headline
from deployer.cost.ranking import rank
from deployer.cost.report import Candidate
from deployer.cost.sensitivity import Crossover
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import Slo
from deployer.spec.target import Ec2Fleet, SageMakerRealtime

Make = Callable[..., Entry]
SLO = Slo(p99_ms=100)


def ranked(entries: list[Entry], book: PriceBook, slo: Slo = SLO) -> tuple[Candidate, ...]:
    return rank([assess(entry, slo, book) for entry in entries])


def test_winner_then_runner_up_and_when_it_wins(make_entry: Make, book: PriceBook) -> None:
    """USD an hour by hand: 0.102 + data 0.0059; 0.085 + 0.0225 + 0.0032 + 0.0022 + 0.015 + data 0.0036."""
    found = ranked([make_entry("endpoint"), make_entry("fleet", Ec2Fleet("c5.large"))], book)
    assert headline(found, SLO) == (
        "Run endpoint: USD 0.0030 per thousand successful requests, p99 10 ms and 100% of offered "
        "requests within 100 ms (99% wanted) (simulated).",
        "Next is fleet at USD 0.0037 (1.25×, +0.00075); it wins once the price of ml.c5.large "
        "instances is about 26% higher.",
    )


def test_assumptions_are_labelled_in_the_first_sentence(make_entry: Make, book: PriceBook) -> None:
    carried = ("Service times are carried at factor 1.0.", "A start takes 300 s.", "Another.")
    first, _ = headline(ranked([make_entry("a", assumptions=carried)], book), SLO)
    assert first.endswith(
        "(simulated, assumed: Service times are carried at factor 1.0; and 2 more)."
    )


def test_cost_carries_its_interval(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    runs = tuple(make_run(duration_s=3600.0, refused=n) for n in (0, 50, 100))
    (found,) = ranked([make_entry("a", runs=runs)], book)
    first, _ = headline([found], SLO)
    assert "Run a: USD 0.0030 (± 0.3%) per thousand" in first


def test_two_within_error_are_tied(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    runs = tuple(make_run(duration_s=3600.0, refused=n) for n in (0, 300))
    entries = [make_entry("a", runs=runs), make_entry("b", SageMakerRealtime("ml.c7i.large"))]
    _, second = headline(ranked(entries, book), SLO)
    assert second == "Tied with it within the 95% intervals: b (USD 0.0031)."


def test_lone_winner_names_the_closest_miss(make_entry: Make, book: PriceBook) -> None:
    found = ranked([make_entry("a"), make_entry("b", late=1000)], book)
    _, second = headline(found, SLO)
    assert second == (
        "No other candidate meets p99 ≤ 100 ms; closest is b: 97.2% within 100 ms, 99% wanted: "
        "2.8% late."
    )


def test_only_candidate_says_so(make_entry: Make, book: PriceBook) -> None:
    _, second = headline(ranked([make_entry("a")], book), SLO)
    assert second == "No other candidate has a known cost."


def test_nobody_meets_is_said_first_with_what_would_be_needed(
    make_entry: Make, book: PriceBook
) -> None:
    found = ranked([make_entry("far", late=9000), make_entry("near", late=1000)], book)
    assert headline(found, SLO) == (
        "No candidate meets p99 ≤ 100 ms.",
        "Closest is near: 97.2% within 100 ms, 99% wanted: 2.8% late, at USD 0.0030 per thousand "
        "successful requests; it would meet p99 ≤ 1,000 ms (simulated).",
    )


def test_refusals_cannot_be_cured_by_a_longer_objective(make_entry: Make, book: PriceBook) -> None:
    found = ranked([make_entry("a", refused=3600)], book)
    assert "more capacity is needed" in headline(found, SLO)[1]


def test_requests_that_are_too_large_cannot_be_cured_by_capacity(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    reason = "request larger than 6,291,456 bytes (InvokeEndpoint)"
    details = {"failed_by": {reason: 3600}, "failed_status": {reason: 413}}
    run = make_run(duration_s=3600.0, refused=3600, details=details)
    run.status[:3600] = 413
    found = ranked([make_entry("a", runs=(run,))], book)
    assert (
        f"no capacity helps: too many requests fail by their size ({reason})"
        in (headline(found, SLO)[1])
    )


def test_no_objective_is_said(make_entry: Make, book: PriceBook) -> None:
    first, _ = headline(ranked([make_entry("a", late=9000)], book, Slo()), Slo())
    assert "no objective is set, so cost alone decides" in first


def test_no_price_at_all_is_said(make_entry: Make, book: PriceBook) -> None:
    found = ranked([make_entry("a", SageMakerRealtime("ml.t3.large"))], book)
    first, second = headline(found, SLO)
    assert first == "No candidate can be priced."
    assert second.startswith(
        "a: target.instance_type: no price for sagemaker-hosting/us-east-1/ml.t3.large"
    )


def test_p99_of_few_requests_is_not_claimed(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    found = ranked([make_entry("a", runs=(make_run(duration_s=50.0),))], book)
    first, _ = headline(found, SLO)
    assert ", 100% of offered requests within 100 ms" in first


def test_winner_at_the_nearest_other_load_is_named(make_entry: Make, book: PriceBook) -> None:
    found = ranked([make_entry("endpoint"), make_entry("fleet", Ec2Fleet("c5.large"))], book)
    turns = (
        Crossover(1.0, 2.0, "serverless", "fleet"),
        Crossover(5.0, 10.0, "fleet", "endpoint"),
        Crossover(20.0, 40.0, "endpoint", "fleet"),
        Crossover(40.0, 80.0, "fleet", None),
    )
    _, second = headline(found, SLO, turns)
    assert second.endswith(
        "; at 5 requests/s fleet is cheapest; at 40 requests/s fleet is cheapest."
    )


def test_runner_up_on_another_target_is_named_too(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    more = make_run(duration_s=3600.0, instances=1, response_bytes=2400)
    entries = [
        make_entry("int8"),
        make_entry("fp32", runs=(more,)),
        make_entry("fleet", Ec2Fleet("c5.large")),
    ]
    _, second = headline(ranked(entries, book), SLO)
    assert second == (
        "On the same target fp32 costs 1.04×, +0.00012; on another, next is fleet at USD 0.0037 "
        "(1.25×, +0.00075); it wins once the price of ml.c5.large instances is about 26% higher."
    )


def test_runner_up_on_the_same_price_cannot_win_by_it(
    make_run: Callable[..., Run], make_entry: Make, book: PriceBook
) -> None:
    quick = make_run(duration_s=3600.0, request_bytes=0, response_bytes=0)
    slow = make_run(duration_s=3600.0, request_bytes=0, response_bytes=0, instances=2)
    found = ranked([make_entry("int8", runs=(quick,)), make_entry("fp32", runs=(slow,))], book)
    _, second = headline(found, SLO)
    assert second == (
        "Next is fp32 (2 instances) at USD 0.0057 (2.00×, +0.0028); no single price can reverse "
        "the order."
    )
    assert found[0].usd_per_thousand == Decimal("0.102") / 36
