"""Three gates: is it still right, is it faster here, is it cheaper.

Each gate answers with a Verdict: its number, the interval around it, and a sentence. A gate judges by the
worse end of the interval, so that a variant is never kept by luck; "too few rows to tell" is said as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import numpy as np

from deployer.optimization.answers import Parts
from deployer.optimization.metrics import Metric, count
from deployer.optimization.timing import Speedup
from deployer.stats import Floats

CONFIDENCE = 0.95
"""One-sided: at this confidence the true drop is no larger than the interval's worse end."""

LEAST_GAIN = 1.05
"""A rung that is faster by less than this is not worth another file, another runtime's kernels and a review."""

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
    outputs: Any,
    reference: Any,
    labels: Any,
    *,
    max_drop: float,
    seed: int,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """Judge the drop of the metric from FP32 (``reference``) on the same rows, paired.

    ``outputs`` and ``reference`` are what the metric judges: the first output, or all by name. Passes when the worse
    end of the interval, at ``confidence``, is at most ``max_drop``. Raises InputError when the metric cannot be
    computed.
    """
    if _broken(outputs, reference):
        return Verdict(False, math.inf, math.inf, math.inf, "its outputs hold NaN or infinity")
    drop, low, high = _paired_drop(metric, outputs, reference, labels, seed, confidence)
    shown = f"{metric.name} drops by {drop:.4g} ({low:.4g} to {high:.4g})"
    if high <= max_drop:
        return Verdict(True, drop, low, high, f"{shown}, at most {max_drop:g} is allowed")
    if drop <= max_drop:
        return Verdict(
            False,
            drop,
            low,
            high,
            f"{shown}: {count(reference)} rows are too few to tell it from {max_drop:g}",
        )
    return Verdict(False, drop, low, high, f"{shown}, more than the allowed {max_drop:g}")


def latency_gate(speedup: Speedup, least_gain: float = LEAST_GAIN) -> Verdict:
    """Judge the median ratio of FP32's time to the candidate's, which must reach ``least_gain`` (at least 1).

    Its low end must be above 1 besides: a gain that timing cannot tell from none is none.
    """
    shown = f"{speedup.median:.2f}x FP32's speed ({speedup.low:.2f} to {speedup.high:.2f})"
    faster = speedup.low > 1
    enough = speedup.median >= least_gain
    if not faster:
        shown += ": not measurably faster"
    elif not enough:
        shown += f": less than the least gain of {least_gain:g}x"
    return Verdict(faster and enough, speedup.median, speedup.low, speedup.high, shown)


def cost_gate(candidate_usd: Decimal, fp32_usd: Decimal) -> Verdict:
    """Judge USD per thousand inferences: a variant that costs more than FP32 is refused."""
    ratio = float(candidate_usd / fp32_usd) if fp32_usd else math.inf
    passed = candidate_usd <= fp32_usd
    relation = "at most" if passed else "more than"
    reason = f"{candidate_usd:f} USD per thousand, {relation} FP32's {fp32_usd:f}"
    return Verdict(passed, ratio, ratio, ratio, reason)


def _broken(outputs: Any, reference: Any) -> bool:
    """Say whether an output holds NaN or infinity; where FP32 has infinity (a masked class) it may as well."""
    if isinstance(reference, Mapping):
        return any(
            _broken(outputs[name], answer) for name, answer in reference.items() if name in outputs
        )
    if isinstance(outputs, Parts) or isinstance(reference, Parts):
        return any(one.dtype.kind == "f" and not np.isfinite(one).all() for one in outputs)
    if outputs.dtype.kind != "f" or outputs.shape != reference.shape:
        return False
    extreme = not (np.isfinite(outputs) | ~np.isfinite(reference)).all()
    return extreme or bool((np.isnan(outputs) & ~np.isnan(reference)).any())


def _paired_drop(
    metric: Metric, outputs: Any, reference: Any, labels: Any, seed: int, confidence: float
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
    metric: Metric, outputs: Any, reference: Any, labels: Any, seed: int, confidence: float
) -> tuple[float, float, float]:
    rows = count(reference)
    before, after = (metric.chosen(x, reference, labels) for x in (reference, outputs))
    whole = np.arange(rows)
    drop = before(whole) - after(whole)
    if rows < MIN_ROWS:
        return drop, -math.inf, math.inf
    rng = np.random.default_rng(seed)
    drops = []
    for _ in range(RESAMPLES // 4):  # a metric over whole sets costs more than a mean
        pick = rng.integers(0, rows, rows)
        drops.append(before(pick) - after(pick))
    return drop, *_ends(drops, confidence)


def _ends(values: list[float], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, (1 - confidence, confidence))
    return float(low), float(high)
