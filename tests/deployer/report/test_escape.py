"""Text from outside is inert in every medium."""

from __future__ import annotations

import csv
import io
import itertools
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from deployer.report import escape

ANY = st.text(st.characters(), max_size=60)
NASTY = (
    "<img src=x onerror=alert(1)>",
    "a | b",
    "`code` ``more``",
    "[link](http://x) ![picture](http://x) www.x.org <http://x>",
    "# head\n- list\n1. one\n> quote\n===",
    "1. first",
    "- first",
    "*bold* _it_ ~gone~ **b**",
    "&lt;b&gt; &#60; &amp;",
    "\\| \\` \\<",
    "-->",
)


@given(ANY)
@example("\u202egnp.exe\u2066")
@example("a\u200bb\ud800")
def test_visible_text_is_one_printable_line(text: str) -> None:
    shown = escape.visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert shown.encode("utf-8").decode("utf-8") == shown


def test_visible_text_names_what_it_hides() -> None:
    assert escape.visible("a\nb\u202ec\x07") == r"a\nb\u202ec\x07"


@given(ANY.filter(lambda text: escape.visible(text) == text))
def test_visible_text_keeps_what_can_be_seen(text: str) -> None:
    assert escape.visible(escape.visible(text)) == text


@pytest.mark.parametrize("text", NASTY)
def test_markdown_paragraph_shows_the_text_literally(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(escape.markdown(text))
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert _text(tokens[1].children) == escape.visible(text).strip()


@given(ANY.map(str.strip).filter(lambda text: escape.visible(text).strip() == escape.visible(text)))
@example("a | b `c` <i>")
def test_markdown_cell_stays_one_cell_and_shows_the_text_literally(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| x{escape.markdown(text)} | end |\n"
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(table)
    cells = [
        _text(inline.children)
        for kind, inline in itertools.pairwise(tokens)
        if kind.type == "td_open"
    ]
    assert cells == [f"x{escape.visible(text)}", "end"]


def test_markdown_cuts_off_mentions_and_issue_numbers() -> None:
    assert escape.markdown("@org #12") == "&#64;<!-- -->org &#35;<!-- -->12"


def test_markdown_name_is_code_without_comment() -> None:
    assert escape.markdown_name("a@b|c") == "<code>a&#64;b&#124;c</code>"


@given(ANY)
@example("=HYPERLINK(1)")
@example("  +1")
@example("\t=1")
@example("-1")
def test_csv_cell_is_no_formula_and_one_line(text: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([escape.csv_cell(text), "end"])
    (line,) = csv.reader(io.StringIO(buffer.getvalue()))
    assert line[1] == "end"
    assert not line[0].lstrip().startswith(("=", "+", "-", "@"))


@given(ANY)
def test_identifier_cannot_close_a_comment_or_attribute(text: str) -> None:
    name = escape.identifier(text)
    assert name
    assert "--" not in name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@given(ANY)
def test_plain_ascii_is_ascii(text: str) -> None:
    assert escape.plain_ascii(text).isascii()


def _text(tokens: object) -> str:
    """Return what a reader sees of inline tokens; comments are invisible, anything else must be text."""
    shown = ""
    for token in tokens:  # type: ignore[attr-defined]
        if token.type == "html_inline":
            assert token.content == "<!-- -->"
        else:
            assert token.type in ("text", "text_special"), token
            shown += token.content
    return shown
