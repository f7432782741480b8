"""report.json and report.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType

import pytest

from deployer.cost.report import CostReport
from deployer.report.rows import candidates_csv, dumps, plain, to_json


def test_json_equals_the_approved_one(
    report: CostReport, golden: Callable[[str, str], None]
) -> None:
    golden("report.json", dumps(report))


def test_csv_equals_the_approved_one(
    report: CostReport, golden: Callable[[str, str], None]
) -> None:
    golden("report.csv", candidates_csv(report))


def test_each_candidate_has_the_promised_keys(report: CostReport) -> None:
    wanted = {"name", "usd_per_thousand", "line_items", "latency_ms", "slo_attainment", "successes"}
    wanted |= {"failures", "provenance", "rank", "meets_objective", "unknown_reason"}
    for candidate in to_json(report)["candidates"]:
        assert wanted <= set(candidate)


def test_money_is_text_with_all_its_digits(report: CostReport) -> None:
    document = json.loads(dumps(report))
    for written, candidate in zip(document["candidates"], report.candidates, strict=True):
        if candidate.usd_per_thousand is not None:
            assert Decimal(written["usd_per_thousand"]) == candidate.usd_per_thousand
            assert isinstance(written["usd_per_thousand"], str)


def test_line_items_add_up_to_the_total_and_to_the_cost_per_thousand(report: CostReport) -> None:
    for candidate in json.loads(dumps(report))["candidates"]:
        if candidate["line_items"] is None:
            continue
        lines = candidate["line_items"]
        for line in lines:
            assert Decimal(line["quantity"]) * Decimal(line["usd_per_unit"]) == Decimal(line["usd"])
        total = sum((Decimal(line["usd"]) for line in lines), Decimal(0))
        assert total == Decimal(candidate["usd"])
        assert total * 1000 / candidate["successes"] == Decimal(candidate["usd_per_thousand"])


def test_money_never_has_an_exponent(report: CostReport) -> None:
    tiny = replace(
        report.candidates[0], usd_per_thousand=Decimal("1E-7"), usd_interval=Decimal("2E+1")
    )
    (written,) = to_json(replace(report, candidates=(tiny,)))["candidates"]
    assert written["usd_per_thousand"] == "0.0000001"
    assert written["usd_per_thousand_half_width"] == "20"


def test_unknown_is_null_with_a_reason(report: CostReport) -> None:
    unknown = to_json(report)["candidates"][-1]
    for key in ("usd_per_thousand", "line_items", "latency_ms", "slo_attainment", "rank", "usd"):
        assert unknown[key] is None
    assert unknown["meets_objective"] is None
    assert unknown["unknown_reason"]


def test_p99_of_few_samples_is_null_with_a_reason(report: CostReport) -> None:
    latency = to_json(report)["candidates"][3]["latency_ms"]
    assert latency["p99"] is None
    assert latency["unknown_reason"] == "p99 needs 1,000 samples, there are 240"


@pytest.mark.parametrize(("position", "meets"), [(0, True), (1, True), (5, False), (7, None)])
def test_meets_objective_is_true_false_or_null(
    report: CostReport, position: int, meets: bool | None
) -> None:
    assert to_json(report)["candidates"][position]["meets_objective"] is meets


def test_oldest_price_date_is_stated(report: CostReport) -> None:
    assert to_json(report)["oldest_price"] == "2024-07-01"


def test_number_that_is_not_finite_is_refused(report: CostReport) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps(replace(report, measured=({"max_lag_ms": float("nan")},)))


def test_plain_unwraps_any_mapping_and_tuple() -> None:
    value = MappingProxyType({"a": (Decimal("1E-2"), MappingProxyType({"b": None}))})
    assert plain(value) == {"a": ["0.01", {"b": None}]}


def test_csv_has_the_rows_and_numbers_of_the_json(report: CostReport) -> None:
    document = to_json(report)["candidates"]
    lines = list(csv.DictReader(io.StringIO(candidates_csv(report))))
    assert [line["name"] for line in lines] == [c["name"] for c in document]
    assert [line["usd_per_thousand"] for line in lines] == [
        c["usd_per_thousand"] or "" for c in document
    ]
    assert lines[0]["meets_objective"] == "true"
    assert lines[7]["meets_objective"] == ""


def test_hostile_names_make_no_formula_and_no_extra_line(hostile: CostReport) -> None:
    lines = list(csv.reader(io.StringIO(candidates_csv(hostile))))
    assert len(lines) == 9
    for line in lines:
        assert len(line) == len(lines[0])
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in line)
        assert not any(c in cell for cell in line for c in "\n\r\t\u202e\x07")


def test_json_keeps_hostile_names_as_they_are(hostile: CostReport) -> None:
    document = json.loads(dumps(hostile))
    assert [c["name"] for c in document["candidates"]] == [c.name for c in hostile.candidates]
