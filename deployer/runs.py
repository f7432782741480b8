"""Run: what happened to every request, measured or simulated.

A load test and a simulation both return a Run; what reads one cannot tell which road was taken, except
that ``provenance`` says so. Latency counts from the intended arrival, so that a stalled client or server
cannot hide its own wait.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deployer.errors import InputError
from deployer.stats import Floats, LatencySummary, summarize_ms

SCHEMA_VERSION = 1
SAMPLES_LIMIT = 20_000
"""Up to this many samples run.json lists every one; above, exact percentiles."""

NO_ANSWER = 0
"""Status of a request that got no HTTP answer: refused connection, reset, time-out."""

REFUSALS = (429, 503)
"""Statuses of a request that was turned away."""

Provenance = Literal["measured", "simulated"]


@dataclass(frozen=True)
class CapacityTimeline:
    """Instances over time as steps: at ``time_s[i]`` there are ``billed[i]``, of which ``serving[i]`` serve."""

    time_s: Floats
    billed: Floats
    serving: Floats

    def billed_instance_s(self, end_s: float) -> float:
        """Return the instance-seconds paid for from the first step to ``end_s``."""
        edges = np.append(self.time_s, end_s)
        return float(np.sum(self.billed * np.clip(np.diff(edges), 0.0, None)))

    @property
    def peak(self) -> int:
        """Most instances billed at once."""
        return int(self.billed.max()) if len(self.billed) else 0

    @staticmethod
    def fixed(instances: float) -> CapacityTimeline:
        """A fleet that never changes."""
        count = np.array([float(instances)])
        return CapacityTimeline(np.zeros(1), count, count.copy())


@dataclass(frozen=True)
class Run:
    """Every offered request with its fate; times in seconds from the start of the trace.

    ``intended_s``, ``done_s``, ``status``, ``request_bytes``, ``response_bytes`` have one entry per offered
    request; ``done_s`` is NaN where no answer came. ``status`` is HTTP's (200 is success) or NO_ANSWER.
    ``request_bytes`` is 0 for what a simulation refuses for its size (413): that moves no byte that is billed.
    ``billed_compute_s`` is what a pay-per-use target bills, summed over requests; None where it bills instances.
    ``details`` says where the run comes from: seed, digests, hardware, tool version; a simulated run
    carries no clock date. A simulated run also says there why requests failed: ``failed_by`` counts them by
    reason, ``failed_status`` has each reason's status. ``assumptions`` are sentences, each with its value.
    """

    provenance: Provenance
    duration_s: float
    intended_s: Floats
    done_s: Floats
    status: NDArray[np.int16]
    request_bytes: NDArray[np.int64]
    response_bytes: NDArray[np.int64]
    capacity: CapacityTimeline
    billed_compute_s: float | None = None
    max_lag_s: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()

    @property
    def offered(self) -> int:
        """How many requests the trace offered."""
        return len(self.intended_s)

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """Mask of the requests answered with 200."""
        mask: NDArray[np.bool_] = self.status == 200
        return mask

    @property
    def successes(self) -> int:
        """How many requests were answered with 200."""
        return int(np.count_nonzero(self.succeeded))

    @property
    def refused(self) -> int:
        """How many were turned away: 503 and 429."""
        return int(np.count_nonzero(np.isin(self.status, REFUSALS)))

    @property
    def failures(self) -> int:
        """Offered requests without success, refused ones included."""
        return self.offered - self.successes

    @property
    def latency_s(self) -> Floats:
        """Latency of the successful requests, from intended arrival to answer."""
        mask = self.succeeded
        return self.done_s[mask] - self.intended_s[mask]

    def latency(self) -> LatencySummary:
        """Summarise the latency of successful requests, in milliseconds."""
        return summarize_ms(self.latency_s)

    def attainment(self, objective_s: float) -> float:
        """Return the share of offered requests that succeed within ``objective_s``; 0 when none is offered."""
        if self.offered == 0:
            return 0.0
        return int(np.count_nonzero(self.latency_s <= objective_s)) / self.offered

    def to_json(self) -> dict[str, Any]:
        """Return the run.json document; equal runs give equal documents."""
        summary = self.latency()
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "provenance": self.provenance,
            "duration_s": self.duration_s,
            "offered": self.offered,
            "successes": self.successes,
            "failures": self.failures,
            "refused": self.refused,
            "status_counts": _status_counts(self.status),
            "latency_ms": {
                "mean": summary.mean,
                "p50": summary.p50,
                "p90": summary.p90,
                "p99": summary.p99,
            },
            "max_lag_ms": None if self.max_lag_s is None else self.max_lag_s * 1000,
            "billed_compute_s": self.billed_compute_s,
            "capacity": {
                "time_s": self.capacity.time_s.tolist(),
                "billed": self.capacity.billed.tolist(),
                "serving": self.capacity.serving.tolist(),
            },
            "request_bytes": int(self.request_bytes.sum()),
            "response_bytes": int(self.response_bytes.sum()),
            "details": dict(self.details),
            "assumptions": list(self.assumptions),
        }
        if self.offered <= SAMPLES_LIMIT:
            document["samples"] = self._samples()
        else:
            document["latency_percentiles_ms"] = self._percentiles()
        return document

    def _samples(self) -> dict[str, list[Any]]:
        done = [None if np.isnan(v) else float(v) for v in self.done_s]
        return {
            "intended_s": self.intended_s.tolist(),
            "done_s": done,
            "status": self.status.tolist(),
            "request_bytes": self.request_bytes.tolist(),
            "response_bytes": self.response_bytes.tolist(),
        }

    def _percentiles(self) -> list[list[float]]:
        grid = [*range(100), 99.5, 99.9, 99.99, 100]
        latency = self.latency_s
        if len(latency) == 0:
            return []
        values = np.percentile(latency * 1000, grid, method="inverted_cdf")
        return [[float(q), float(v)] for q, v in zip(grid, values, strict=True)]

    def dumps(self) -> str:
        """Return run.json as text, byte for byte the same for the same run."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True, allow_nan=False) + "\n"


