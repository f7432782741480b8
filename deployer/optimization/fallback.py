"""When a rung is not right: leave in FP32 the layers that cost it, by the fewest that pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deployer.errors import DeployerError
from deployer.optimization.isolation import Lost
from deployer.optimization.judge import Judge
from deployer.optimization.quantize import Rung
from deployer.optimization.report import RungResult
from deployer.progress import Say

LARGEST_SHARE = 0.5
"""With more than half of its layers in FP32 a rung is no rung any more."""


TRIES = 2
"""How many rungs are mixed, the nearest first: one that is further off needs more of its layers in FP32."""

Ranking = Sequence[tuple[str, float]]


def mixed(judge: Judge, nearest: Sequence[Rung], say: Say) -> list[RungResult]:
    """Return what became of the nearest wrong rungs with layers in FP32; it ends at the first that is kept.

    The layers are ranked once for all of them, by what each costs in int8.
    """
    chosen = nearest[:TRIES]
    if not chosen:
        return []
    say("fallback: which layers cost it?")
    try:
        ranking: Ranking = judge.isolation.run("rank")
    except (Lost, DeployerError) as error:
        why = f"its layers cannot be ranked: {_why(error)}"
        return [RungResult(_name(rung), rung.precision, "failed", why) for rung in chosen[:1]]
    layer, cost = ranking[0]
    say(f"  {len(ranking)} layers; the most costly: {layer} ({cost:.3g} of the output)")
    made: list[RungResult] = []
    for rung in chosen:
        say(f"fallback for {rung.name}")
        made.append(_mix(judge, rung, ranking, say))
        say(f"  {made[-1].status}: {made[-1].reason}")
        if made[-1].status == "kept":
            break
    return made


def _name(rung: Rung) -> str:
    return f"{rung.name}-mixed"


def _mix(judge: Judge, rung: Rung, ranking: Ranking, say: Say) -> RungResult:
    """Return ``rung`` with the fewest costly layers in FP32 that pass the accuracy gate, timed; else the last try.

    How many of them is found by doubling and halving, which takes it that leaving one more layer in FP32 never hurts.
    """
    name, total = _name(rung), len(ranking)

    def attempt(count: int) -> RungResult:
        chosen = frozenset(layer for layer, _ in ranking[:count])
        result = judge.score(rung, name, chosen)
        say(f"  {count} of {total} layers in FP32: {result.reason}")
        return result

    limit = max(1, int(total * LARGEST_SHARE))
    best = _fewest(attempt, limit)
    if best is None:
        reason = f"{limit} of {total} layers in FP32 do not suffice"
        return RungResult(name, rung.precision, "refused", reason)
    final = judge.time([best])[0]
    layers = ", ".join(final.fp32_layers)
    count = len(final.fp32_layers)
    return replace(final, reason=f"{final.reason}; {count} of {total} layers stay FP32: {layers}")


def _fewest(attempt: Callable[[int], RungResult], limit: int) -> RungResult | None:
    """Return the passing result with the smallest count up to ``limit``; None when none passes."""
    low, high = 0, 1
    while not _passes(result := attempt(high)):
        if high == limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        result = attempt(middle)
        low, high = (low, middle) if _passes(result) else (middle, high)
    # A later, failing try has overwritten the file of the one that passed.
    return result if len(result.fp32_layers) == high else attempt(high)


def _why(error: Lost | DeployerError) -> str:
    return error.reason if isinstance(error, Lost) else error.message


def _passes(result: RungResult) -> bool:
    return result.accuracy is not None and result.accuracy.passed
