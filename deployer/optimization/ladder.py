"""Climb the ladder: build every rung, send it through the gates, keep the best or keep FP32.

Two climbs with the same inputs, seed and recorded latencies choose the same rung and write the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.errors import InputError, Interrupted
from deployer.optimization import (
    baseline,
    data,
    fallback,
    metrics,
    output,
    quantize,
    records,
    repair,
)
from deployer.optimization.alternatives import rungs as alternative_rungs
from deployer.optimization.choice import AS_GIVEN, Tried, as_given, tried
from deployer.optimization.isolation import Isolation, Limits
from deployer.optimization.judge import Judge, UsdPerThousand
from deployer.optimization.report import LadderReport, RungResult
from deployer.optimization.resume import Finished
from deployer.optimization.search import Found, search
from deployer.optimization.session import Arrays
from deployer.optimization.timing import Speedup
from deployer.optimization.tuning import Tuning
from deployer.optimization.variant import Variant

NEAR = 0.97
"""A rung within 3% of the fastest counts as equally fast: timing tells no more."""


def climb(
    model: Path,
    *,
    calibration: Arrays,
    evaluation: Arrays,
    metric: str = "accuracy",
    max_drop: float = 0.01,
    out: Path,
    seed: int = 0,
    threads: int = 1,
    batch_sizes: Sequence[int] = (1, 8),
    timing_inputs: Mapping[str, Arrays] | None = None,
    rungs: Sequence[str] | None = None,
    alternatives: Mapping[str, Path] | None = None,
    usd_per_thousand: UsdPerThousand | None = None,
    latencies: Path | None = None,
    require_speedup: float | None = None,
    rung_minutes: float = 30.0,
    rung_memory_gb: float | None = None,
    minutes: float = 0.0,
    tuning: Tuning | None = None,
    progress: Callable[[str], None] | None = None,
) -> LadderReport:
    """Try every rung on the ONNX file ``model``; write ``best.onnx``, ``ladder.json`` and the rungs to ``out``.

    ``calibration`` and ``evaluation`` map input names to arrays (rows first), the latter also ``label`` or ``target``
    where the metric needs one. ``max_drop`` is in the metric's unit. Timed are the first evaluation rows at
    ``batch_sizes``, or the named ``timing_inputs``. ``alternatives`` are other ONNX files for the same inputs, tried as
    they are and in int8. ``usd_per_thousand`` maps seconds per inference (at the best batch size) to USD. ``latencies``
    is an earlier ``latencies.json``, for the clock. ``rung_minutes`` and ``rung_memory_gb`` (None: 80% of what is free)
    bound each rung; ``minutes`` are for a ``search`` after them, ``tuning`` for where int8 is wrong. FP32 stays,
    normalised, where no rung passes every gate. Raises InputError for wrong data, an unreadable model or an unknown
    rung; ConditionFailed, with the report written, when the best is not ``require_speedup`` times as fast as FP32;
    Interrupted when it was stopped with rungs kept.
    """
    say = progress or _silent
    _check_numbers(max_drop, threads, batch_sizes, minutes, latencies)
    chosen = tried(rungs)
    finished = Finished(out)
    with output.workspace(out) as folder, _stoppable(finished):
        judge = baseline.begun(
            model,
            Isolation(folder, out, Limits.of(rung_minutes, rung_memory_gb)),
            finished,
            chosen,
            alternatives or {},
            calibration=calibration,
            evaluation=evaluation,
            metric=metrics.resolve(metric),
            max_drop=max_drop,
            seed=seed,
            threads=threads,
            batch_sizes=batch_sizes,
            timing_inputs=timing_inputs,
            usd_per_thousand=usd_per_thousand,
            recorded=records.load(latencies) if latencies else None,
        )
        report = _climbed(judge, chosen, alternatives or {}, out, say, _More(minutes, tuning))
    report.require_speedup(require_speedup or 0.0)
    return report


@dataclass(frozen=True)
class _More:
    """What is done beyond the ladder's own rungs."""

    minutes: float
    tuning: Tuning | None


@contextmanager
def _stoppable(finished: Finished) -> Iterator[None]:
    """Keep the finished rungs for the next climb where this one is stopped, and only there."""
    try:
        yield
    except KeyboardInterrupt as stop:
        count = finished.count()
        if not count:
            raise
        raise Interrupted(
            f"stopped; {count} finished rungs are kept",
            hint="the same climb to the same folder takes them up",
        ) from stop
    except Exception:
        finished.forget()
        raise
    finished.forget()


