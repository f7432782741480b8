"""The comparison in words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from deployer.cost.report import Candidate, CostReport
from deployer.report.table import money, money_decimals, rows, shown, unknown_reason


def _named(report: CostReport, name: str) -> Candidate:
    return next(c for c in report.candidates if name in c.name)


def test_winners_come_first_and_unknown_ones_last(report: CostReport) -> None:
    shuffled = replace(report, candidates=tuple(reversed(report.candidates)))
    verdicts = [row.candidate.verdict for row in rows(shuffled)]
    assert verdicts == ["meets"] * 4 + ["best"] + ["misses"] * 2 + ["unknown"]


def test_candidates_are_numbered_in_page_order(report: CostReport) -> None:
    assert [row.key for row in rows(report)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_marks_tell_best_missed_and_unknown_apart(report: CostReport) -> None:
    assert [row.mark for row in rows(report)] == ["✔", "", "", "", "", "✘", "✘", "?"]


def test_unknown_cost_is_a_word_with_its_reason(report: CostReport) -> None:
    row = rows(report)[-1]
    assert (row.usd, row.plus_minus, row.ratio, row.usd_per_month) == ("unknown", "", "", "")
    assert row.note.startswith("the price book holds no sagemaker-serverless/us-east-1/Mem-4GB")
    assert "0" not in (row.met, row.refused, row.p50_ms, row.p99_ms)


def test_p99_of_few_samples_is_not_stated(report: CostReport) -> None:
    row = next(r for r in rows(report) if r.candidate.latency_ms and r.candidate.offered == 240)
    assert (row.p99_ms, row.p99_note) == ("n/a", "n = 240")


def test_loser_is_not_given_as_a_multiple_of_the_best(report: CostReport) -> None:
    cheap = next(r for r in rows(report) if "serverless 2 GB" in r.candidate.name)
    assert cheap.candidate.usd_per_thousand < report.candidates[0].usd_per_thousand  # type: ignore[operator]
    assert (cheap.ratio, cheap.more) == ("", "")


def test_others_are_given_as_a_multiple_and_a_difference(report: CostReport) -> None:
    best, other = report.candidates[0].usd_per_thousand, report.candidates[2].usd_per_thousand
    assert best is not None
    assert other is not None
    row = rows(report)[2]
    assert row.ratio == f"{other / best:.2f}×"
    assert row.more == f"+{other - best:.5f}"


def test_basis_tells_measured_simulated_and_assumed_apart(report: CostReport) -> None:
    assert [row.basis for row in rows(report)] == ["S A"] * 3 + ["M"] + ["S A"] * 3 + [""]


def test_share_just_short_of_the_objective_is_rounded_down(report: CostReport) -> None:
    best = replace(report.candidates[0], slo_attainment=0.98999)
    assert rows(replace(report, candidates=(best,)))[0].met == "98.9%"


@pytest.mark.parametrize(
    ("refused", "text"), [(0, "0%"), (1, "<0.01%"), (173, "0.1%"), (16_473, "9.5%")]
)
def test_few_refusals_do_not_round_to_none(report: CostReport, refused: int, text: str) -> None:
    one = replace(report.candidates[0], refused=refused)
    assert rows(replace(report, candidates=(one,)))[0].refused == text


def test_shown_rows_keep_losers_when_there_are_many(report: CostReport) -> None:
    many = tuple(replace(report.candidates[1], name=f"winner-{n}") for n in range(20))
    every = rows(replace(report, candidates=(*many, *report.candidates[5:])))
    first = shown(every)
    assert len(first) == 8
    assert [row.candidate.verdict for row in first][-3:] == ["misses", "misses", "unknown"]


def test_shown_rows_are_all_winners_when_there_is_no_loser(report: CostReport) -> None:
    many = tuple(replace(report.candidates[1], name=f"winner-{n}") for n in range(20))
    assert len(shown(rows(replace(report, candidates=many)))) == 8


def test_row_ids_depend_on_the_name_alone(report: CostReport) -> None:
    ids = {row.candidate.name: row.anchor for row in rows(report)}
    fewer = {
        row.candidate.name: row.anchor
        for row in rows(replace(report, candidates=report.candidates[3:]))
    }
    assert all(ids[name] == anchor for name, anchor in fewer.items())


def test_row_ids_are_unique_where_names_reduce_to_the_same(report: CostReport) -> None:
    names = ("a b", "a-b", "a-b-2", "a|b", "")
    same = tuple(replace(report.candidates[1], name=name) for name in names)
    ids = [row.anchor for row in rows(replace(report, candidates=same))]
    assert len(set(ids)) == len(names)


def test_title_adds_a_precision_that_the_name_does_not_say(report: CostReport) -> None:
    titles = [row.title for row in rows(report)]
    assert titles[0] == "sagemaker ml.c5.large 1–6 int8-static"
    assert titles[3] == "load test of one endpoint · fp32"


def test_column_of_money_keeps_three_digits_of_its_smallest(report: CostReport) -> None:
    assert money_decimals([Decimal("0.00250"), Decimal("1.2"), None]) == 5
    assert money_decimals([Decimal("12"), Decimal("140")]) == 2
    assert money_decimals([]) == 2


def test_money_too_small_for_its_column_says_below_what() -> None:
    assert money(Decimal("0.000001"), 4) == "<0.0001"
    assert money(Decimal(0), 4) == "0.0000"


def test_reason_of_an_unknown_cost_is_never_empty(report: CostReport) -> None:
    bare = replace(_named(report, "4 GB"), unknown_reason=None, reason="")
    assert unknown_reason(bare) == "no request succeeded"
    assert unknown_reason(report.candidates[0]) is None
