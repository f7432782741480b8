"""Entries side by side = CostReport: price each, rank them, say what it comes to and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.cost.candidates import Entry, assess
from deployer.cost.headline import headline
from deployer.cost.materials import conventions
from deployer.cost.ranking import rank
from deployer.cost.report import CostReport
from deployer.cost.sensitivity import LOADS, Rerun, crossovers, sensitivity
from deployer.errors import InputError
from deployer.pricing.book import PriceBook
from deployer.profiles import Profile
from deployer.spec.deployment import Slo
from deployer.spec.target import Local
from deployer.traffic.trace import TrafficTrace

NOT_COUNTED = (
    "Instances that run twice while a new version comes in: how often you deploy is in no specification.",
    "Free allowances, savings plans, private discounts, support and tax.",
)


def compare(
    entries: Sequence[Entry],
    *,
    name: str,
    trace: TrafficTrace,
    slo: Slo,
    book: PriceBook,
    profiles: Sequence[Profile] = (),
    seeds: Sequence[int] = (),
    measured: Sequence[Mapping[str, Any]] = (),
    calibration: Sequence[str] = (),
    commands: Sequence[str] = (),
    tool_version: str = "",
    rerun: Rerun | None = None,
    loads: Sequence[float] = LOADS,
) -> CostReport:
    """Price and rank ``entries`` over one trace and one objective.

    An entry without a price or a run becomes an unknown candidate with its reason, never a zero. With no
    objective, cost alone ranks. ``profiles`` default to those of the entries. ``rerun`` simulates every
    entry again under a Change; it brings the sensitivity to traffic and start-up, and the load curves.

    Raises InputError when there is no entry or two share a name.
    """
    _check(entries)
    candidates = rank([assess(entry, slo, book) for entry in entries])
    turns = sensitivity(
        candidates, slo=slo, book=book, mean_rps=trace.mean_rps, rerun=rerun, loads=loads
    )
    bills = [c.bill for c in candidates if c.bill is not None]
    return CostReport(
        name=name,
        region=_regions(entries),
        trace_name=trace.name,
        trace_digest=trace.digest,
        trace_requests=len(trace),
        trace_duration_s=trace.duration_s,
        slo=slo,
        candidates=candidates,
        headline=headline(candidates, slo, crossovers(turns.load_curves)),
        oldest_price=min((bill.oldest_price for bill in bills), default=None),
        seeds=tuple(seeds),
        profiles=tuple(p.to_json() for p in profiles or _profiles(entries)),
        measured=tuple(measured),
        sensitivity=turns.sentences,
        calibration=tuple(calibration),
        not_counted=NOT_COUNTED,
        conventions=tuple(dict.fromkeys(s for e in entries for s in conventions(e.spec))),
        load_curves=turns.load_curves,
        commands=tuple(commands),
        tool_version=tool_version,
    )


def _check(entries: Sequence[Entry]) -> None:
    if not entries:
        raise InputError("nothing to compare", hint="give at least one deployment.toml")
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two candidates are named {twice[0]!r}", hint="rename one of them")


def _regions(entries: Sequence[Entry]) -> str:
    found = (e.spec.target.region for e in entries if not isinstance(e.spec.target, Local))
    return ", ".join(dict.fromkeys(found)) or "local"


def _profiles(entries: Sequence[Entry]) -> list[Profile]:
    found: list[Profile] = []
    for entry in entries:
        if entry.profile is not None and entry.profile not in found:
            found.append(entry.profile)
    return found
