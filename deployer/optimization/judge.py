"""What every rung is judged with, and the judging: build it, run it, send it through the gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from deployer.errors import DeployerError, InputError
from deployer.optimization.gate import Verdict, accuracy_gate, cost_gate, latency_gate
from deployer.optimization.graph import Unfit
from deployer.optimization.metrics import Metric
from deployer.optimization.openvino import OpenVinoSession
from deployer.optimization.quantize import Rung
from deployer.optimization.report import RungResult, Status
from deployer.optimization.session import Array, Arrays, Session, rows
from deployer.optimization.timing import Speedup, clock_for, compare
from deployer.optimization.variant import Variant, describe
from inference_code.contract import OPENVINO

UsdPerThousand = Callable[[float], Decimal]


@dataclass(frozen=True)
class Judge:
    """The FP32 model with its answers, the data, the gates' limits and the clock or its record.

    ``prepared`` is the file that rungs start from, ``folder`` where they are written. ``cases`` name the inputs that
    are timed; ``recorded`` holds speed-ups of an earlier climb, used instead of the clock.
    """

    prepared: Path
    folder: Path
    calibration: Arrays
    evaluation: Arrays
    labels: Array | None
    metric: Metric
    max_drop: float
    seed: int
    threads: int
    batch: int
    cases: Mapping[str, Arrays]
    fp32: Variant
    session: Session
    reference: Array
    recorded: Mapping[str, Speedup] | None
    usd_per_thousand: UsdPerThousand | None

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
        try:
            rung.build(self.prepared, self.calibration, path, exclude)
        except Exception as error:  # a quantizer's failure concerns its rung alone
            path.unlink(missing_ok=True)
            why = str(error) if isinstance(error, Unfit) else f"could not be built: {_line(error)}"
            return replace(blank, reason=why)
        variant = describe(path, name, rung.precision, self.fp32.sha256, rung.engine)
        try:
            outputs = _open(variant).outputs_for(self.evaluation, self.batch)
        except DeployerError as error:
            return replace(blank, reason=error.message, variant=variant)
        verdict = self._accuracy(outputs)
        score = self.metric.score(outputs, self.reference, self.labels)
        return replace(
            blank,
            status="refused",  # until it is timed
            reason=verdict.reason,
            variant=variant.scored(score),
            accuracy=verdict,
        )

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
        measured = self._speedups(able, wrong)
        return [self._gates(r, measured[r.name]) if r.name in measured else r for r in results]

    def _gates(self, result: RungResult, speedup: Speedup) -> RungResult:
        cost = self.usd_per_thousand
        candidate_usd = cost(self.seconds_per_item(speedup.candidate_ms)) if cost else None
        result = replace(result, speedup=speedup, usd_per_thousand=candidate_usd)
        if result.accuracy and not result.accuracy.passed:
            return result
        latency = latency_gate(speedup)
        status: Status = "kept" if latency.passed else "refused"
        result = replace(result, reason=latency.reason, status=status)
        if cost is None or candidate_usd is None:
            return result
        judged = cost_gate(candidate_usd, cost(self.seconds_per_item(speedup.fp32_ms)))
        if latency.passed and not judged.passed:
            return replace(result, status="refused", reason=judged.reason)
        return result

    def _accuracy(self, outputs: Array) -> Verdict:
        return accuracy_gate(
            self.metric,
            outputs,
            self.reference,
            self.labels,
            max_drop=self.max_drop,
            seed=self.seed,
        )

    def seconds_per_item(self, ms_by_case: Mapping[str, float]) -> float:
        """Return seconds per inference in the timed case that serves most of them per second."""
        return min(ms / 1000 / _rows(self.cases[case]) for case, ms in ms_by_case.items())

    def _speedups(
        self, able: Mapping[str, Variant], wrong: Mapping[str, Variant]
    ) -> dict[str, Speedup]:
        if self.recorded is not None:
            # What is wrong is not chosen, so that a record without it is complete enough.
            told = [*able, *(name for name in wrong if name in self.recorded)]
            return {name: self._recorded(name, self.recorded) for name in told}
        if not able and not wrong:
            return {}
        sessions, brief = (
            {name: _open(variant, self.threads) for name, variant in variants.items()}
            for variants in (able, wrong)
        )
        return compare(
            self.session, sessions, self.cases, clock=clock_for(self.threads), brief=brief
        )

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


def _open(variant: Variant, threads: int | None = None) -> Session:
    kind = OpenVinoSession if variant.engine == OPENVINO else Session
    return kind(variant.path, threads)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _rows(feeds: Arrays) -> int:
    return len(next(iter(feeds.values())))
