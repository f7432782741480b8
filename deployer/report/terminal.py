"""The comparison for a terminal: headline, table, scope. No colour, so that nothing depends on it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from deployer.cost.report import CostReport
from deployer.report.columns import cells, elide, pad
from deployer.report.escape import plain_ascii, visible
from deployer.report.table import BASIS, Row, rows
from deployer.units import format_duration

WIDTH = 100
_GAP = "  "
_MARK = 2
_ASCII_MARKS = {"✔": "ok", "✘": "x", "?": "?", "": ""}


@dataclass(frozen=True)
class _Column:
    """Figures of one kind. Where the width runs short the highest ``spare`` goes first, 0 never."""

    head: str
    values: tuple[str, ...]
    spare: int = 0
    right: bool = False

    @property
    def width(self) -> int:
        return max(map(cells, (self.head, *self.values)))

    def line(self, position: int) -> str:
        text = self.head if position < 0 else self.values[position]
        return pad(text, self.width, right=self.right)


@dataclass(frozen=True)
class _Sheet:
    """The columns, and the width of mark and name beside them; None puts the figures on a line below."""

    columns: Sequence[_Column]
    title: int | None

    def entry(self, mark: str, name: str, position: int) -> list[str]:
        figures = "".join(_GAP + column.line(position) for column in self.columns).rstrip()
        title = f"{pad(mark, _MARK)} {name}"
        if self.title is None:
            return [title.rstrip(), f"{' ' * _MARK}{figures}"]
        return [f"{pad(title, self.title)}{figures}".rstrip()]


def terminal_table(report: CostReport, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return headline, comparison and its scope in lines of at most ``width`` (60 or more) cells.

    A name is cut only where it is wider than the terminal: when there is no room beside it, the figures go
    below. ``ascii_only`` is for an output that is not UTF-8; marks become ``ok``, ``x``, ``?``.
    """
    say = _ascii if ascii_only else visible
    all_rows = rows(report)
    head = [part for line in report.headline for part in _wrap(say(line), width)]
    scope = [part for line in _scope(report, all_rows) for part in _wrap(say(line), width)]
    return "\n".join([*head, "", *_table(all_rows, width, say), "", *scope]) + "\n"


def _ascii(text: str) -> str:
    return _ASCII_MARKS.get(text) or plain_ascii(visible(text))


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def _table(all_rows: Sequence[Row], width: int, say: Callable[[str], str]) -> list[str]:
    columns = _columns(all_rows, say)
    names = [elide(say(row.title), width - _MARK - 1, say("…")) for row in all_rows]
    title = _MARK + 1 + max(map(cells, ("candidate", *names)))
    beside = _fit(columns, width - title)
    fits = title + _width(beside) <= width
    sheet = _Sheet(beside if fits else _fit(columns, width - _MARK), title if fits else None)
    lines = sheet.entry("", "candidate", -1)
    for position, (row, name) in enumerate(zip(all_rows, names, strict=True)):
        lines += sheet.entry(say(row.mark), name, position)
        lines[-1:] = _noted(lines[-1], say(_note(row)), width)
    return lines


def _columns(all_rows: Sequence[Row], say: Callable[[str], str]) -> list[_Column]:
    def values(text: Callable[[Row], str]) -> tuple[str, ...]:
        return tuple(say(text(row)) for row in all_rows)

    return [
        _Column("USD/1k ok", values(lambda row: row.usd)),
        _Column("", values(lambda row: row.plus_minus), spare=1),
        _Column("vs best", values(lambda row: row.ratio), spare=2),
        _Column("p99 ms", values(lambda row: row.p99_ms), right=True),
        _Column("met", values(lambda row: row.met), right=True),
        _Column("basis", values(lambda row: row.basis)),
    ]


def _fit(columns: Sequence[_Column], room: int) -> list[_Column]:
    """Return the columns that have room, without the spare ones as far as needed."""
    kept = list(columns)
    while _width(kept) > room and (last := max(kept, key=lambda c: c.spare)).spare:
        kept.remove(last)
    return kept


def _width(columns: Sequence[_Column]) -> int:
    return sum(len(_GAP) + column.width for column in columns)


def _note(row: Row) -> str:
    """Say why a candidate lost, and why it has no p99."""
    too_few = f"no p99: {row.p99_note}" if row.p99_note else ""
    return "; ".join(text for text in (row.note, too_few) if text)


def _noted(line: str, note: str, width: int) -> list[str]:
    """Put the note behind the line where there is room, else below it."""
    if not note:
        return [line]
    together = f"{line}{_GAP}{note}"
    if cells(together) <= width:
        return [together]
    return [line, *_wrap(note, width, _GAP * 3)]


def _scope(report: CostReport, all_rows: Sequence[Row]) -> Iterator[str]:
    """Say what the figures cover: the basis of each, the prices, the trace."""
    used = {letter for row in all_rows for letter in row.basis.split()}
    yield " · ".join(f"{letter}: {BASIS[letter]}" for letter in "MSA" if letter in used)
    prices = f"oldest price {report.oldest_price}" if report.oldest_price else "no price known"
    yield (
        f"{prices} · trace {report.trace_name} · {report.trace_requests:,} requests "
        f"in {format_duration(report.trace_duration_s)}"
    )
