"""How runs stand against an objective: the share of offered requests within it, and why it is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from deployer.runs import REFUSALS, Run
from deployer.spec.deployment import Slo
from deployer.stats import Floats
from deployer.units import format_share

WANTED = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99}
"""Share of offered requests that each objective asks for."""

_MOSTLY = 0.5


def attainments(runs: Sequence[Run], slo: Slo) -> dict[str, float]:
    """Return the share of offered requests that succeed within each objective, over all runs."""
    offered = sum(run.offered for run in runs)
    if not offered:
        return {key: 0.0 for key, _ in slo.items()}
    return {
        key: sum(round(run.attainment(ms / 1000) * run.offered) for run in runs) / offered
        for key, ms in slo.items()
    }


def binding(shares: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the objective with the least margin, as (key, share); None when there is none."""
    return min(shares.items(), key=lambda item: (margin(*item), item[0]), default=None)


def margin(key: str, share: float) -> float:
    """Return how far a share lies above what its objective asks for; negative where it is missed."""
    return share - WANTED[key]


def explain_miss(runs: Sequence[Run], slo: Slo) -> str:
    """Say how the binding objective is missed and by what; empty when all are met."""
    worst = binding(attainments(runs, slo))
    if worst is None or margin(*worst) >= 0:
        return ""
    key, share = worst
    limit_ms = dict(slo.items())[key]
    causes = _causes(runs, share, limit_ms / 1000)
    return f"{format_share(share)} within {limit_ms:g} ms, {WANTED[key]:.0%} wanted: {causes}"


def _causes(runs: Sequence[Run], within: float, limit_s: float) -> str:
    """Split what is missing into late, refused and failed, the largest first, each with its main reason."""
    offered = sum(run.offered for run in runs)
    if not offered:
        return "no request was offered"
    refused = sum(run.refused for run in runs) / offered
    failed = sum(run.failures for run in runs) / offered - refused
    parts = {
        f"late{_why_late(runs, limit_s)}": 1 - within - refused - failed,
        f"refused{_why_failed(runs, refused=True)}": refused,
        f"failed{_why_failed(runs, refused=False)}": failed,
    }
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{share * 100:.2g}% {word}" for word, share in ranked if share > 1e-9)


def _why_failed(runs: Sequence[Run], *, refused: bool) -> str:
    """Name the reason that most of the refused, or of the other failures, share; empty where none is known."""
    counts: Counter[str] = Counter()
    for run in runs:
        statuses = run.details.get("failed_status", {})
        for reason, count in run.details.get("failed_by", {}).items():
            if (statuses.get(reason) in REFUSALS) == refused:
                counts[reason] += count
    return f": {counts.most_common(1)[0][0]}" if counts else ""


def _why_late(runs: Sequence[Run], limit_s: float) -> str:
    cold = [run.details.get("cold_starts", 0) for run in runs]
    if any(cold):
        return f" ({round(sum(cold) / len(cold)):,} cold starts)"
    late = [_late_at(run, limit_s) for run in runs]
    total = sum(len(each) for each in late)
    changing = sum(_while_changing(run, each) for run, each in zip(runs, late, strict=True))
    return " (mostly while instances started)" if changing > _MOSTLY * total else ""


def _late_at(run: Run, limit_s: float) -> Floats:
    answered = run.intended_s[run.succeeded]
    return np.asarray(answered[run.latency_s > limit_s], dtype=np.float64)


def _while_changing(run: Run, at_s: Floats) -> int:
    """Count the times at which more instances were billed than served."""
    capacity = run.capacity
    if not len(capacity.time_s):
        return 0
    step = np.clip(np.searchsorted(capacity.time_s, at_s, side="right") - 1, 0, None)
    return int(np.count_nonzero(capacity.billed[step] > capacity.serving[step]))
