"""Service times of a Profile as arrays: one distribution for each batch size that a server can form.

Each distribution is a quantile function; a draw is its value at a uniform number. A batch size that was not
measured takes the value between its two measured neighbours, at the same uniform number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.errors import InputError
from deployer.profiles import Profile, ServiceTime
from deployer.simulation.compiled import inner

EMPIRICAL = 0
EXPONENTIAL = 1


class Distributions(NamedTuple):
    """By batch size its kind, mean and quantiles ``value_s[size]`` over ``probability``; row 0 is unused."""

    kind: NDArray[np.int64]
    mean_s: NDArray[np.float64]
    probability: NDArray[np.float64]
    value_s: NDArray[np.float64]


def from_profile(profile: Profile, max_batch: int) -> Distributions:
    """Return the distributions of batch sizes 1 to ``max_batch``.

    Raises InputError when the profile ends below ``max_batch``, or mixes distributions between which nothing can
    be interpolated.
    """
    measured = sorted(profile.service_time_ms)
    if measured[-1] < max_batch:
        raise InputError(
            f"profile {profile.name!r} measures batches up to {measured[-1]}, the server forms {max_batch}",
            hint=f"measure it with a batch size of {max_batch} as well",
        )
    times = [profile.service_time_ms[size] for size in measured]
    if len({time.distribution == "exponential" for time in times}) > 1:
        raise InputError(
            f"profile {profile.name!r} mixes the exponential distribution with others",
            hint="use one distribution for all batch sizes",
        )
    grid = np.unique([p for time in times for p in _points(time)[0]])
    rows = np.array([np.interp(grid, *_points(time)) for time in times]) / 1000.0
    means = np.array([time.mean for time in times]) / 1000.0
    sizes = np.arange(max_batch + 1, dtype=float)
    kind = EXPONENTIAL if times[0].distribution == "exponential" else EMPIRICAL
    value_s = np.column_stack([np.interp(sizes, measured, column) for column in rows.T])
    return Distributions(
        np.full(max_batch + 1, kind), np.interp(sizes, measured, means), grid, value_s
    )


def _points(time: ServiceTime) -> tuple[list[float], list[float]]:
    if time.distribution == "empirical":
        return [p for p, _ in time.quantiles], [ms for _, ms in time.quantiles]
    return [0.0, 1.0], [time.mean, time.mean]


@inner
def draw_s(distributions: Distributions, size: int, uniform: float) -> float:
    """Return the service time of a batch at the probability ``uniform`` in [0, 1), in seconds."""
    if distributions.kind[size] == EXPONENTIAL:
        return float(-distributions.mean_s[size] * math.log1p(-uniform))
    right = np.searchsorted(distributions.probability, uniform, side="right")
    low, high = distributions.probability[right - 1], distributions.probability[right]
    start, end = distributions.value_s[size, right - 1], distributions.value_s[size, right]
    return float(start + (end - start) * (uniform - low) / (high - low))
