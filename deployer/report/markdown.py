"""The report as Markdown: the very text of a pull-request comment, at most 60,000 characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployer.report.bills import BillText
from deployer.report.columns import elide
from deployer.report.content import Content
from deployer.report.escape import identifier, markdown, markdown_name, visible
from deployer.report.facts import Fact
from deployer.report.table import Row

LIMIT = 60_000
"""GitHub cuts comments at 65,536 characters; the rest is left to whoever posts it."""

_HEADS = (
    *("", "candidate", "precision", "USD / 1k ok", "vs best", "p50 / p99 ms"),
    *("objective met", "refused", "USD / month¹", "basis²", "why"),
)
_ALIGN = "|:-:|---|---|---:|---:|---:|---:|---:|---:|:-:|---|"
_FOLDS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"findings"}),
    frozenset({"findings", "details"}),
    frozenset({"findings", "details", "sensitivity"}),
    frozenset({"findings", "details", "sensitivity", "bill", "confidence"}),
)
_LONGEST_TEXT = 1_000


def render(page: Content) -> str:
    """Return report.md. What does not fit is left out, in this order, and the text says so.

    Findings of the plots, details, what would change the answer, bill and confidence.
    """
    for left_out in _FOLDS:
        text = _join(page, left_out)
        if len(text) <= LIMIT:
            return text
    return text[:LIMIT].rpartition("\n")[0] + "\n"


def _join(page: Content, left_out: frozenset[str]) -> str:
    parts = [text for name, text in _sections(page) if name not in left_out]
    if left_out:
        parts.append(
            f"_Left out to stay under {LIMIT:,} characters: {', '.join(sorted(left_out))}._"
        )
    return "\n\n".join(parts) + "\n"


def _sections(page: Content) -> Iterator[tuple[str, str]]:
    yield "title", f"<!-- deployer:{identifier(page.name)} -->"
    yield "title", f"<sub>{_text(' · '.join(page.title))}</sub>"
    yield from (("headline", text) for text in _headline(page))
    yield "checks", " · ".join(f"**{c.level}** {_text(c.text)}" for c in page.checks)
    yield "table", _table(page.shown)
    yield "table", "\n".join(_footnotes(page))
    if page.findings:
        yield "findings", _list("What the plots show", [f.text for f in page.findings])
    yield "sensitivity", _list("What would change the answer", page.sensitivity)
    if page.bill:
        yield "bill", f"### Bill of the best\n\n{_bill(page.bill)}"
    yield "confidence", "\n\n".join(_confidence(page))
    if page.commands:
        yield "commands", "### Do it\n\n" + _commands(page.commands)
    yield "details", _details(page)


def _headline(page: Content) -> Iterator[str]:
    first, *rest = page.headline or ("There is nothing to compare.",)
    yield f"**{_text(first)}**"
    if rest:
        yield "\n".join(_text(line) for line in rest)


def _table(rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(_HEADS)} |", _ALIGN]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(row: Row) -> str:
    c = row.candidate
    latency = " / ".join(text for text in (row.p50_ms, _p99(row)) if text)
    texts = (
        f"{row.usd} {row.plus_minus}".strip(),
        f"{row.ratio} {row.more}".strip(),
        latency,
        row.met,
        row.refused,
    )
    cells = [
        *(row.mark, _name(c.name), _text(c.precision)),
        *(_text(text) for text in (*texts, row.usd_per_month, row.basis, row.note)),
    ]
    return f"| {' | '.join(cells)} |"


def _p99(row: Row) -> str:
    return f"{row.p99_ms} ({row.p99_note})" if row.p99_note else row.p99_ms


def _footnotes(page: Content) -> Iterator[str]:
    for sign, note in zip("¹²³⁴", page.footnotes, strict=False):
        yield f"<sub>{sign} {_text(note)}</sub><br>"


def _bill(bill: BillText) -> str:
    lines = ["| item | quantity | unit | USD / unit | USD | price as of | source |"]
    lines.append("|---|---:|---|---:|---:|---|---|")
    for line in bill.lines:
        texts = (line.item, line.quantity, line.unit, line.usd_per_unit, line.usd)
        lines.append(f"| {' | '.join(map(_text, (*texts, line.as_of, line.source)))} |")
    lines.append(f"| **total** | | | | **{bill.total}** | | |")
    return "\n".join([*lines, "", _text(bill.arithmetic)])


def _confidence(page: Content) -> Iterator[str]:
    yield "### How sure"
    yield "\n".join(_fact(fact) for fact in (*page.confidence, *page.assumptions))
    if page.conventions:
        yield _list("How it is counted", page.conventions, level=4)
    if page.not_counted:
        yield _list("Not counted", page.not_counted, level=4)


def _fact(fact: Fact) -> str:
    where = ", ".join(_name(row.candidate.name) for row in fact.where)
    return f"- {_text(fact.name)}: {_text(fact.text)}" + (f" ({where})" if where else "")


def _list(head: str, lines: Sequence[str], level: int = 3) -> str:
    return f"{'#' * level} {head}\n\n" + "\n".join(f"- {_text(line)}" for line in lines)


def _commands(commands: Sequence[str]) -> str:
    """Return the commands as an indented block: no text can close one."""
    return "\n".join(f"    {visible(command)}" for command in commands)


def _details(page: Content) -> str:
    bills = [f"#### {_name(b.row.candidate.name)}\n\n{_bill(b)}" for b in page.bills]
    body = "\n\n".join(
        ["#### All candidates", _table(page.rows), *bills, "#### Environment", *_environment(page)]
    )
    return f"<details><summary>All candidates, all bills, environment</summary>\n\n{body}\n\n</details>"


def _environment(page: Content) -> Iterator[str]:
    yield "\n".join(_fact(fact) for fact in page.environment)


def _text(text: str) -> str:
    return markdown(elide(text, _LONGEST_TEXT))


def _name(name: str) -> str:
    return markdown_name(elide(name, _LONGEST_TEXT))
