"""The comparison for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deployer.cost.report import CostReport
from deployer.report.columns import cells
from deployer.report.terminal import terminal_table


@pytest.mark.parametrize("width", [100, 80])
def test_table_equals_the_approved_one(
    report: CostReport, golden: Callable[[str, str], None], width: int
) -> None:
    golden(f"terminal-{width}.txt", terminal_table(report, width))


def test_ascii_table_equals_the_approved_one(
    report: CostReport, golden: Callable[[str, str], None]
) -> None:
    golden("terminal-ascii.txt", terminal_table(report, 80, ascii_only=True))


@pytest.mark.parametrize("width", [60, 72, 80, 100, 160])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal(
    report: CostReport, hostile: CostReport, width: int, ascii_only: bool
) -> None:
    for each in (report, hostile):
        text = terminal_table(each, width, ascii_only=ascii_only)
        assert max(map(cells, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_name_is_whole_and_every_verdict_is_there(report: CostReport, width: int) -> None:
    text = terminal_table(report, width)
    for candidate in report.candidates:
        assert candidate.name in text
    lines = text.splitlines()
    assert [line[0] for line in lines if line[:1] in ("✔", "✘", "?")] == ["✔", "✘", "✘", "?"]


def test_ascii_table_holds_nothing_else(hostile: CostReport) -> None:
    assert terminal_table(hostile, 80, ascii_only=True).isascii()


def test_losers_say_why(report: CostReport) -> None:
    text = terminal_table(report)
    assert "99% wanted: 9.2% late, 9.5% refused" in text
    assert "the price book holds no sagemaker-serverless/us-east-1/Mem-4GB" in text


def test_hostile_names_cannot_move_the_cursor(hostile: CostReport) -> None:
    text = terminal_table(hostile)
    assert not any(c in text for c in "\x07\u202e\t\x1b")


def test_wide_characters_count_twice(report: CostReport) -> None:
    wide = replace(report.candidates[0], name="模型" * 30)
    text = terminal_table(replace(report, candidates=(wide,)), 100)
    assert max(map(cells, text.splitlines())) <= 100


def test_report_without_candidates_still_prints(report: CostReport) -> None:
    text = terminal_table(replace(report, candidates=(), headline=("Nothing.",), oldest_price=None))
    assert "no price known" in text
