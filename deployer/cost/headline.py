"""The report's first two sentences, computed: the winner, then the runner-up and when it would win."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployer.cost.breakeven import break_even
from deployer.cost.objective import WANTED, binding
from deployer.cost.ranking import tied
from deployer.cost.report import Candidate
from deployer.cost.sensitivity import Crossover
from deployer.runs import Run
from deployer.spec.deployment import Slo
from deployer.units import format_ms, format_share, format_usd

BY_SIZE = (413, 424)
"""Statuses of a request, or of an answer, that is larger than the target takes."""


def headline(
    candidates: Sequence[Candidate], slo: Slo, turns: Sequence[Crossover] = ()
) -> tuple[str, ...]:
    """Return what ranked ``candidates`` come to in two sentences; ``turns`` are the crossovers by load."""
    meeting = [c for c in candidates if c.verdict in ("best", "meets")]
    if meeting:
        second = _second(meeting, candidates, slo) + _by_load(meeting[0], turns)
        return (_first(meeting[0], slo), f"{second}.")
    missing = [c for c in candidates if c.verdict == "misses"]
    if not missing:
        return ("No candidate can be priced.", *(_unknown(c) for c in candidates[:1]))
    return (f"No candidate meets {_objective(slo)}.", _closest(missing[0], slo))


def _first(best: Candidate, slo: Slo) -> str:
    text = f"Run {_what(best)}: {_cost(best)} per thousand successful requests"
    if slo.items():
        text += f", {_latency(best, slo)}"
    else:
        text += "; no objective is set, so cost alone decides"
    return f"{text} ({_basis(best)})."


def _second(meeting: Sequence[Candidate], candidates: Sequence[Candidate], slo: Slo) -> str:
    best = meeting[0]
    if len(meeting) == 1:
        others = [c for c in candidates if c.verdict == "misses"]
        if not others:
            return "No other candidate has a known cost"
        return (
            f"No other candidate meets {_objective(slo)}; closest is {others[0].name}: "
            f"{others[0].reason}"
        )
    ties = [c for c in meeting[1:] if tied(c, best)]
    if ties:
        names = ", ".join(f"{c.name} ({_cost(c)})" for c in ties)
        return f"Tied with it within the 95% intervals: {names}"
    elsewhere = [c for c in meeting[1:] if c.spec.get("target") != best.spec.get("target")]
    if not elsewhere or elsewhere[0] is meeting[1]:
        return f"Next is {_runner_up(best, meeting[1])}"
    same = f"On the same target {meeting[1].name} costs {_times(best, meeting[1])}"
    return f"{same}; on another, next is {_runner_up(best, elsewhere[0])}"


def _by_load(best: Candidate, turns: Sequence[Crossover]) -> str:
    """Say which candidate wins at the nearest simulated loads below and above this one."""
    below = [t for t in turns if t.after == best.name and t.before]
    above = [t for t in turns if t.before == best.name and t.after]
    words = [f"at {t.low_rps:.3g} requests/s {t.before} is cheapest" for t in below[-1:]]
    words += [f"at {t.high_rps:.3g} requests/s {t.after} is cheapest" for t in above[:1]]
    return "".join(f"; {word}" for word in words)


def _runner_up(best: Candidate, other: Candidate) -> str:
    text = f"{_what(other)} at {_cost(other)} ({_times(best, other)})"
    turn = break_even(best, other)
    if turn is None:
        return f"{text}; no single price can reverse the order"
    way = "higher" if turn.change > 0 else "lower"
    return f"{text}; it wins once the price of {turn.item} is about {abs(turn.change):.0%} {way}"


def _times(best: Candidate, other: Candidate) -> str:
    if not best.usd_per_thousand or other.usd_per_thousand is None:
        return "unknown"
    more = other.usd_per_thousand - best.usd_per_thousand
    return f"{other.usd_per_thousand / best.usd_per_thousand:.2f}×, +{format_usd(more)}"


def _closest(nearest: Candidate, slo: Slo) -> str:
    text = f"Closest is {_what(nearest)}: {nearest.reason}"
    if nearest.usd_per_thousand is not None:
        text += f", at {_cost(nearest)} per thousand successful requests"
    needed = _needed(nearest, slo)
    return f"{text}{f'; {needed}' if needed else ''} ({_basis(nearest)})."


def _needed(candidate: Candidate, slo: Slo) -> str:
    """Return the objective that the shown run would have met; empty when refusals alone exceed the share."""
    if candidate.run is None:
        return ""
    answers = np.sort(candidate.run.latency_s)
    met = []
    for key, _ in slo.items():
        rank = int(np.ceil(WANTED[key] * candidate.run.offered))
        if rank > len(answers):
            return _lacking(candidate.run)
        met.append(f"{key.removesuffix('_ms')} ≤ {format_ms(float(answers[rank - 1]) * 1000)} ms")
    return f"it would meet {', '.join(met)}"


def _lacking(run: Run) -> str:
    """Say what must change where too many requests get no answer at any speed: capacity, or the requests."""
    statuses = run.details.get("failed_status", {})
    reasons = run.details.get("failed_by", {})
    main = max(reasons, key=lambda reason: (reasons[reason], reason), default="")
    if statuses.get(main) in BY_SIZE:
        return f"no capacity helps: too many requests fail by their size ({main})"
    return "more capacity is needed: too many requests get no answer at any speed"


def _unknown(candidate: Candidate) -> str:
    return f"{candidate.name}: {candidate.unknown_reason}."


def _what(c: Candidate) -> str:
    parts = [c.name] if not c.precision or c.precision in c.name else [c.name, c.precision]
    low, high = c.instances or (0, 0)
    if high > 1:
        parts.append(f"{low}–{high} instances in use" if low != high else f"{high} instances")
    return f"{parts[0]} ({', '.join(parts[1:])})" if len(parts) > 1 else parts[0]


def _cost(c: Candidate) -> str:
    if c.usd_per_thousand is None:
        return "unknown cost"
    text = f"USD {format_usd(c.usd_per_thousand)}"
    if c.usd_interval is None or not c.usd_per_thousand:
        return text
    percent = float(c.usd_interval / c.usd_per_thousand * 100)
    return f"{text} (± {percent:.1g}%)" if percent >= 0.01 else f"{text} (± <0.01%)"


def _latency(c: Candidate, slo: Slo) -> str:
    """Say the binding objective: the one with the least margin."""
    worst = binding(c.attainments)
    if worst is None:
        return "objective not measured"
    key, share = worst
    limit = dict(slo.items())[key]
    name = key.removesuffix("_ms")
    measured = getattr(c.latency_ms, name, None)
    seen = f"{name} {format_ms(measured)} ms and " if measured is not None else ""
    return (
        f"{seen}{format_share(share)} of offered requests within {limit:g} ms "
        f"({WANTED[key]:.0%} wanted)"
    )


def _objective(slo: Slo) -> str:
    return ", ".join(f"{key.removesuffix('_ms')} ≤ {ms:g} ms" for key, ms in slo.items())


def _basis(c: Candidate) -> str:
    """Say measured or simulated, and what is assumed: the first assumption and how many more there are."""
    word = c.provenance or "unknown"
    if not c.assumptions:
        return word
    more = f"; and {len(c.assumptions) - 1} more" if len(c.assumptions) > 1 else ""
    return f"{word}, assumed: {c.assumptions[0].rstrip('.')}{more}"
