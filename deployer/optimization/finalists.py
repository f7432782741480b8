"""Which candidates of a search go on: those on the front of error and speed, and what they have to be faster than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployer.optimization.advice import NEAR
from deployer.optimization.recipe import Recipe
from deployer.optimization.report import RungResult

NEARER = 0.9
"""Where a faster candidate is too wrong, one of nearly its error would be too, and each finalist costs confidence."""

RIVALS = 4
"""Of the ladder's rungs, that a candidate has to be faster than in the same rounds."""


@dataclass(frozen=True)
class Point:
    """A candidate with its error on calibration rows and its speed, in a few rounds, against the ladder's best."""

    recipe: Recipe
    error: float
    speed: float


def rivals(kept: Sequence[RungResult]) -> list[RungResult]:
    """Return the kept rungs that count as equally fast as the fastest, a few of them."""
    timed = [(r.speedup.median, r) for r in kept if r.speedup]
    fastest = max((speed for speed, _ in timed), default=0.0)
    near = sorted((s, r.name) for s, r in timed if s >= NEAR * fastest)[-RIVALS:]
    names = {name for _, name in near}
    return [r for r in kept if r.name in names]


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that are faster than the ladder's best (FP32 where that stays), the fastest first.

    Each is nearer than those before it, by what may tell at the gate. Those that make one of the ladder's own rungs
    again, judged already, are left out, but keep others from it.
    """
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.speed, p.error, p.recipe.name)):
        nearer = not found or point.error < NEARER * found[-1].error
        if point.speed * NEAR > 1 and nearer:
            found.append(point)
    return [point for point in found if point.recipe.same is None]


def thinned(points: Sequence[Point], count: int) -> list[Point]:
    """Return at most ``count`` of the points, evenly, the first and the last among them."""
    if len(points) <= count:
        return list(points)
    return [points[round(place * (len(points) - 1) / (count - 1))] for place in range(count)]


def against(result: RungResult, best: RungResult) -> RungResult:
    """Refuse a candidate whose speed cannot be told from the best rung's, timed in the same rounds."""
    if result.status != "kept" or best.speedup is None or result.speedup is None:
        return result
    own, other = result.speedup, best.speedup
    if own.low > other.high and own.median * NEAR > other.median:
        return result
    reason = (
        f"{own.median:.2f}x FP32's speed ({own.low:.2f} to {own.high:.2f}): not to be told from "
        f"{best.name}'s {other.median:.2f}x ({other.low:.2f} to {other.high:.2f}) in the same rounds"
    )
    return replace(result, status="refused", reason=reason)
