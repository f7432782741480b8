"""LadderReport: every rung with its score, size, latency and cost, and why it was kept or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from deployer.errors import ConditionFailed
from deployer.optimization.gate import Verdict
from deployer.optimization.second import OutputVerdict
from deployer.optimization.timing import Speedup
from deployer.optimization.variant import Variant

SCHEMA_VERSION = 1

Status = Literal["baseline", "kept", "refused", "failed"]


@dataclass(frozen=True)
class RungResult:
    """What became of one rung.

    ``failed`` could not be built or run; ``refused`` did not pass a gate; ``kept`` passed all. ``speedup`` is None
    where the rung was not timed; one that failed the accuracy gate was timed in a few rounds, just to be told.
    ``fp32_layers`` were left in FP32 by the fallback; ``note`` says what else stays float, and why. With
    ``dynamic_scales`` an answer depends on the rows that share its batch. ``outputs`` holds the metric's verdict and
    each output's fidelity to FP32. ``recipe`` tells how a searched one was made.
    """

    name: str
    precision: str
    status: Status
    reason: str
    variant: Variant | None = None
    accuracy: Verdict | None = None
    speedup: Speedup | None = None
    usd_per_thousand: Decimal | None = None
    fp32_layers: tuple[str, ...] = ()
    dynamic_scales: bool = False
    outputs: tuple[OutputVerdict, ...] = ()
    note: str = ""
    recipe: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record with plain numbers; what was not measured is null."""
        return {
            "name": self.name,
            "precision": self.precision,
            "status": self.status,
            "reason": self.reason,
            "variant": self.variant.to_json() if self.variant else None,
            "drop": _interval(self.accuracy),
            "speedup": _speedup(self.speedup),
            "latency_ms": dict(self.speedup.candidate_ms) if self.speedup else None,
            "usd_per_thousand": None
            if self.usd_per_thousand is None
            else f"{self.usd_per_thousand:f}",
            "fp32_layers": list(self.fp32_layers),
            "answer_depends_on_batch": self.dynamic_scales,
            "outputs": [one.to_json() for one in self.outputs],
            "note": self.note,
            "recipe": None if self.recipe is None else dict(self.recipe),
        }


@dataclass(frozen=True)
class LadderReport:
    """The climb: FP32, every rung, the best variant and the reason why it is the best.

    ``best`` is FP32 itself where no rung passes every gate. ``best_quantized`` is the fastest rung that passes the
    accuracy gate, whether or not it is faster than FP32; None where none passes. ``judged_by`` names metric and rows;
    ``data`` is what they were: given, calibration (held out, without labels) or synthetic.
    """

    metric: str
    max_drop: float
    hardware: Mapping[str, str]
    threads: int
    seed: int
    fp32: Variant
    best: Variant
    best_quantized: Variant | None
    conclusion: str
    rungs: tuple[RungResult, ...]
    judged_by: str = ""
    data: str = "given"
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """Return how many times as fast as FP32 the best variant is; 1.0 where FP32 stays."""
        for rung in self.rungs:
            if rung.name == self.best.name and rung.speedup:
                return rung.speedup.median
        return 1.0

    def require_speedup(self, wanted: float) -> None:
        """Raise ConditionFailed unless the best is surely at least ``wanted`` times as fast as FP32."""
        own = next((r.speedup for r in self.rungs if r.name == self.best.name), None)
        median, low = (own.median, own.low) if own else (1.0, 1.0)
        if low < wanted:
            raise ConditionFailed(
                f"{self.best.name} is {median:.2f}x as fast as FP32, at least {low:.2f}x; {wanted:g}x is required",
                hint=self.conclusion,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the ladder.json document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "metric": self.metric,
            "max_drop": self.max_drop,
            "judged_by": self.judged_by,
            "data": self.data,
            "hardware": dict(self.hardware),
            "threads": self.threads,
            "seed": self.seed,
            "best": self.best.name,
            "best_quantized": self.best_quantized.name if self.best_quantized else None,
            "conclusion": self.conclusion,
            "rungs": [rung.to_json() for rung in self.rungs],
            "details": dict(self.details),
        }

    def dumps(self) -> str:
        """Return ladder.json as text."""
        return json.dumps(self.to_json(), indent=1) + "\n"

    def table(self) -> list[dict[str, str]]:
        """Return one row of text per rung, FP32 first: what a terminal or a page prints."""
        return [_row(rung, self.fp32) for rung in self.rungs]


def _row(rung: RungResult, fp32: Variant) -> dict[str, str]:
    variant, speedup = rung.variant, rung.speedup
    cost = rung.usd_per_thousand
    return {
        "rung": rung.name,
        "score": "" if variant is None or variant.score is None else f"{variant.score:.4f}",
        "size": "" if variant is None else f"{variant.size_bytes / fp32.size_bytes:.2f} of FP32",
        "speed": "" if speedup is None else _speed(speedup),
        "usd_per_thousand": "" if cost is None else f"{cost:f}",
        "status": rung.status,
        "reason": f"{rung.reason}; {rung.note}" if rung.note else rung.reason,
    }


def _interval(verdict: Verdict | None) -> dict[str, float | None] | None:
    if verdict is None:
        return None
    values = {"value": verdict.value, "low": verdict.low, "high": verdict.high}
    # JSON has no infinity; an end that the data leave open is null.
    return {key: v if abs(v) != float("inf") else None for key, v in values.items()}


def _speed(speedup: Speedup) -> str:
    few = f" in {speedup.rounds} rounds" if speedup.brief else ""
    return f"{speedup.median:.2f}x{few}"


def _speedup(speedup: Speedup | None) -> dict[str, float] | None:
    if speedup is None:
        return None
    ends = {"median": speedup.median, "low": speedup.low, "high": speedup.high}
    return {**ends, "rounds": speedup.rounds}