def load(path: Path) -> Run:
    """Read run.json back. Raises InputError when it cannot be read or keeps only percentiles."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{str(path)!r} is no run.json of schema version {SCHEMA_VERSION}")
    if "samples" not in data:
        raise InputError(
            f"{str(path)!r} keeps percentiles only, not its samples",
            hint=f"a run of up to {SAMPLES_LIMIT:,} requests keeps every sample",
        )
    try:
        return _from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no run.json: {error!r}") from error


def _from_json(data: Mapping[str, Any]) -> Run:
    samples, capacity = data["samples"], data["capacity"]
    lag_ms = data["max_lag_ms"]
    done = [math.nan if value is None else value for value in samples["done_s"]]
    return Run(
        provenance=data["provenance"],
        duration_s=float(data["duration_s"]),
        intended_s=np.array(samples["intended_s"], np.float64),
        done_s=np.array(done, np.float64),
        status=np.array(samples["status"], np.int16),
        request_bytes=np.array(samples["request_bytes"], np.int64),
        response_bytes=np.array(samples["response_bytes"], np.int64),
        capacity=CapacityTimeline(
            *(np.array(capacity[key], np.float64) for key in ("time_s", "billed", "serving"))
        ),
        billed_compute_s=data["billed_compute_s"],
        max_lag_s=None if lag_ms is None else lag_ms / 1000,
        details=data["details"],
        assumptions=tuple(data["assumptions"]),
    )


def _status_counts(status: NDArray[np.int16]) -> dict[str, int]:
    codes, counts = np.unique(status, return_counts=True)
    return {str(int(code)): int(count) for code, count in zip(codes, counts, strict=True)}
