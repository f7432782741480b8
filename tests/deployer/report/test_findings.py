"""Data and sentences of the plots."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from deployer.cost.report import Bill, CostReport, LoadCurve, LoadPoint
from deployer.report import findings
from deployer.report.table import rows


def test_front_is_what_nothing_beats_in_both(report: CostReport) -> None:
    points = findings.points(rows(report))
    for point in points:
        beaten = any(
            other.usd_per_thousand < point.usd_per_thousand and other.p99_ms < point.p99_ms
            for other in points
            if other.row.candidate.failures == 0
        )
        refuses = point.row.candidate.failures > 0.01 * point.row.candidate.offered
        assert point.front is not (beaten or refuses)


def test_candidate_that_is_fast_by_refusing_stays_off_the_front(report: CostReport) -> None:
    best = report.candidates[0]
    tiny = Decimal("0.0001")
    refuser = replace(best, name="refuser", failures=best.offered // 50, usd_per_thousand=tiny)
    points = findings.points(rows(replace(report, candidates=(best, refuser))))
    assert {p.row.candidate.name: p.front for p in points} == {best.name: True, "refuser": False}


def test_candidates_without_cost_or_p99_are_not_drawn_and_counted(report: CostReport) -> None:
    assert len(findings.points(rows(report))) == 6
    assert findings.cost_latency(rows(report)) == (
        "4 of 6 candidates are on the front, where nothing is both cheaper and faster, from "
        "serverless 2 GB int8-static ($0.0084, 5,042 ms) to ec2-fleet c7i.large 1–6 int8-static ($0.025, "
        "53.9 ms). Not drawn, cost or p99 unknown: 2."
    )


def test_front_of_one_is_told_in_the_singular(report: CostReport) -> None:
    one = rows(replace(report, candidates=report.candidates[:1]))
    assert findings.cost_latency(one).startswith("1 of 1 candidate is on the front")


def test_no_point_is_said(report: CostReport) -> None:
    unknown = rows(replace(report, candidates=report.candidates[7:]))
    assert findings.cost_latency(unknown).startswith("No candidate has both")
    assert findings.whole_day(unknown).startswith("No run is attached")
    assert findings.where_money_goes(unknown).startswith("No candidate has a bill")
    assert findings.spread_of_latency(unknown).startswith("No candidate has a p99")


def test_bins_of_the_day_hold_every_request(report: CostReport) -> None:
    for day in findings.days(rows(report)):
        c = day.row.candidate
        assert round(float(day.offered_rps.sum()) * day.bin_s) == c.offered
        assert round(float(day.lost_rps.sum()) * day.bin_s) == c.failures


def test_day_says_the_peak_and_who_refuses_most(report: CostReport) -> None:
    assert findings.whole_day(rows(report)) == (
        "Arrivals peak at 3.5 requests/s, 14 h into the trace; 6 of 7 candidates answer every "
        "request, ec2-fleet c5.large ×1 fp32 refuses or fails most (9.5%)."
    )


def test_day_without_refusals_says_so(report: CostReport) -> None:
    good = rows(replace(report, candidates=report.candidates[:3]))
    assert findings.whole_day(good).endswith("every candidate answers every request.")


def test_kinds_of_spending_add_up_to_the_cost_per_thousand(report: CostReport) -> None:
    spending = findings.spending(rows(report))
    for row, amounts in zip(spending.rows, spending.usd, strict=True):
        assert sum(amounts) == pytest.approx(float(row.candidate.usd_per_thousand or 0))


def test_many_kinds_of_spending_are_added_up_beyond_the_largest(report: CostReport) -> None:
    best = report.candidates[0]
    assert best.bill is not None
    line = best.bill.line_items[0]
    lines = tuple(replace(line, item=f"thing {n}", usd=Decimal(n)) for n in range(1, 11))
    many = replace(best, bill=Bill(lines, 1000))
    spending = findings.spending(rows(replace(report, candidates=(many,))))
    assert spending.kinds == ("thing 10", "thing 9", "thing 8", "thing 7", "thing 6", "other")
    assert spending.usd == ((10.0, 9.0, 8.0, 7.0, 6.0, 15.0),)


def test_instances_of_any_type_and_serverless_seconds_are_compute(report: CostReport) -> None:
    assert findings.spending(rows(report)).kinds[0] == "compute"
    assert findings.where_money_goes(rows(report)) == (
        "Of what sagemaker ml.c5.large 1–6 int8-static costs, 98% is compute."
    )


def test_bill_of_nothing_costs_nothing(report: CostReport) -> None:
    best = report.candidates[0]
    assert best.bill is not None
    free = tuple(replace(line, usd=Decimal(0)) for line in best.bill.line_items)
    none = replace(best, name="free", bill=replace(best.bill, line_items=free))
    assert (
        findings.where_money_goes(rows(replace(report, candidates=(none,))))
        == "free costs nothing."
    )


def _curve(name: str, *points: tuple[float, str | None, bool]) -> LoadCurve:
    return LoadCurve(
        name,
        tuple(LoadPoint(rps, Decimal(usd) if usd else None, meets) for rps, usd, meets in points),
    )


def test_cheapest_by_load_counts_only_those_that_meet_the_objective() -> None:
    curves = (
        _curve("a", (1, "0.1", True), (2, "0.1", True), (4, "0.1", False)),
        _curve("b", (1, "0.2", True), (2, "0.05", True), (4, "0.2", False)),
        _curve("c", (1, "0.01", False), (2, None, True), (4, "0.1", False)),
    )
    assert findings.cost_load(curves) == (
        "Cheapest that meets the objective: at 1 requests/s a; at 2 requests/s b; "
        "at 4 requests/s none meets the objective."
    )


def test_loads_with_one_cheapest_are_told_as_a_span() -> None:
    curves = (_curve("a", (1, "0.1", True), (2, "0.1", True), (4, "0.1", True)),)
    assert (
        findings.cost_load(curves) == "Cheapest that meets the objective: at 1 to 4 requests/s a."
    )


@pytest.mark.parametrize("curves", [(), (_curve("a", (1, "0.1", True)),)])
def test_one_load_is_not_drawn_and_said(report: CostReport, curves: tuple[LoadCurve, ...]) -> None:
    assert findings.cost_load(curves).endswith("so cost against load is not drawn.")
    assert findings.curves(rows(report), curves) == ()


def test_curves_that_are_cheapest_somewhere_stand_out(report: CostReport) -> None:
    curves = findings.curves(rows(report), report.load_curves)
    assert [c.row.key for c in curves] == [1, 2, 3, 4, 5, 6, 7]
    assert [c.row.key for c in curves if c.cheapest] == [1, 3]


def test_latencies_share_their_bins_and_hold_every_success(report: CostReport) -> None:
    found = findings.latencies(rows(report))
    for each in found:
        assert np.array_equal(each.edges_ms, found[0].edges_ms)
        assert float(each.shares.sum()) == pytest.approx(1.0)
