"""Order candidates: those that meet the objective by cost, then those that miss it, then the unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from deployer.cost.objective import binding, margin
from deployer.cost.report import Candidate


def rank(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return assessed candidates in order, the first that meets the objective as ``best``.

    Equal costs go by p99, then by name, so the order never depends on the order given. A candidate is ``tied`` when
    its interval and the best's overlap. Those that miss come nearest miss first.
    """
    meeting = sorted(
        (c for c in candidates if c.verdict in ("best", "meets")),
        key=lambda c: (c.usd_per_thousand, _p99(c), c.name),
    )
    missing = sorted(
        (c for c in candidates if c.verdict == "misses"),
        key=lambda c: (-shortfall(c), c.usd_per_thousand is None, c.usd_per_thousand, c.name),
    )
    unknown = sorted((c for c in candidates if c.verdict == "unknown"), key=lambda c: c.name)
    placed = [_place(c, position, meeting[0]) for position, c in enumerate(meeting, start=1)]
    rest = [replace(c, rank=None, tied=False) for c in (*missing, *unknown)]
    return (*placed, *rest)


def shortfall(candidate: Candidate) -> float:
    """Return the smallest margin of a candidate over its objectives, negative where it misses one."""
    worst = binding(candidate.attainments)
    return margin(*worst) if worst else 0.0


def tied(a: Candidate, b: Candidate) -> bool:
    """Return whether two costs cannot be told apart: equal, or 95% intervals that overlap."""
    if a.usd_per_thousand is None or b.usd_per_thousand is None:
        return False
    apart = abs(a.usd_per_thousand - b.usd_per_thousand)
    room = (a.usd_interval or Decimal(0)) + (b.usd_interval or Decimal(0))
    return apart <= room


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates that no other beats in both cost and p99, cheapest first.

    Those without a known cost or p99 are left out.
    """
    known = [
        (c.usd_per_thousand, c.latency_ms.p99, c.name, c)
        for c in candidates
        if c.usd_per_thousand is not None and c.latency_ms and c.latency_ms.p99 is not None
    ]
    front: list[Candidate] = []
    fastest = math.inf
    for _, p99, _, candidate in sorted(known, key=lambda row: row[:3]):
        if p99 < fastest:
            front.append(candidate)
            fastest = p99
    return tuple(front)


def _p99(candidate: Candidate) -> float:
    latency = candidate.latency_ms
    return math.inf if latency is None or latency.p99 is None else latency.p99


def _place(candidate: Candidate, position: int, best: Candidate) -> Candidate:
    if position == 1:
        return replace(candidate, verdict="best", rank=1, tied=False)
    level = tied(candidate, best)
    equal = candidate.usd_per_thousand == best.usd_per_thousand
    why = "the same cost" if equal else "the 95% intervals overlap"
    reason = f"tied with the best: {why}" if level else ""
    return replace(candidate, verdict="meets", rank=position, tied=level, reason=reason)
