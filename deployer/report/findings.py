"""What the plots show: their data, taken from the report, and one sentence each computed from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from deployer.cost.ranking import pareto_front
from deployer.cost.report import LoadCurve
from deployer.report.table import Row
from deployer.stats import Floats
from deployer.units import format_duration, format_ms, format_usd

MOST_REFUSED = 0.01
"""A candidate that leaves more of its requests unanswered is kept off the front: it is fast by refusing."""

BINS = 96
"""Intervals of the day: a quarter of an hour each when the trace lasts a day."""

OTHER = "other"
KINDS = 6
"""Most kinds of line item told apart in the plot; the smallest beyond are added up."""


@dataclass(frozen=True)
class Point:
    """A candidate as cost against latency; ``front``: none other is both cheaper and faster."""

    row: Row
    usd_per_thousand: float
    half_width: float
    p99_ms: float
    front: bool


@dataclass(frozen=True)
class Curve:
    """A candidate's cost at several loads, and where it meets; ``cheapest``: of those that meet, somewhere."""

    row: Row
    rps: tuple[float, ...]
    usd_per_thousand: tuple[float, ...]
    meets: tuple[bool, ...]
    cheapest: bool


@dataclass(frozen=True)
class Day:
    """One run in bins: requests per second that arrive and that get no good answer; instances as steps."""

    row: Row
    bin_s: float
    offered_rps: Floats
    lost_rps: Floats
    time_s: Floats
    billed: Floats
    serving: Floats


@dataclass(frozen=True)
class Latencies:
    """Shares of a candidate's successful requests between ``edges_ms``, the same for all candidates."""

    row: Row
    edges_ms: Floats
    shares: Floats


@dataclass(frozen=True)
class Spending:
    """USD per thousand by kind of line item, for every candidate that has a bill; rows of ``usd`` by kind."""

    kinds: tuple[str, ...]
    rows: tuple[Row, ...]
    usd: tuple[tuple[float, ...], ...]


def points(rows: Sequence[Row]) -> tuple[Point, ...]:
    """Return the candidates whose cost and p99 are both known."""
    found = [
        (row, float(c.usd_per_thousand), float(c.usd_interval or 0), c.latency_ms.p99)
        for row in rows
        if (c := row.candidate).usd_per_thousand is not None and c.latency_ms and c.latency_ms.p99
    ]
    front = pareto_front([row.candidate for row, *_ in found if _answers(row)])
    names = {candidate.name for candidate in front}
    return tuple(
        Point(row, usd, half, ms, row.candidate.name in names) for row, usd, half, ms in found
    )


def _answers(row: Row) -> bool:
    return row.candidate.failures <= MOST_REFUSED * row.candidate.offered


def cost_latency(rows: Sequence[Row]) -> str:
    """Say who is on the front of cost and p99, and who cannot be drawn."""
    drawn = points(rows)
    if not drawn:
        return "No candidate has both a known cost and a p99, so there is nothing to draw."
    front = sorted((p for p in drawn if p.front), key=lambda p: p.usd_per_thousand)
    verb = (
        "candidate is"
        if len(drawn) == 1
        else ("candidates is" if len(front) == 1 else "candidates are")
    )
    text = f"{len(front)} of {len(drawn)} {verb} on the front, where nothing is both cheaper and faster"
    if len(front) > 1:
        text += f", from {_priced(front[0])} to {_priced(front[-1])}"
    elif front:
        text += f": {_priced(front[0])}"
    missing = len(rows) - len(drawn)
    return f"{text}.{f' Not drawn, cost or p99 unknown: {missing}.' if missing else ''}"


def _priced(point: Point) -> str:
    cost = format_usd(Decimal(str(point.usd_per_thousand)))
    return f"{point.row.candidate.name} (${cost}, {format_ms(point.p99_ms)} ms)"


def curves(rows: Sequence[Row], load_curves: Sequence[LoadCurve]) -> tuple[Curve, ...]:
    """Return the curves of ``rows`` that have at least two points with a known cost."""
    named = {row.candidate.name: row for row in rows}
    winners = {name for _, name in _cheapest_by_load(load_curves)}
    found = []
    for curve in load_curves:
        known = [
            (p.rps, float(p.usd_per_thousand), p.meets) for p in curve.points if p.usd_per_thousand
        ]
        if curve.candidate in named and len(known) > 1:
            rps, usd, meets = zip(*known, strict=True)
            row = named[curve.candidate]
            found.append(Curve(row, rps, usd, meets, curve.candidate in winners))
    return tuple(sorted(found, key=lambda c: c.row.key))


def _cheapest_by_load(load_curves: Sequence[LoadCurve]) -> list[tuple[float, str | None]]:
    """Return, by rising load, who is cheapest of those that meet the objective there; None for nobody."""
    offers: dict[float, list[tuple[Decimal, str]]] = {}
    for curve in load_curves:
        for p in curve.points:
            at_load = offers.setdefault(p.rps, [])
            if p.meets and p.usd_per_thousand is not None:
                at_load.append((p.usd_per_thousand, curve.candidate))
    return [(rps, min(offers[rps])[1] if offers[rps] else None) for rps in sorted(offers)]


def cost_load(load_curves: Sequence[LoadCurve]) -> str:
    """Say who is cheapest at which of the loads that were simulated."""
    cheapest = _cheapest_by_load(load_curves)
    if len(cheapest) < 2:
        return "The candidates were run at one load only, so cost against load is not drawn."
    parts = []
    for name, group in itertools.groupby(cheapest, key=lambda item: item[1]):
        loads = [f"{rps:.3g}" for rps, _ in group]
        span = loads[0] if len(loads) == 1 else f"{loads[0]} to {loads[-1]}"
        parts.append(f"at {span} requests/s {name or 'none meets the objective'}")
    return f"Cheapest that meets the objective: {'; '.join(parts)}."


