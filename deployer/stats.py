"""Percentiles, means and confidence intervals, for measured and simulated runs alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

P99_MIN_SAMPLES = 1000
"""p99 is stated only from this many samples up: with fewer, ten or less lie beyond it."""


@dataclass(frozen=True)
class LatencySummary:
    """Latency of successful requests in milliseconds; ``p99`` is None below P99_MIN_SAMPLES."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True)
class Interval:
    """A mean with the half-width of its confidence interval, in the unit of the data."""

    mean: float
    half_width: float

    @property
    def relative(self) -> float:
        """Half-width over mean."""
        return self.half_width / self.mean if self.mean else math.inf


def percentile(values: Floats, q: float) -> float:
    """Return the ``q``-th percentile (0..100), the smallest value with at least q% at or below it."""
    return float(np.percentile(values, q, method="inverted_cdf"))


def summarize_ms(latency_s: Floats) -> LatencySummary:
    """Summarise latencies given in seconds; an empty array has no mean and no percentiles."""
    n = len(latency_s)
    if n == 0:
        return LatencySummary(0, None, None, None, None)
    ms = latency_s * 1000.0
    p50, p90, p99 = (float(v) for v in np.percentile(ms, (50, 90, 99), method="inverted_cdf"))
    return LatencySummary(n, float(ms.mean()), p50, p90, p99 if n >= P99_MIN_SAMPLES else None)


def mean_interval(values: Floats, confidence: float = 0.99) -> Interval:
    """Return the mean of independent values with its normal-theory confidence interval.

    Source: mean ± z·s/√n, z the normal quantile; from some twenty values Student's t adds under 12%.
    """
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else math.nan, math.inf)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return Interval(float(values.mean()), z * float(values.std(ddof=1)) / math.sqrt(n))


# fmt: off
_STUDENT_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)
# fmt: on
"""The 97.5% quantile of Student's t for 1 to 30 degrees of freedom."""


def student_half_width(values: Sequence[float]) -> float:
    """Return the half-width of the 95% confidence interval of the mean of a few independent values.

    Source: t·s/√n with Student's t of n-1 degrees of freedom (a table up to 30, then the normal's 1.96);
    infinite for fewer than two values.
    """
    n = len(values)
    if n < 2:
        return math.inf
    t = _STUDENT_975[n - 2] if n - 2 < len(_STUDENT_975) else 1.96
    return t * float(np.std(np.asarray(values), ddof=1)) / math.sqrt(n)
