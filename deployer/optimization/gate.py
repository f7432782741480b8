"""Three gates: is it still right, is it faster here, is it cheaper.

Each gate answers with a Verdict: its number, the interval around it, and a sentence. A gate judges by the
worse end of the interval, so that a variant is never kept by luck; "too few rows to tell" is said as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist

import numpy as np

from deployer.optimization.metrics import Metric
from deployer.optimization.session import Array
from deployer.optimization.timing import Speedup
from deployer.stats import Floats

CONFIDENCE = 0.95
"""One-sided: at this confidence the true drop is no larger than the interval's worse end."""

RESAMPLES = 2000
MIN_ROWS = 20
"""Fewer rows carry no interval worth the name, except for right-or-wrong metrics, whose interval is exact enough."""


@dataclass(frozen=True)
class Verdict:
    """Whether a gate lets a variant pass, and why; ``value`` lies between ``low`` and ``high``."""

    passed: bool
    value: float
    low: float
    high: float
    reason: str


def accuracy_gate(
    metric: Metric,
    outputs: Array,
    reference: Array,
    labels: Array | None,
    *,
    max_drop: float,
    seed: int,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """Judge the drop of the metric from FP32 (``reference``) on the same rows, paired.

    Passes when the worse end of the interval, at ``confidence``, is at most ``max_drop``. Raises InputError when the
    metric cannot be computed.
    """
    # Where FP32 itself answers with infinity (a masked class) the candidate may as well.
    if not (np.isfinite(outputs) | ~np.isfinite(reference)).all() or np.isnan(outputs).any():
        return Verdict(False, math.inf, math.inf, math.inf, "its outputs hold NaN or infinity")
    drop, low, high = _paired_drop(metric, outputs, reference, labels, seed, confidence)
    shown = f"{metric.name} drops by {drop:.4g} ({low:.4g} to {high:.4g})"
    if high <= max_drop:
        return Verdict(True, drop, low, high, f"{shown}, at most {max_drop:g} is allowed")
    if drop <= max_drop:
        count = len(outputs)
        return Verdict(
            False,
            drop,
            low,
            high,
            f"{shown}: {count} rows are too few to tell it from {max_drop:g}",
        )
    return Verdict(False, drop, low, high, f"{shown}, more than the allowed {max_drop:g}")


def latency_gate(speedup: Speedup, required: float = 1.0) -> Verdict:
    """Judge the median ratio of FP32's time to the candidate's; passes when even its low end is above ``required``."""
    shown = f"{speedup.median:.2f}x FP32's speed ({speedup.low:.2f} to {speedup.high:.2f})"
    passed = speedup.low > required
    reason = shown if passed else f"{shown}: not measurably faster"
    return Verdict(passed, speedup.median, speedup.low, speedup.high, reason)


def cost_gate(candidate_usd: Decimal, fp32_usd: Decimal) -> Verdict:
    """Judge USD per thousand inferences: a variant that costs more than FP32 is refused."""
    ratio = float(candidate_usd / fp32_usd) if fp32_usd else math.inf
    passed = candidate_usd <= fp32_usd
    relation = "at most" if passed else "more than"
    reason = f"{candidate_usd:f} USD per thousand, {relation} FP32's {fp32_usd:f}"
    return Verdict(passed, ratio, ratio, ratio, reason)


def _paired_drop(
    metric: Metric,
    outputs: Array,
    reference: Array,
    labels: Array | None,
    seed: int,
    confidence: float,
) -> tuple[float, float, float]:
    if metric.rows is None:
        return _bootstrap_score(metric, outputs, reference, labels, seed, confidence)
    before = metric.rows(reference, reference, labels)
    after = metric.rows(outputs, reference, labels)
    if metric.binary:
        return _bonett_price(before, after, confidence)
    return _bootstrap_mean(before - after, seed, confidence)


def _bonett_price(before: Floats, after: Floats, confidence: float) -> tuple[float, float, float]:
    """Interval of a difference of paired proportions, honest even when no row changed.

    Source: Bonett & Price 2012, adjusted Wald: one pseudo-row each way, d ± z·√((p12 + p21 − d²)/(n + 2)).
    """
    n = len(before)
    lost = (np.count_nonzero(before > after) + 1) / (n + 2)
    won = (np.count_nonzero(after > before) + 1) / (n + 2)
    centre = lost - won
    half = NormalDist().inv_cdf(confidence) * math.sqrt((lost + won - centre**2) / (n + 2))
    return float(before.mean() - after.mean()), float(centre - half), float(centre + half)


def _bootstrap_mean(drops: Floats, seed: int, confidence: float) -> tuple[float, float, float]:
    if len(drops) < MIN_ROWS:
        return float(drops.mean()), -math.inf, math.inf
    rng = np.random.default_rng(seed)
    means = [float(drops[rng.integers(0, len(drops), len(drops))].mean()) for _ in range(RESAMPLES)]
    return float(drops.mean()), *_ends(means, confidence)


def _bootstrap_score(
    metric: Metric,
    outputs: Array,
    reference: Array,
    labels: Array | None,
    seed: int,
    confidence: float,
) -> tuple[float, float, float]:
    drop = metric.score(reference, reference, labels) - metric.score(outputs, reference, labels)
    if len(outputs) < MIN_ROWS:
        return drop, -math.inf, math.inf
    rng = np.random.default_rng(seed)
    drops = []
    for _ in range(RESAMPLES // 4):  # a metric over whole sets costs more than a mean
        pick = rng.integers(0, len(outputs), len(outputs))
        chosen = None if labels is None else labels[pick]
        before = metric.score(reference[pick], reference[pick], chosen)
        drops.append(before - metric.score(outputs[pick], reference[pick], chosen))
    return drop, *_ends(drops, confidence)


def _ends(values: list[float], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, (1 - confidence, confidence))
    return float(low), float(high)
