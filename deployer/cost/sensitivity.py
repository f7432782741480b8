"""What would change the answer: other traffic, slower starts, other prices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from deployer.cost.breakeven import price_reversals
from deployer.cost.candidates import Entry, assess
from deployer.cost.ranking import rank
from deployer.cost.report import Candidate, LoadCurve, LoadPoint
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import Slo
from deployer.units import format_usd

LOADS = (0.5, 2.0)
STARTUP_EXTRA_S = 60.0
PRICE_SHARE = Decimal("0.10")


@dataclass(frozen=True)
class Change:
    """What to simulate again: the trace with ``traffic`` times the requests, starts ``startup_extra_s`` slower."""

    traffic: float = 1.0
    startup_extra_s: float = 0.0

    def __str__(self) -> str:
        words = []
        if self.traffic != 1:
            words.append(f"traffic × {self.traffic:g}")
        if self.startup_extra_s:
            words.append(f"start-up + {self.startup_extra_s:g} s")
        return ", ".join(words) or "no change"


Rerun = Callable[[Change], Sequence[Entry]]


@dataclass(frozen=True)
class Sensitivity:
    """The sentences of the report, and each candidate's cost by load."""

    sentences: tuple[str, ...]
    load_curves: tuple[LoadCurve, ...] = ()


def sensitivity(
    candidates: Sequence[Candidate],
    *,
    slo: Slo,
    book: PriceBook,
    mean_rps: float,
    rerun: Rerun | None = None,
    loads: Sequence[float] = LOADS,
) -> Sensitivity:
    """Find what changes the winner among ranked ``candidates``.

    Prices are moved one at a time by 10%, exactly. With ``rerun``, which simulates every candidate again
    under a Change, also traffic times each of ``loads`` and start-up + 60 s; without it, that is not claimed.
    """
    sentences = list(price_reversals(candidates, PRICE_SHARE))
    tried = [f"each price ± {PRICE_SHARE:.0%}"]
    curves: tuple[LoadCurve, ...] = ()
    if rerun is not None:
        changes = [*map(Change, loads), Change(startup_extra_s=STARTUP_EXTRA_S)]
        again = {c: rank([_light(e, slo, book) for e in rerun(c)]) for c in changes}
        sentences += _reversals(candidates, again)
        tried += map(str, changes)
        by_load = {c.traffic: ranked for c, ranked in again.items() if not c.startup_extra_s}
        curves = _curves({**by_load, 1.0: tuple(candidates)}, mean_rps)
    if not sentences and _winner(candidates) is not None:
        sentences.append(f"None of these changes the winner: {', '.join(tried)}.")
    return Sensitivity(tuple(sentences), curves)


@dataclass(frozen=True)
class Crossover:
    """Between two simulated loads, in requests per second, the cheapest that meets changes.

    ``before`` and ``after`` are names, None where no candidate meets the objective.
    """

    low_rps: float
    high_rps: float
    before: str | None
    after: str | None


def crossovers(curves: Sequence[LoadCurve]) -> tuple[Crossover, ...]:
    """Return where the winner changes as load grows: brackets of simulated loads, nothing in between guessed."""
    winners = _winners(curves)
    return tuple(
        Crossover(low, high, before, after)
        for (low, before), (high, after) in itertools.pairwise(winners)
        if before != after
    )


def _winners(curves: Sequence[LoadCurve]) -> list[tuple[float, str | None]]:
    loads = sorted({point.rps for curve in curves for point in curve.points})
    found = []
    for load in loads:
        costs = [
            (point.usd_per_thousand, curve.candidate)
            for curve in curves
            for point in curve.points
            if point.rps == load and point.meets and point.usd_per_thousand is not None
        ]
        found.append((load, min(costs)[1] if costs else None))
    return found


def _reversals(
    candidates: Sequence[Candidate], again: Mapping[Change, Sequence[Candidate]]
) -> list[str]:
    winner = _winner(candidates)
    return [
        f"{str(change).capitalize()}: {_outcome(ranked)}."
        for change, ranked in again.items()
        if _winner(ranked) != winner
    ]


def _light(entry: Entry, slo: Slo, book: PriceBook) -> Candidate:
    """Assess an entry and let go of its run: a day of traffic weighs tens of megabytes."""
    return replace(assess(entry, slo, book), run=None)


def _winner(candidates: Sequence[Candidate]) -> str | None:
    return next((c.name for c in candidates if c.verdict == "best"), None)


def _outcome(candidates: Sequence[Candidate]) -> str:
    best = next((c for c in candidates if c.verdict == "best"), None)
    if best is None or best.usd_per_thousand is None:
        return "no candidate meets the objective"
    return f"{best.name} is cheapest (USD {format_usd(best.usd_per_thousand)} per thousand)"


def _curves(by_load: dict[float, tuple[Candidate, ...]], mean_rps: float) -> tuple[LoadCurve, ...]:
    points: dict[str, list[LoadPoint]] = {}
    for load in sorted(by_load):
        for c in by_load[load]:
            if c.verdict != "unknown":
                meets = c.verdict in ("best", "meets")
                point = LoadPoint(load * mean_rps, c.usd_per_thousand, meets)
                points.setdefault(c.name, []).append(point)
    return tuple(LoadCurve(name, tuple(each)) for name, each in sorted(points.items()))
