"""What a climb tries where no int8 rung is kept, before layers are left in FP32: corrected biases, then training."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.optimization import recipe
from deployer.optimization.judge import Judge
from deployer.optimization.quantize import Rung
from deployer.optimization.report import RungResult
from deployer.optimization.tuning import Tuning, tune
from deployer.progress import Say

NARROW = 3.0
"""A static rung that loses up to so many times what is allowed may be saved by its biases."""

TRIES = 2


def repair(
    judge: Judge,
    chosen: Sequence[Rung],
    results: Sequence[RungResult],
    tuning: Tuning | None,
    *,
    reduce_range: bool,
    say: Say,
) -> list[RungResult]:
    """Return what became of the nearest static rungs with corrected biases, and of a tuned model.

    It ends at the first that is kept. The model is tuned where ``tuning`` has rows for it and no rung that computes in
    int8 was right.
    """
    made: list[RungResult] = []
    for rung in _narrowly_wrong(judge, chosen, results):
        say(f"{rung.name}: correct its biases")
        other = recipe.corrected(rung)
        made += judge.time([judge.score(other, other.name)])
        say(f"  {made[-1].status}: {made[-1].reason}")
        if made[-1].status == "kept":
            return made
    if tuning is not None and not any(_right_in_int8(result) for result in (*results, *made)):
        made += judge.time([tune(judge, tuning, reduce_range, say)])
        say(f"  {made[-1].status}: {made[-1].reason}")
    return made


def _narrowly_wrong(
    judge: Judge, chosen: Sequence[Rung], results: Sequence[RungResult]
) -> list[Rung]:
    able = {rung.name: rung for rung in chosen if rung.mixes and not rung.dynamic_scales}
    wrong = sorted(
        (r.accuracy.value, r.name)
        for r in results
        if r.name in able and r.accuracy and not r.accuracy.passed
    )
    near = [name for value, name in wrong if value <= NARROW * judge.max_drop]
    return [able[name] for name in near[:TRIES]]


def _right_in_int8(result: RungResult) -> bool:
    computes = result.precision.startswith("int8") and result.precision != "int8-weights"
    return computes and result.accuracy is not None and result.accuracy.passed
