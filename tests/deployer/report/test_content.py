"""What the page says, computed from the report."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from deployer.cost.report import CostReport
from deployer.report.checks import Check
from deployer.report.content import content
from deployer.spec.deployment import Slo


def test_title_says_name_bundle_trace_objective_region_prices_and_version(
    report: CostReport,
) -> None:
    assert " · ".join(content(report).title) == (
        "digits · bundle 3f9a1c2b77d0 · trace one day · p99 ≤ 100 ms · us-east-1 · "
        "prices 2024-07-01 · deployer 0.1.0"
    )


def test_claim_is_the_headline_split_at_its_basis(report: CostReport) -> None:
    claim, basis = content(report).claim
    assert claim + basis == report.headline[0]
    assert basis.startswith(" (simulated, assumed: ")


@pytest.mark.parametrize(
    "first", ["No candidate meets p99 ≤ 100 ms.", "Run a (2 instances): cheap.", ""]
)
def test_claim_without_basis_stays_whole(report: CostReport, first: str) -> None:
    assert content(replace(report, headline=(first,))).claim == (first, "")


def test_report_without_headline_says_that_there_is_nothing(report: CostReport) -> None:
    assert content(replace(report, headline=())).claim == ("There is nothing to compare.", "")


def test_objective_passes_when_a_candidate_meets_it(report: CostReport) -> None:
    assert content(report).checks[0] == Check("PASS", "p99 ≤ 100 ms: met by 5 of 7 candidates")


def test_objective_fails_when_none_meets_it(report: CostReport) -> None:
    losers = replace(report, candidates=report.candidates[5:])
    assert content(losers).checks[0] == Check("FAIL", "p99 ≤ 100 ms: met by 0 of 2 candidates")


def test_missing_objective_is_a_warning(report: CostReport) -> None:
    (first, *_) = content(replace(report, slo=Slo())).checks
    assert first == Check("WARN", "no objective set: the cheapest wins, however slow")


@pytest.mark.parametrize(
    ("budget", "level", "words"),
    [
        ("0.04", "PASS", "budget $0.04 per 1,000 (44% unused)"),
        ("0.02", "FAIL", "budget $0.02 per 1,000: exceeded, $0.0223"),
        ("0", "FAIL", "budget $0 per 1,000: exceeded, $0.0223"),
    ],
)
def test_budget_is_judged_against_the_best(
    report: CostReport, budget: str, level: str, words: str
) -> None:
    check = content(report, budget_usd_per_thousand=Decimal(budget)).checks[0]
    assert (check.level, check.text) == (level, words)


def test_budget_fails_when_no_candidate_meets_the_objective(report: CostReport) -> None:
    losers = replace(report, candidates=report.candidates[5:])
    check = content(losers, budget_usd_per_thousand=Decimal(1)).checks[0]
    assert check == Check("FAIL", "budget $1 per 1,000: no candidate to hold to it")


@pytest.mark.parametrize(
    ("today", "check"),
    [
        (date(2024, 7, 31), Check("PASS", "oldest price 30 days old")),
        (date(2024, 9, 30), Check("WARN", "oldest price 91 days old")),
    ],
)
def test_age_of_prices_is_stated_when_the_day_is_given(
    report: CostReport, today: date, check: Check
) -> None:
    assert check in content(report, today).checks


def test_price_of_a_whole_month_has_an_age_too(report: CostReport) -> None:
    checks = content(replace(report, oldest_price="2024-07"), date(2024, 7, 31)).checks
    assert Check("PASS", "oldest price 30 days old") in checks


def test_price_without_a_date_has_no_age(report: CostReport) -> None:
    checks = content(replace(report, oldest_price="last summer"), date(2024, 7, 31)).checks
    assert Check("WARN", "age of prices unknown: last summer") in checks


def test_same_report_says_the_same_whatever_the_day_when_none_is_given(report: CostReport) -> None:
    assert not any("days old" in check.text for check in content(report).checks)


def test_bill_of_the_best_shows_its_arithmetic(report: CostReport) -> None:
    bill = content(report).bill
    assert bill is not None
    assert bill.row.candidate is report.best
    assert bill.total == "3.851124"
    assert bill.arithmetic == (
        "3.851124 USD ÷ 172,800 successful requests × 1,000 = 0.02228660 USD per 1,000."
    )


def test_every_line_of_a_bill_can_be_checked_with_a_calculator(report: CostReport) -> None:
    for bill in content(report).bills:
        for line in bill.lines:
            product = _number(line.quantity) * _number(line.usd_per_unit)
            assert abs(product - _number(line.usd)) < Decimal("0.000002")
        total = sum((_number(line.usd) for line in bill.lines), Decimal(0))
        assert abs(total - _number(bill.total)) < Decimal("0.000004")


def test_cost_that_is_not_the_bills_says_what_it_is(report: CostReport) -> None:
    mean = replace(report.candidates[0], usd_per_thousand=Decimal("0.03"))
    bill = content(replace(report, candidates=(mean,))).bill
    assert bill is not None
    assert "0.03000000" in bill.arithmetic
    assert "0.02228660" in bill.arithmetic


def test_bill_of_nothing_successful_has_no_cost_per_thousand(report: CostReport) -> None:
    best = report.candidates[0]
    assert best.bill is not None
    none = replace(best, usd_per_thousand=None, bill=replace(best.bill, successes=0))
    bill = content(replace(report, candidates=(none,))).bills[0]
    assert bill.arithmetic == "3.851124 USD and no successful request: no cost per thousand."


def test_confidence_counts_the_requests_beyond_p99(report: CostReport) -> None:
    facts = {fact.name: fact.text for fact in content(report).confidence}
    assert facts["behind p99"] == "172,800 successful requests of the best, 1,728 beyond p99"
    assert facts["load generator"] == "kept its schedule within 2 ms"


def test_missing_calibration_is_admitted(report: CostReport) -> None:
    facts = {f.name: f.text for f in content(replace(report, calibration=())).confidence}
    assert facts["calibration"] == "the simulator was not calibrated in this run"


def test_assumptions_are_told_once_with_the_candidates_that_rest_on_them(
    report: CostReport,
) -> None:
    told = content(report).assumptions
    assert [[row.key for row in fact.where] for fact in told] == [
        [1, 2, 3, 5, 6, 7],
        [1, 2, 3, 5, 6],
        [7],
    ]


def test_every_candidate_is_in_the_first_table_or_among_the_rest(report: CostReport) -> None:
    many = tuple(replace(report.candidates[1], name=f"winner-{n}") for n in range(20))
    page = content(replace(report, candidates=(*many, *report.candidates[5:])))
    assert len(page.shown) == 8
    assert sorted(row.key for row in (*page.shown, *page.rest)) == list(range(1, 24))


def test_what_if_that_was_not_asked_is_not_claimed(report: CostReport) -> None:
    assert content(replace(report, sensitivity=())).sensitivity == (
        "No what-if was computed for this report.",
    )


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))