def _climbed(
    judge: Judge,
    chosen: Tried,
    alternatives: Mapping[str, Path],
    out: Path,
    say: Callable[[str], None],
    more: _More,
) -> LadderReport:
    """Return the report of the climb, with its files in ``out``."""
    rungs = (
        *([as_given(judge.folder)] if judge.normalised["changes"] else []),
        *chosen.rungs,
        *alternative_rungs(alternatives, reduce_range=chosen.reduce_range),
    )
    for line in _told_first(judge, chosen):
        say(line)
    results = _climb(judge, rungs, say, more.tuning, chosen.reduce_range)
    found = Found()
    if more.minutes and not judge.can_tell():
        say("no search: the evaluation rows could not tell a finalist's drop")
    elif more.minutes:
        kept = [r for r in results if r.status == "kept"]
        found = search(
            judge,
            _pick(kept),
            kept,
            minutes=more.minutes,
            reduce_range=chosen.reduce_range,
            others=alternatives,
            say=say,
        )
        results = [*(found.retimed.get(r.name, r) for r in results), *found.rungs]
    concluded = _conclude(judge, results, chosen, found.details)
    say(concluded.conclusion)
    return output.publish(concluded, records.dumps(results), judge.folder, out)


def _told_first(judge: Judge, chosen: Tried) -> Iterator[str]:
    """Yield what is known before the first rung."""
    fp32 = judge.fp32
    if changes := judge.normalised["changes"]:
        yield f"normalised: {'; '.join(changes)}"
    for reason in judge.normalised["not_changed"]:
        yield f"not normalised: {reason}"
    yield f"fp32: {judge.metric.name} {fp32.score:.4f}, {fp32.size_bytes / 1e6:.1f} MB"
    for name, reason in chosen.left_out.items():
        yield f"{name}: not tried, {reason}"
    if shared := data.shared_rows(judge.calibration, judge.evaluation):
        yield f"warning: {shared} evaluation rows are calibration rows too, which flatters the scores"
    if unjudged := _unjudged(judge):
        yield f"warning: not judged, for want of one number or more for each row: {', '.join(unjudged)}"
    if not judge.can_tell():
        yield f"warning: {_too_few(judge)}"


def _climb(
    judge: Judge,
    chosen: Sequence[quantize.Rung],
    say: Callable[[str], None],
    tuning: Tuning | None,
    reduce_range: bool,
) -> list[RungResult]:
    scored = []
    for number, rung in enumerate(chosen, 1):
        say(f"rung {number} of {len(chosen)}: {rung.name}")
        result = judge.score(rung, rung.name)
        say(f"  {result.reason}")
        scored.append(result)
    if judge.finished.taken_up:
        say(f"taken up from the climb that was stopped: {judge.finished.taken_up} rungs")
    right = sum(1 for r in scored if r.accuracy and r.accuracy.passed)
    say(f"timing {right} rungs against fp32, in turn, and briefly those that are wrong")
    results = judge.time(scored)
    for result in results:
        if result.speedup and not result.speedup.brief:
            say(f"  {result.name}: {result.status}, {result.reason}")
    if judge.can_tell() and not _any_kept(results):
        results += repair.repair(judge, chosen, results, tuning, reduce_range=reduce_range, say=say)
    if judge.can_tell() and not _any_kept(results):
        results += _fall_back(judge, chosen, results, say)
    return results


def _fall_back(
    judge: Judge,
    chosen: Sequence[quantize.Rung],
    results: list[RungResult],
    say: Callable[[str], None],
) -> list[RungResult]:
    """Mix precisions in the rungs that were too wrong, nearest first, until one is kept."""
    able = {rung.name: rung for rung in chosen if rung.mixes}
    wrong = [r for r in results if r.name in able and r.accuracy and not r.accuracy.passed]
    mixed: list[RungResult] = []
    for result in sorted(wrong, key=lambda r: (r.accuracy.value if r.accuracy else 0.0, r.name)):
        say(f"fallback for {result.name}: which layers cost it?")
        mixed.append(fallback.mix(judge, able[result.name], say))
        say(f"  {mixed[-1].status}: {mixed[-1].reason}")
        if mixed[-1].status == "kept":
            break
    return mixed


def _any_kept(results: Sequence[RungResult]) -> bool:
    return any(_is_quantized(r) and r.status == "kept" for r in results)


def _is_quantized(result: RungResult) -> bool:
    return result.precision.startswith("int")