def days(rows: Sequence[Row]) -> tuple[Day, ...]:
    """Return the day of every candidate that was run."""
    return tuple(day for row in rows if (day := _day(row)))


def _day(row: Row) -> Day | None:
    run = row.candidate.run
    if run is None or run.duration_s <= 0:
        return None
    edges = np.linspace(0.0, run.duration_s, BINS + 1)
    bin_s = run.duration_s / BINS
    offered = np.histogram(run.intended_s, edges)[0] / bin_s
    lost = np.histogram(run.intended_s[~run.succeeded], edges)[0] / bin_s
    capacity = run.capacity
    return Day(row, bin_s, offered, lost, capacity.time_s, capacity.billed, capacity.serving)


def whole_day(rows: Sequence[Row]) -> str:
    """Say when the most arrives and who turns most away."""
    found = days(rows)
    if not found:
        return "No run is attached to this report, so the day cannot be drawn."
    peak = int(np.argmax(found[0].offered_rps))
    when = format_duration(peak * found[0].bin_s) if peak else "the start"
    text = f"Arrivals peak at {found[0].offered_rps[peak]:.3g} requests/s, {when} into the trace"
    lossy = sorted((d for d in found if d.row.candidate.failures), key=_lost, reverse=True)
    if not lossy:
        return f"{text}; every candidate answers every request."
    worst = lossy[0].row.candidate
    return (
        f"{text}; {len(found) - len(lossy)} of {len(found)} candidates answer every request, "
        f"{worst.name} refuses or fails most ({_percent(_lost(lossy[0]))})."
    )


def _lost(day: Day) -> float:
    return day.row.candidate.failures / day.row.candidate.offered


def _percent(value: float) -> str:
    return f"{100 * value:.2g}%" if value >= 0.0001 else "<0.01%"


def latencies(rows: Sequence[Row]) -> tuple[Latencies, ...]:
    """Return how the latency of every candidate that was run is spread, in logarithmic bins."""
    found = [
        (row, run.latency_s * 1000) for row in rows if (run := row.candidate.run) and run.successes
    ]
    if not found:
        return ()
    low, high = min(float(ms.min()) for _, ms in found), max(float(ms.max()) for _, ms in found)
    edges = np.geomspace(max(low, 1e-3) / 1.05, max(high, 2e-3) * 1.05, BINS + 1)
    return tuple(Latencies(row, edges, np.histogram(ms, edges)[0] / len(ms)) for row, ms in found)


def spread_of_latency(rows: Sequence[Row]) -> str:
    """Say whose slowest hundredth is furthest from its middle, and whose nearest."""
    ratios = [
        (ms.p99 / ms.p50, row.candidate.name)
        for row in rows
        if (ms := row.candidate.latency_ms) and ms.p99 and ms.p50
    ]
    if not ratios:
        return "No candidate has a p99, so the spread of latency cannot be told."
    (least, steady), (most, loose) = min(ratios), max(ratios)
    if len(ratios) == 1:
        return f"p99 of {steady} is {_times(least)} times its p50."
    return f"p99 is {_times(least)} times p50 for {steady} and {_times(most)} times for {loose}."


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def spending(rows: Sequence[Row]) -> Spending:
    """Return what each candidate pays for, largest kinds first."""
    billed = [row for row in rows if row.candidate.bill and row.candidate.bill.successes]
    split = [_per_thousand(row) for row in billed]
    totals: dict[str, float] = {}
    for parts in split:
        for kind, usd in parts.items():
            totals[kind] = totals.get(kind, 0.0) + usd
    ranked = sorted(totals, key=lambda kind: (-totals[kind], kind))
    named = ranked if len(ranked) <= KINDS else ranked[: KINDS - 1]
    kinds = tuple(named) if len(named) == len(ranked) else (*named, OTHER)
    split_usd = tuple((*(p.get(k, 0.0) for k in named), *_rest(p, named, kinds)) for p in split)
    return Spending(kinds, tuple(billed), split_usd)


def _rest(parts: dict[str, float], named: Sequence[str], kinds: Sequence[str]) -> list[float]:
    if len(kinds) == len(named):
        return []
    return [sum(usd for kind, usd in parts.items() if kind not in named)]


def _per_thousand(row: Row) -> dict[str, float]:
    bill = row.candidate.bill
    assert bill is not None
    parts: dict[str, float] = {}
    for line in bill.line_items:
        kind = _kind(line.item)
        parts[kind] = parts.get(kind, 0.0) + float(line.usd * 1000 / bill.successes)
    return parts


def _kind(item: str) -> str:
    """Return the kind of a line item: instances and serverless seconds of any size are compute."""
    return "compute" if " instances" in item or item.endswith(" compute") else item


def where_money_goes(rows: Sequence[Row]) -> str:
    """Say what the first candidate pays most for, and how much of its bill that is."""
    found = spending(rows)
    if not found.rows:
        return "No candidate has a bill, so there is nothing to split."
    amounts, total = found.usd[0], sum(found.usd[0])
    name = found.rows[0].candidate.name
    if not total:
        return f"{name} costs nothing."
    ranked = sorted(zip(amounts, found.kinds, strict=True), key=lambda part: -part[0])
    named = [(usd, kind) for usd, kind in ranked[:2] if usd and kind != OTHER]
    parts = [f"{100 * usd / total:.0f}% is {kind}" for usd, kind in named]
    return f"Of what {name} costs, {' and '.join(parts) or 'no kind stands out'}."
