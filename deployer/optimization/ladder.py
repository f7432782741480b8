"""Climb the ladder: build every rung, send it through the gates, keep the best or keep FP32.

Two climbs with the same inputs, seed and recorded latencies choose the same rung and write the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.errors import InputError, Interrupted
from deployer.optimization import baseline, data, fallback, output, quantize, records, repair
from deployer.optimization import rows as sets
from deployer.optimization.advice import NEAR
from deployer.optimization.alternatives import rungs as alternative_rungs
from deployer.optimization.choice import AS_GIVEN, Tried, as_given, tried
from deployer.optimization.gate import LEAST_GAIN
from deployer.optimization.isolation import Isolation, Limits
from deployer.optimization.judge import Judge, UsdPerThousand
from deployer.optimization.report import LadderReport, RungResult
from deployer.optimization.resume import Finished
from deployer.optimization.rows import SYNTHETIC, Rows
from deployer.optimization.search import Found, search
from deployer.optimization.session import Arrays
from deployer.optimization.synthetic import Shapes
from deployer.optimization.timing import Speedup
from deployer.optimization.tuning import Tuning
from deployer.optimization.variant import Variant
from deployer.progress import Say, silent


def climb(
    model: Path,
    *,
    calibration: Arrays | None = None,
    evaluation: Arrays | None = None,
    metric: str | None = None,
    max_drop: float | None = None,
    shapes: Shapes | None = None,
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
    least_gain: float = LEAST_GAIN,
    rung_minutes: float = 30.0,
    rung_memory_gb: float | None = None,
    ignore_outputs: Sequence[str] = (),
    minutes: float = 0.0,
    tuning: Tuning | None = None,
    progress: Say | None = None,
) -> LadderReport:
    """Try every rung on the ONNX file ``model``; write ``best.onnx``, ``ladder.json`` and the rungs to ``out``.

    ``rows`` tells what the sets hold, and what stands in for None; ``max_drop`` is in the metric's unit. Timed are the
    first evaluation rows at ``batch_sizes``, or ``timing_inputs`` by name; ``latencies`` is an earlier
    ``latencies.json``, for the clock. ``usd_per_thousand`` maps seconds per inference (at the best batch size) to USD.
    A rung needs a speed-up of ``least_gain``, and has ``rung_minutes`` and ``rung_memory_gb`` (None: 80% of what is
    free); ``minutes`` are for a ``search`` after them, ``tuning`` for where int8 is wrong. FP32, the normalised model,
    stays where no rung passes every gate. Raises InputError for wrong data, model or rung; ConditionFailed, with the
    report written, when the best is not ``require_speedup`` times as fast; Interrupted when stopped with rungs kept.
    """
    say, asked = progress or silent, sets.Asked(metric, max_drop, shapes, seed)
    _check_numbers(max_drop, threads, batch_sizes, least_gain, minutes, latencies)
    chosen, finished = tried(rungs), Finished(out)
    limits: dict[str, Any] = {"seed": seed, "threads": threads, "least_gain": least_gain}
    with output.workspace(out) as folder, _stoppable(finished):
        isolation = Isolation(folder, out, Limits.of(rung_minutes, rung_memory_gb))
        rows = sets.chosen(isolation, model, calibration, evaluation, asked)
        judge = baseline.begun(
            model,
            isolation,
            finished,
            chosen,
            alternatives or {},
            **rows.judging,
            batch_sizes=batch_sizes,
            timing_inputs=timing_inputs,
            ignore_outputs=ignore_outputs,
            usd_per_thousand=usd_per_thousand,
            recorded=records.load(latencies) if latencies else None,
            **limits,
        )
        report = _climbed(judge, rows, chosen, alternatives or {}, out, say, _More(minutes, tuning))
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
    rows: Rows,
    chosen: Tried,
    alternatives: Mapping[str, Path],
    out: Path,
    say: Say,
    more: _More,
) -> LadderReport:
    """Return the report of the climb, with its files in ``out``."""
    rungs = (
        *([as_given(judge.folder)] if judge.normalised["changes"] else []),
        *chosen.rungs,
        *alternative_rungs(alternatives, reduce_range=chosen.reduce_range),
    )
    for line in (*rows.told, *_told_first(judge, chosen)):
        say(line)
    results = _climb(judge, rows, rungs, say, more.tuning, chosen.reduce_range)
    found = _searched(judge, rows, results, more.minutes, chosen.reduce_range, alternatives, say)
    results = [*(found.retimed.get(r.name, r) for r in results), *found.rungs]
    concluded = _conclude(judge, rows, results, chosen, found.details)
    report = output.publish(concluded, records.dumps(results), judge.folder, out)
    say(report.conclusion)
    return report


def _searched(
    judge: Judge,
    rows: Rows,
    results: Sequence[RungResult],
    minutes: float,
    reduce_range: bool,
    alternatives: Mapping[str, Path],
    say: Say,
) -> Found:
    """Return what a search of some minutes found, nothing where the rows cannot tell or carry no scales."""
    if not minutes:
        return Found()
    if rows.kind == SYNTHETIC:
        say("no search: made rows show no range of real activations")
        return Found()
    if not judge.can_tell():
        say("no search: the evaluation rows could not tell a finalist's drop")
        return Found()
    kept = [r for r in results if r.status == "kept"]
    return search(
        judge,
        _pick(kept, judge.least_gain),
        kept,
        minutes=minutes,
        reduce_range=reduce_range,
        others=alternatives,
        say=say,
    )


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
    if judge.own_truth:
        yield f"{judge.metric.name}: FP32's own answers are taken for the right ones"
    if judge.ignored:
        yield f"warning: not judged, as told to: {', '.join(judge.ignored)}"
    if not judge.can_tell():
        yield f"warning: {_too_few(judge)}"


def _climb(
    judge: Judge,
    rows: Rows,
    chosen: Sequence[quantize.Rung],
    say: Say,
    tuning: Tuning | None,
    reduce_range: bool,
) -> list[RungResult]:
    scored = []
    for number, rung in enumerate(chosen, 1):
        say(f"rung {number} of {len(chosen)}: {rung.name}")
        result = rows.refused(rung) or judge.score(rung, rung.name)
        say(f"  {result.reason}" + (f"; {result.note}" if result.note else ""))
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
    say: Say,
) -> list[RungResult]:
    """Mix precisions in the rungs that were too wrong, nearest first, until one is kept."""
    able = {rung.name: rung for rung in chosen if rung.mixes}
    wrong = [r for r in results if r.name in able and r.accuracy and not r.accuracy.passed]
    wrong.sort(key=lambda r: (r.accuracy.value if r.accuracy else 0.0, r.name))
    return fallback.mixed(judge, [able[r.name] for r in wrong], say)


def _any_kept(results: Sequence[RungResult]) -> bool:
    return any(_is_quantized(r) and r.status == "kept" for r in results)


def _is_quantized(result: RungResult) -> bool:
    return result.precision.startswith("int")


def _conclude(
    judge: Judge,
    rows: Rows,
    results: list[RungResult],
    chosen: Tried,
    searched: Mapping[str, Any],
) -> LadderReport:
    kept = [r for r in results if r.status == "kept"]
    right = [r for r in results if r.accuracy and r.accuracy.passed and _is_quantized(r)]
    best, quantized = (_pick(some, judge.least_gain) for some in (kept, right))
    told = _conclusion(best, quantized, judge.fp32)
    if not judge.can_tell():
        told = f"FP32 stays: {_too_few(judge)}"
    return LadderReport(
        metric=judge.metric.name,
        max_drop=judge.max_drop,
        hardware=chosen.machine,
        threads=judge.threads,
        seed=judge.seed,
        fp32=judge.fp32,
        best=(best.variant if best else None) or judge.fp32,
        best_quantized=quantized.variant if quantized else None,
        conclusion=told + rows.caveat,
        judged_by=rows.judged_by,
        data=rows.kind,
        rungs=(_baseline(judge, results), *results),
        details={
            "evaluation_rows": judge.evaluated,
            "cases": list(judge.cases),
            "clock": "thread CPU time" if judge.threads == 1 else "wall",
            "normalised": dict(judge.normalised),
            "outputs_not_judged": list(judge.ignored),
            "truth": "FP32's own answers" if judge.own_truth else "labels",
            "least_gain": judge.least_gain,
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


def _pick(results: list[RungResult], least_gain: float) -> RungResult | None:
    """Return the best of those that are as fast as the fastest, within what timing can tell.

    One of dynamic scales, whose answers depend on its batchmates, takes part where it is ``least_gain`` times as fast
    as the fastest of fixed ones. Then fixed scales win over dynamic ones; then the smaller file.
    """
    timed = [(r.speedup, r.variant, r) for r in results if r.speedup and r.variant]
    fixed = max((s.median for s, _, r in timed if not r.dynamic_scales), default=0.0)
    able = [x for x in timed if not x[2].dynamic_scales or x[0].median >= least_gain * fixed]
    if not able:
        return None
    fastest = max(speedup.median for speedup, _, _ in able)
    near = [
        (r.dynamic_scales, variant.size_bytes, r.name, r)
        for speedup, variant, r in able
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


def _too_few(judge: Judge) -> str:
    return (
        f"{judge.evaluated} evaluation rows are too few to tell a drop of {judge.max_drop:g}: "
        "FP32's own answers would not pass"
    )


def _check_numbers(
    max_drop: float | None,
    threads: int,
    batch_sizes: Sequence[int],
    least_gain: float,
    minutes: float,
    latencies: Path | None,
) -> None:
    if not 1 <= least_gain < float("inf"):
        raise InputError(f"least_gain must be a number from 1 up, not {least_gain!r}")
    if max_drop is not None and not 0 <= max_drop < float("inf"):
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
