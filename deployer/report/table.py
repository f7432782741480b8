"""The comparison in words: one Row a candidate, the same for terminal, Markdown, HTML and plots."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from deployer.cost.report import Candidate, CostReport, Verdict
from deployer.report.escape import identifier, visible
from deployer.units import format_ms, format_share

MARKS: dict[Verdict, str] = {"best": "✔", "meets": "", "misses": "✘", "unknown": "?"}
SAID: dict[Verdict, str] = {
    "best": "best: cheapest that meets the objective",
    "meets": "meets the objective",
    "misses": "misses the objective",
    "unknown": "unknown",
}
BASIS = {
    "M": "measured by a load test",
    "S": "simulated from a measured profile",
    "A": "rests on assumptions, listed in the report",
}
SHOWN = 8
"""Most rows of the first table; the rest is in the folded one."""


@dataclass(frozen=True)
class Row:
    """One candidate in words, units in the column's name; empty where there is nothing to say.

    ``anchor`` depends on the name alone, so that two reports can be laid side by side; ``key`` numbers the
    candidates in page order, for the plots.
    """

    key: int
    anchor: str
    candidate: Candidate
    mark: str
    also: str
    usd: str
    plus_minus: str
    ratio: str
    more: str
    p50_ms: str
    p99_ms: str
    p99_note: str
    met: str
    refused: str
    usd_per_month: str
    basis: str
    note: str

    @property
    def title(self) -> str:
        """The name, with the precision where it does not say it."""
        name, precision = self.candidate.name, self.candidate.precision
        return name if precision in name else f"{name} · {precision}"

    @property
    def label(self) -> str:
        """Number and title on one line, with the mark: what names the candidate in a plot."""
        return visible(f"{self.mark} {self.key}  {self.title}".lstrip())


def rows(report: CostReport) -> tuple[Row, ...]:
    """Return every candidate in page order: those that meet the objective, missed ones, unknown ones."""
    ordered = [c for verdicts in _ORDER for c in report.candidates if c.verdict in verdicts]
    decimals = money_decimals(c.usd_per_thousand for c in ordered)
    anchors = _anchors([c.name for c in ordered])
    best = report.best
    return tuple(
        _row(key, anchor, candidate, best, decimals)
        for key, (anchor, candidate) in enumerate(zip(anchors, ordered, strict=True), start=1)
    )


_ORDER = (("best", "meets"), ("misses",), ("unknown",))


def shown(all_rows: Sequence[Row], limit: int = SHOWN) -> tuple[Row, ...]:
    """Return the rows of the first table: at most ``limit``, of which up to three are losers."""
    winners = [r for r in all_rows if r.candidate.verdict in ("best", "meets")]
    losers = [r for r in all_rows if r.candidate.verdict in ("misses", "unknown")]
    kept = winners[: limit - min(3, len(losers))]
    return tuple(kept + losers[: limit - len(kept)])


def _row(key: int, anchor: str, c: Candidate, best: Candidate | None, decimals: int) -> Row:
    latency = c.latency_ms
    p99 = latency.p99 if latency else None
    return Row(
        key=key,
        anchor=anchor,
        candidate=c,
        mark=MARKS[c.verdict],
        also=_also(c),
        usd="unknown" if c.usd_per_thousand is None else money(c.usd_per_thousand, decimals),
        plus_minus="" if c.usd_interval is None else f"±{money(c.usd_interval, decimals)}",
        ratio=_ratio(c, best),
        more=_more(c, best, decimals),
        p50_ms=milliseconds(latency.p50 if latency else None),
        p99_ms=milliseconds(p99) if p99 is not None else ("n/a" if latency else ""),
        p99_note=f"n = {latency.count:,}" if latency and p99 is None else "",
        met="" if c.slo_attainment is None else format_share(c.slo_attainment),
        refused=_refused(c),
        usd_per_month=_month(c.usd_per_month),
        basis=basis(c),
        note=_note(c),
    )


def money_decimals(amounts: Iterable[Decimal | None]) -> int:
    """Return the decimals of a column of money: three significant digits of its smallest amount, 2 to 8."""
    sizes = [a.adjusted() for a in amounts if a]
    return min(8, max(2, 2 - min(sizes))) if sizes else 2


def money(amount: Decimal, decimals: int) -> str:
    """Print an amount of USD; one that would round to nothing says below what it is."""
    text = f"{amount:,.{decimals}f}"
    if amount and not Decimal(text.replace(",", "")):
        return f"<{Decimal(1).scaleb(-decimals):f}"
    return text


def _ratio(c: Candidate, best: Candidate | None) -> str:
    """Say the cost of a candidate that meets the objective as a multiple of the best's."""
    if best is None or not best.usd_per_thousand or c.usd_per_thousand is None:
        return ""
    if c.verdict not in ("best", "meets"):
        return ""
    return f"{c.usd_per_thousand / best.usd_per_thousand:.2f}×"


def _more(c: Candidate, best: Candidate | None, decimals: int) -> str:
    if best is None or best.usd_per_thousand is None or c.usd_per_thousand is None:
        return ""
    if c.verdict != "meets":
        return ""
    return f"+{money(c.usd_per_thousand - best.usd_per_thousand, decimals)}"


def _also(c: Candidate) -> str:
    """Return what the name does not say already: target, precision, how many instances."""
    parts = [text for text in (c.target, c.precision) if text and text not in c.name]
    if c.instances is not None:
        low, high = c.instances
        count = f"{low}" if low == high else f"{low}–{high}"
        parts.append(f"{count} {'instance' if high == 1 else 'instances'}")
    return " · ".join(parts)


def milliseconds(value: float | None) -> str:
    """Print milliseconds; an unknown is empty."""
    return "" if value is None else format_ms(value)


def _refused(c: Candidate) -> str:
    if c.latency_ms is None or not c.offered:
        return ""
    if not c.refused:
        return "0%"
    percent = 100 * c.refused / c.offered
    return f"{percent:.2g}%" if percent >= 0.01 else "<0.01%"


def _month(amount: Decimal | None) -> str:
    if amount is None:
        return ""
    return money(amount, 0 if amount >= 10 else 2)


def basis(c: Candidate) -> str:
    """Return M or S for measured or simulated, with A where assumptions are in it."""
    if c.provenance is None:
        return ""
    letter = "M" if c.provenance == "measured" else "S"
    return f"{letter} A" if c.assumptions else letter


def unknown_reason(c: Candidate) -> str | None:
    """Return why the cost is unknown; None where it is known."""
    if c.usd_per_thousand is not None:
        return None
    if c.unknown_reason:
        return c.unknown_reason
    return c.reason or ("no request succeeded" if not c.successes else "no reason was recorded")


def _note(c: Candidate) -> str:
    why = unknown_reason(c)
    return why if why is not None else ("" if c.verdict == "best" else c.reason)


def _anchors(names: Sequence[str]) -> list[str]:
    """Return one HTML id a name; the second that would be equal gets a number."""
    result: list[str] = []
    for name in names:
        anchor = f"c-{identifier(name)}"
        candidates = itertools.chain([anchor], (f"{anchor}-{n}" for n in itertools.count(2)))
        result.append(next(a for a in candidates if a not in result))
    return result
