"""The report as a pull-request comment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from markdown_it import MarkdownIt

from deployer.cost.report import CostReport
from deployer.report.content import content
from deployer.report.markdown import LIMIT, render

PARSER = MarkdownIt("gfm-like", {"linkify": False})
OWN_TAGS = ("sub", "/sub", "br", "code", "/code", "details", "/details", "summary", "/summary")


def test_markdown_equals_the_approved_one(
    report: CostReport, golden: Callable[[str, str], None]
) -> None:
    golden("report.md", render(content(report)))


def test_first_line_lets_the_comment_be_found_again(report: CostReport) -> None:
    assert render(content(report)).startswith("<!-- deployer:digits -->\n")


def test_sections_keep_the_order_of_the_page(report: CostReport) -> None:
    heads = [line for line in render(content(report)).splitlines() if line.startswith("### ")]
    assert heads == [
        "### What the plots show",
        "### What would change the answer",
        "### Bill of the best",
        "### How sure",
        "### Do it",
    ]


def test_every_table_line_has_as_many_cells_as_its_head(
    report: CostReport, hostile: CostReport
) -> None:
    for each in (report, hostile):
        tokens = PARSER.parse(render(content(each)))
        for position, token in enumerate(tokens):
            if token.type == "tr_open":
                line = tokens[position:]
                end = next(i for i, t in enumerate(line) if t.type == "tr_close")
                cells = [t for t in line[:end] if t.type in ("td_open", "th_open")]
                assert len(cells) in (11, 7)


def test_hostile_names_bring_no_tag_link_or_picture_of_their_own(hostile: CostReport) -> None:
    for token in PARSER.parse(render(content(hostile))):
        for child in token.children or ():
            assert child.type not in ("link_open", "image", "em_open", "s_open", "code_inline")
            if child.type == "html_inline":
                assert child.content == "<!-- -->" or child.content.strip("<>") in OWN_TAGS
        if token.type == "html_block":
            assert not any(word in token.content for word in ("<img", "<script"))
            _only_own_tags(token.content)


def _only_own_tags(block: str) -> None:
    rest = block.replace("<!-- -->", "")
    for tag in OWN_TAGS:
        rest = rest.replace(f"<{tag}>", "")
    if rest.startswith("<!-- deployer:"):
        rest = rest.partition("-->")[2]
    assert "<" not in rest


def test_hostile_commands_cannot_leave_their_block(hostile: CostReport) -> None:
    blocks = [t for t in PARSER.parse(render(content(hostile))) if t.type == "code_block"]
    assert len(blocks) == 1
    assert blocks[0].content.count("\n") == len(hostile.commands)


def test_unknown_is_a_word(report: CostReport) -> None:
    line = next(x for x in render(content(report)).splitlines() if "serverless 4 GB" in x)
    assert "| unknown |" in line


def test_p99_of_few_samples_says_how_many(report: CostReport) -> None:
    assert "23.9 / n/a (n = 240)" in render(content(report))


def test_long_report_gives_way_in_order_and_says_what(report: CostReport) -> None:
    many = tuple(replace(report.candidates[2], name=f"winner-{n}") for n in range(100))
    text = render(content(replace(report, candidates=(*many, *report.candidates[5:]))))
    assert len(text) <= LIMIT
    assert "_Left out to stay under 60,000 characters: details, findings._" in text
    assert "### What would change the answer" in text
    assert "<details>" not in text


def test_text_without_end_still_fits(report: CostReport) -> None:
    endless = tuple(
        replace(c, name=c.name + "x" * 5_000, reason="y" * 5_000) for c in report.candidates
    )
    text = render(content(replace(report, candidates=endless, headline=("z" * 5_000,) * 90)))
    assert len(text) <= LIMIT


def test_report_without_candidates_still_reads(report: CostReport) -> None:
    text = render(content(replace(report, candidates=(), headline=())))
    assert "There is nothing to compare." in text
