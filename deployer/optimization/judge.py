"""What every rung is judged with, and the judging: build it, run it, send it through the gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from deployer.errors import InputError
from deployer.optimization import answers, jobs, second
from deployer.optimization.answers import Answer, Answers
from deployer.optimization.gate import (
    CONFIDENCE,
    Verdict,
    accuracy_gate,
    cost_gate,
    latency_gate,
)
from deployer.optimization.isolation import Isolation, Lost
from deployer.optimization.metrics import Labels, Metric
from deployer.optimization.quantize import Rung
from deployer.optimization.records import speedup
from deployer.optimization.report import RungResult, Status
from deployer.optimization.resume import Finished
from deployer.optimization.second import OutputVerdict
from deployer.optimization.session import Array, Arrays, rows
from deployer.optimization.timing import Speedup
from deployer.optimization.variant import Variant, describe

_DOING = ("while it was made", "while it was opened", "while it answered the evaluation rows")

UsdPerThousand = Callable[[float], Decimal]


@dataclass(frozen=True)
class Judge:
    """The FP32 model with its answers, the data, the gates' limits and the clock or its record.

    ``folder`` is where rungs are written, by processes of ``isolation``; ``finished`` holds those of a climb before.
    ``named`` are the baseline's answers by output, without ``ignored`` ones; ``alone`` names those asked row by row.
    ``cases`` name the inputs that are timed; ``recorded`` holds speed-ups of an earlier climb, used for the clock.
    ``confidence`` is that of the accuracy gate, one-sided.
    """

    isolation: Isolation
    finished: Finished
    normalised: Mapping[str, Any]
    folder: Path
    calibration: Arrays
    evaluation: Arrays
    labels: Labels
    metric: Metric
    max_drop: float
    seed: int
    threads: int
    batch: int
    cases: Mapping[str, Arrays]
    fp32: Variant
    named: Answers
    alone: Sequence[str]
    ignored: Sequence[str]
    outputs: Sequence[str]
    recorded: Mapping[str, Speedup] | None
    least_gain: float
    usd_per_thousand: UsdPerThousand | None
    confidence: float = CONFIDENCE

    def score(self, rung: Rung, name: str, exclude: frozenset[str] = frozenset()) -> RungResult:
        """Build a rung, with the layers ``exclude`` in FP32, and put it through the accuracy gate alone."""
        blank = RungResult(
            name,
            rung.precision,
            "failed",
            "",
            fp32_layers=tuple(sorted(exclude)),
            dynamic_scales=rung.dynamic_scales,
        )
        path = self.folder / f"{name}.onnx"
        answer = self._made(rung, name, exclude)
        variant = None
        if path.exists():
            variant = describe(path, name, rung.precision, self.fp32.sha256, rung.engine)
        if "failed" in answer or variant is None:
            return replace(blank, reason=answer["failed"], variant=variant)
        if answer["outputs"] != list(self.outputs):
            other, own = (", ".join(names) for names in (answer["outputs"], self.outputs))
            why = f"it answers with {other}, the model with {own}"
            return replace(blank, reason=why, variant=variant)
        named = answers.load(self.folder / jobs.OUTPUTS)
        verdict, outputs, score = self._judged(named)
        return replace(
            blank,
            status="refused",  # until it is timed
            reason=verdict.reason,
            variant=variant if score is None else variant.scored(score),
            accuracy=verdict,
            outputs=outputs,
            note=answer.get("note", ""),
        )

    def _made(self, rung: Rung, name: str, exclude: frozenset[str]) -> dict[str, Any]:
        """Return what became of building a rung and running it, taken up from a climb before where that did it."""
        path, outputs = self.folder / f"{name}.onnx", self.folder / jobs.OUTPUTS
        whole = not exclude  # the tries of a fallback depend on one another
        if whole and (before := self.finished.take(name, self.folder, outputs)) is not None:
            return before
        try:
            answer: dict[str, Any] = self.isolation.run(
                "score",
                rung=rung.name,
                name=name,
                exclude=sorted(exclude),
                batch=self.batch,
                alone=list(self.alone),
            )
        except Lost as lost:
            path.unlink(missing_ok=True)
            answer, whole = {"failed": lost.told(_DOING[lost.mark])}, whole and lost.final
        if whole:
            self.finished.keep(name, answer, path, outputs)
        return answer

    def can_tell(self) -> bool:
        """Say whether the rows suffice for the accuracy gate: with too few even FP32's own answers would fail."""
        return self._accuracy(self.reference).passed

    def time(self, results: Sequence[RungResult]) -> list[RungResult]:
        """Put the rungs that passed the accuracy gate through those of latency and cost; time the others briefly."""
        able, wrong = (
            {
                r.name: r.variant
                for r in results
                if r.variant and r.accuracy and r.accuracy.passed is passed
            }
            for passed in (True, False)
        )
        measured, lost = self._speedups(able, wrong)
        results = [
            replace(r, status="failed", reason=lost[r.name]) if r.name in lost else r
            for r in results
        ]
        return [self._gates(r, measured[r.name]) if r.name in measured else r for r in results]

    def _gates(self, result: RungResult, speedup: Speedup) -> RungResult:
        cost = self.usd_per_thousand
        candidate_usd = cost(self.seconds_per_item(speedup.candidate_ms)) if cost else None
        result = replace(result, speedup=speedup, usd_per_thousand=candidate_usd)
        if result.accuracy and not result.accuracy.passed:
            return result
        latency = latency_gate(speedup, self.least_gain)
        status: Status = "kept" if latency.passed else "refused"
        result = replace(result, reason=latency.reason, status=status)
        if cost is None or candidate_usd is None:
            return result
        judged = cost_gate(candidate_usd, cost(self.seconds_per_item(speedup.fp32_ms)))
        if latency.passed and not judged.passed:
            return replace(result, status="refused", reason=judged.reason)
        return result

    @property
    def evaluated(self) -> int:
        """How many rows the judgement stands on."""
        return len(next(iter(self.named.values())))

    @property
    def own_truth(self) -> bool:
        """Say whether FP32's own answers are taken for the right ones."""
        known = self.metric.own_truth
        return known == "always" or (known == "without labels" and self.labels is None)

    @property
    def reference(self) -> Answer | Answers:
        """What the metric compares with: FP32's first output, or all of them."""
        reference: Answer | Answers = self._seen(self.named)
        return reference

    def _seen(self, named: Answers) -> Any:
        return named if self.metric.whole else named[next(iter(self.named))]

    def _judged(self, named: Answers) -> tuple[Verdict, tuple[OutputVerdict, ...], float | None]:
        """Judge by the metric, and each output by its fidelity.

        Returns the metric's verdict, refused for the worst of all reasons; all verdicts; the score.
        """
        judged = self.metric.judged(self.named)
        each = tuple(
            second.judge(
                name, named.get(name), answer, self.metric.sees if name in judged else "nothing"
            )
            for name, answer in self.named.items()
        )
        failed = [one for one in each if not one.passed]
        if (lost := self._lost(named, judged)) is not None:
            none = Verdict(False, math.inf, math.inf, math.inf, lost.reason)
            return none, (lost, *(one for one in each if one.name != lost.name)), None
        verdict = self._accuracy(self._seen(named))
        score = None
        if math.isfinite(verdict.value):  # NaN in the outputs has no score
            score = self.metric.score(self._seen(named), self.reference, self.labels)
        own = OutputVerdict(
            ", ".join(judged),
            self.metric.name,
            verdict.value,
            self.max_drop,
            verdict.passed,
            verdict.reason,
        )
        gone = [one for one in failed if one.measure == "collapse"]
        if gone or (failed and verdict.passed):
            worst = max(gone or failed, key=lambda one: one.value)
            verdict = replace(verdict, passed=False, reason=worst.reason)
        return verdict, (own, *each), score

    def _lost(self, named: Answers, judged: Sequence[str]) -> OutputVerdict | None:
        """Return the verdict on an output that is not there or of another shape, so that the metric has no value."""
        for name in judged:
            given, reference = named.get(name), self.named[name]
            if given is None:
                return second.judge(name, None, reference, "nothing")
            shapes = [getattr(answer, "shape", None) for answer in (given, reference)]
            if not self.metric.whole and shapes[0] != shapes[1]:
                return second.judge(name, given, reference, "nothing")
        return None

    def _accuracy(self, outputs: Any) -> Verdict:
        return accuracy_gate(
            self.metric,
            outputs,
            self.reference,
            self.labels,
            max_drop=self.max_drop,
            seed=self.seed,
            confidence=self.confidence,
        )

    def seconds_per_item(self, ms_by_case: Mapping[str, float]) -> float:
        """Return seconds per inference in the timed case that serves most of them per second."""
        return min(ms / 1000 / _rows(self.cases[case]) for case, ms in ms_by_case.items())

    def _speedups(
        self, able: Mapping[str, Variant], wrong: Mapping[str, Variant]
    ) -> tuple[dict[str, Speedup], dict[str, str]]:
        """Return the speed-ups, and why there are none of those that ended or failed while they were timed."""
        if self.recorded is not None:
            # What is wrong is not chosen, so that a record without it is complete enough.
            told = [*able, *(name for name in wrong if name in self.recorded)]
            return {name: self._recorded(name, self.recorded) for name in told}, {}
        lost: dict[str, str] = {}
        while left := [name for name in (*able, *wrong) if name not in lost]:
            found, place, why = self._compared(
                *({n: v for n, v in group.items() if n in left} for group in (able, wrong))
            )
            if why is None:
                return found, lost
            # Without FP32 none can be compared.
            lost |= dict.fromkeys(left if place == 0 else [left[place - 1]], why)
        return {}, lost

    def _compared(
        self, able: Mapping[str, Variant], wrong: Mapping[str, Variant]
    ) -> tuple[dict[str, Speedup], int, str | None]:
        """Return the speed-ups, or the place of the one that ended or failed and why; FP32's is 0."""
        files = [
            {name: [str(v.path.resolve()), v.engine] for name, v in group.items()}
            for group in (able, wrong)
        ]
        count = len(able) + len(wrong)
        try:
            answer = self.isolation.run(
                "time", times=count, able=files[0], brief=files[1], threads=self.threads
            )
        except Lost as lost:
            return {}, lost.mark, lost.told("while it was timed")
        if "failed" in answer:
            return {}, answer["place"], answer["failed"]
        return {n: speedup(x, n) for n, x in answer["speedups"].items()}, 0, None

    def _recorded(self, name: str, recorded: Mapping[str, Speedup]) -> Speedup:
        if name not in recorded:
            raise InputError(f"the recorded latencies have no rung {name!r}")
        found = recorded[name]
        if set(found.candidate_ms) != set(self.cases):
            raise InputError(
                f"the recorded latencies of {name!r} are of {', '.join(found.candidate_ms)}; "
                f"this climb times {', '.join(self.cases)}"
            )
        return found


def timing_cases(
    feeds: Arrays, batch_sizes: Sequence[int], fixed: int | None
) -> dict[str, dict[str, Array]]:
    """Return the inputs to time by name, ``batch 1``, ``batch 8``; a fixed batch axis leaves only its own size."""
    sizes = [fixed] if fixed else sorted(set(batch_sizes))
    return {
        f"batch {size}": {name: rows(value, size) for name, value in feeds.items()}
        for size in sizes
    }


def _rows(feeds: Arrays) -> int:
    return len(next(iter(feeds.values())))
