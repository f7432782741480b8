"""EdgeBundle: a folder with an .ort file, what was found of it, and whether it keeps within a device's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

from deployer.errors import ConditionFailed
from deployer.optimization import ortfile
from deployer.optimization.gate import Verdict
from deployer.optimization.variant import Variant

SCHEMA_VERSION = 1
REPORT = "edge.json"


@dataclass(frozen=True)
class Measured:
    """What a fresh process took for a model file: CPU milliseconds of one request with their 95% interval, and bytes.

    The memory is the most that the process ever had, less what it had before it opened the model.
    """

    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    memory_bytes: int

    def to_json(self) -> dict[str, float]:
        """Return the record."""
        ends = {"latency_low_ms": self.latency_low_ms, "latency_high_ms": self.latency_high_ms}
        return {"latency_ms": self.latency_ms, **ends, "memory_bytes": self.memory_bytes}


@dataclass(frozen=True)
class EdgeBundle:
    """A folder with ``model.ort`` and what was found of it; ``source`` is the ONNX file that it was made from.

    ``difference`` is the largest between their answers, relative to the largest value of an output, of which
    ``tolerance`` (relative to the value, and to that largest one) was allowed. ``requests`` says on what.
    """

    folder: Path
    target: str
    runs_on: str
    size_bytes: int
    sha256: str
    source: Variant
    opset: int
    operators: tuple[str, ...]
    measured: Measured
    source_measured: Measured
    difference: float
    tolerance: tuple[float, float]
    hardware: Mapping[str, str]
    requests: str = ""
    gates: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The .ort file."""
        return self.folder / ortfile.MODEL

    @property
    def passed(self) -> bool:
        """Whether every gate that was asked for holds."""
        return all(verdict.passed for verdict in self.gates.values())

    def require(self) -> None:
        """Raise ConditionFailed naming each gate that does not hold."""
        broken = [verdict.reason for verdict in self.gates.values() if not verdict.passed]
        if broken:
            raise ConditionFailed(
                "; ".join(broken), hint=f"{self.folder / REPORT} tells what was measured"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the edge.json document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "runs_on": self.runs_on,
            "optimization_style": "Fixed",
            "onnxruntime": onnxruntime.__version__,
            "file": ortfile.MODEL,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "source": {
                "file": self.source.path.name,
                "size_bytes": self.source.size_bytes,
                "sha256": self.source.sha256,
                "opset": self.opset,
            },
            "operators": list(self.operators),
            "equal_to_source": {
                "requests": self.requests,
                "difference": self.difference,
                "rtol": self.tolerance[0],
                "atol": self.tolerance[1],
            },
            "measured": {
                "on": dict(self.hardware),
                "threads": 1,
                "clock": "thread CPU time, one request at a time",
                "memory": "most of the process, less what it had before the model",
                "ort": self.measured.to_json(),
                "onnx": self.source_measured.to_json(),
            },
            "gates": {name: _gate(verdict) for name, verdict in self.gates.items()},
            "passed": self.passed,
        }


def _gate(verdict: Verdict) -> dict[str, Any]:
    ends = {"value": verdict.value, "low": verdict.low, "high": verdict.high}
    return {"passed": verdict.passed, **ends, "reason": verdict.reason}