def _conclude(
    judge: Judge, results: list[RungResult], chosen: Tried, searched: Mapping[str, Any]
) -> LadderReport:
    kept = [r for r in results if r.status == "kept"]
    right = [r for r in results if r.accuracy and r.accuracy.passed and _is_quantized(r)]
    best, quantized = _pick(kept), _pick(right)
    return LadderReport(
        metric=judge.metric.name,
        max_drop=judge.max_drop,
        hardware=chosen.machine,
        threads=judge.threads,
        seed=judge.seed,
        fp32=judge.fp32,
        best=(best.variant if best else None) or judge.fp32,
        best_quantized=quantized.variant if quantized else None,
        conclusion=_conclusion(best, quantized, judge.fp32)
        if judge.can_tell()
        else f"FP32 stays: {_too_few(judge)}",
        rungs=(_baseline(judge, results), *results),
        details={
            "evaluation_rows": len(judge.reference),
            "cases": list(judge.cases),
            "clock": "thread CPU time" if judge.threads == 1 else "wall",
            "normalised": dict(judge.normalised),
            "outputs_not_judged": _unjudged(judge),
            "not_tried": dict(chosen.left_out),
            "rows_in_both_sets": data.shared_rows(judge.calibration, judge.evaluation),
            **({"search": dict(searched)} if searched else {}),
        },
    )


def _baseline(judge: Judge, results: list[RungResult]) -> RungResult:
    reason = "what every rung is compared with"
    own = RungResult(judge.fp32.name, "fp32", "baseline", reason, judge.fp32)
    speedups = [r.speedup for r in results if r.speedup]
    if not speedups:
        return own
    timed = max(speedups, key=lambda speedup: speedup.rounds)
    cost = judge.usd_per_thousand
    usd = cost(judge.seconds_per_item(timed.fp32_ms)) if cost else None
    same = Speedup(1.0, 1.0, 1.0, timed.fp32_ms, timed.fp32_ms, timed.rounds)
    return replace(own, speedup=same, usd_per_thousand=usd)


def _pick(results: list[RungResult]) -> RungResult | None:
    """Return the best of those that are as fast as the fastest, within what timing can tell.

    Fixed scales win over dynamic ones, whose answers depend on their batchmates; then the smaller file.
    """
    timed = [(r.speedup, r.variant, r) for r in results if r.speedup and r.variant]
    if not timed:
        return None
    fastest = max(speedup.median for speedup, _, _ in timed)
    near = [
        (r.dynamic_scales, variant.size_bytes, r.name, r)
        for speedup, variant, r in timed
        if speedup.median >= NEAR * fastest
    ]
    return min(near, key=lambda item: item[:3])[3]


def _conclusion(best: RungResult | None, nearest: RungResult | None, fp32: Variant) -> str:
    if best and best.name in (quantize.OPTIMIZED, quantize.FUSED, AS_GIVEN):
        return f"FP32 stays, as {best.name} ({best.reason}): no quantized rung passes all gates"
    if best and best.variant and best.speedup and best.accuracy:
        size = best.variant.size_bytes / fp32.size_bytes
        speed = f"{best.speedup.median:.2f}x FP32's speed at {size:.2f} of its size"
        return f"{best.name}: {speed}; {best.accuracy.reason}"
    if nearest is None:
        return "FP32 stays: no quantized rung passes the accuracy gate"
    return f"FP32 stays: no rung passes all gates; the nearest, {nearest.name}: {nearest.reason}"


def _unjudged(judge: Judge) -> list[str]:
    """Return the outputs that nothing compares: FP32's own hold no numbers by row, or NaN."""
    return [name for name in judge.outputs if name not in judge.named]


def _too_few(judge: Judge) -> str:
    return (
        f"{len(judge.reference)} evaluation rows are too few to tell a drop of {judge.max_drop:g}: "
        "FP32's own answers would not pass"
    )


def _check_numbers(
    max_drop: float,
    threads: int,
    batch_sizes: Sequence[int],
    minutes: float,
    latencies: Path | None,
) -> None:
    if not 0 <= max_drop < float("inf"):
        raise InputError(f"max_drop must be a number from 0 up, not {max_drop!r}")
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads!r}")
    if not batch_sizes or min(batch_sizes) < 1:
        raise InputError(f"batch_sizes must be whole numbers from 1 up, not {tuple(batch_sizes)!r}")
    if not 0 <= minutes < float("inf"):
        raise InputError(f"minutes must be a number from 0 up, not {minutes!r}")
    if minutes and latencies is not None:
        raise InputError(
            "a search of some minutes measures, recorded latencies have no clock to measure by",
            hint="give either --minutes or --latencies",
        )


def _silent(message: str) -> None:
    """Say nothing: the caller did not ask for progress."""
