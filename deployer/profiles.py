"""Profile: how long one bundle takes, by batch size, on one kind of hardware."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deployer import processes
from deployer.errors import InputError
from deployer.progress import Say, silent
from inference_code.contract import BENCH_BUDGET_S, BENCH_PROGRESS, Manifest

SCHEMA_VERSION = 1
LONGEST_S = 86_400.0
START_S = 120.0
Distribution = Literal["deterministic", "exponential", "empirical"]
_DISTRIBUTIONS = ("deterministic", "exponential", "empirical")


@dataclass(frozen=True)
class ServiceTime:
    """Time to serve one batch, in milliseconds.

    ``quantiles`` are (probability, milliseconds) pairs, rising, from probability 0 to 1; the empirical
    distribution draws from them by linear interpolation. The others need only ``mean``.
    """

    distribution: Distribution
    mean: float
    quantiles: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.distribution not in _DISTRIBUTIONS:
            known = ", ".join(_DISTRIBUTIONS)
            raise InputError(
                f"service_time_ms: distribution {self.distribution!r} is not one of {known}"
            )
        if not (math.isfinite(self.mean) and self.mean > 0):
            raise InputError(f"service_time_ms: mean must be a positive number, not {self.mean!r}")
        if self.distribution == "empirical":
            self._check_quantiles()

    def _check_quantiles(self) -> None:
        q = [pair[0] for pair in self.quantiles]
        ms = [pair[1] for pair in self.quantiles]
        rising = len(q) >= 2 and q == sorted(set(q)) and ms == sorted(ms)
        if not rising or q[0] != 0 or q[-1] != 1 or not all(math.isfinite(v) and v > 0 for v in ms):
            raise InputError("service_time_ms: quantiles must rise from probability 0 to 1")


@dataclass(frozen=True)
class Profile:
    """What was measured of one bundle on one machine.

    ``service_time_ms`` maps a batch size to the time of the whole batch. ``workers`` server processes
    run on one instance, each with ``threads``; ``startup_s`` is from process start to the first answer;
    a batch that is not full waits up to ``max_wait_ms``.
    ``date`` is ISO, ``hardware`` names cpu, cores and instruction sets. Memory in MiB, bytes per request.
    ``max_body_bytes`` is the largest body that the bundle's server takes; None in older files: unknown.
    """

    name: str
    bundle_digest: str
    precision: str
    hardware: Mapping[str, str]
    workers: int
    threads: int
    service_time_ms: Mapping[int, ServiceTime]
    request_bytes: int
    response_bytes: int
    memory_mb: float
    startup_s: float
    date: str
    max_batch: int = 1
    queue_limit: int = 128
    max_wait_ms: float = 0.0
    max_body_bytes: int | None = None

    def __post_init__(self) -> None:
        sizes = sorted(self.service_time_ms)
        if not sizes or sizes[0] != 1:
            raise InputError("profile: service_time_ms must start at batch size 1")
        for key in ("workers", "threads", "max_batch", "queue_limit"):
            if getattr(self, key) < 1:
                raise InputError(f"profile: {key} must be at least 1, not {getattr(self, key)!r}")
        if self.max_body_bytes is not None and self.max_body_bytes < 1:
            raise InputError(
                f"profile: max_body_bytes must be at least 1, not {self.max_body_bytes!r}"
            )
        for key in ("request_bytes", "response_bytes", "memory_mb", "startup_s", "max_wait_ms"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"profile: {key} must not be negative, not {value!r}")

    @property
    def capacity_rps(self) -> float:
        """Most requests per second of one instance: the best batch size on all its workers."""
        sizes = [b for b in self.service_time_ms if b <= self.max_batch]
        return max(self.workers * b * 1000.0 / self.service_time_ms[b].mean for b in sizes)

    def to_json(self) -> dict[str, Any]:
        """Return the profile.json document; what is unknown is left out."""
        known = {} if self.max_body_bytes is None else {"max_body_bytes": self.max_body_bytes}
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "bundle_digest": self.bundle_digest,
            "precision": self.precision,
            "hardware": dict(self.hardware),
            "workers": self.workers,
            "threads": self.threads,
            "max_batch": self.max_batch,
            "queue_limit": self.queue_limit,
            "max_wait_ms": self.max_wait_ms,
            "service_time_ms": {
                str(size): {
                    "law": time.distribution,
                    "mean": time.mean,
                    "quantiles": [list(pair) for pair in time.quantiles],
                }
                for size, time in sorted(self.service_time_ms.items())
            },
            "request_bytes": self.request_bytes,
            "response_bytes": self.response_bytes,
            "memory_mb": self.memory_mb,
            "startup_s": self.startup_s,
            "date": self.date,
            **known,
        }

    def save(self, path: Path) -> None:
        """Write profile.json."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


def from_json(data: Any, where: str = "profile") -> Profile:
    """Build a Profile from a parsed document. Raises InputError naming the key."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: must be an object")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{where}: schema_version is {data.get('schema_version')!r}, not {SCHEMA_VERSION}"
        )
    values = {k: v for k, v in data.items() if k != "schema_version"}
    known = Profile.__dataclass_fields__
    for key in values:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
    try:
        values["service_time_ms"] = _service_times(values["service_time_ms"])
        return Profile(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {error}") from error


def _service_times(data: Any) -> dict[int, ServiceTime]:
    return {
        int(size): ServiceTime(
            item["law"],
            float(item["mean"]),
            tuple((float(q), float(ms)) for q, ms in item.get("quantiles", ())),
        )
        for size, item in data.items()
    }


def load(path: Path) -> Profile:
    """Read profile.json. Raises InputError naming the file and the key."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}",
            hint="`deployer profile BUNDLE -o FILE` writes one",
        ) from error
    return from_json(data, str(path))


def measure(
    model_dir: Path,
    manifest: Manifest | None = None,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 2.0,
    budget_s: float = BENCH_BUDGET_S,
    threads: int | None = None,
    say: Say = silent,
) -> Profile:
    """Time an unpacked bundle on this machine: its own serving code, in a process of its own.

    Each batch size runs for ``seconds`` at least, and until 20 runs, or 5 that agree within 2%, are there; all
    together take ``budget_s`` at most. 1 and the largest size that is served are always timed, sizes above it never
    occur and are left out, those between where the budget is spent. ``threads`` None takes the bundle's. Raises
    InputError when the handler or a sample fails, or is too slow for the budget.
    """
    if not batch_sizes or min(batch_sizes) < 1:
        raise InputError(f"batch sizes must be at least 1, not {list(batch_sizes)!r}")
    if not 0 < seconds <= 600:
        raise InputError(f"seconds must lie between 0 and 600, not {seconds!r}")
    if not 0 < budget_s <= LONGEST_S:
        raise InputError(f"budget must lie between 0 and {LONGEST_S:,} seconds, not {budget_s!r}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads!r}")
    manifest = manifest or processes.manifest(model_dir)
    options = ["--batch-sizes", ",".join(map(str, sorted(set(batch_sizes))))]
    options += ["--seconds", f"{seconds:g}"]
    if budget_s != BENCH_BUDGET_S:  # the code of an older bundle knows no such word
        options += ["--budget", f"{budget_s:g}"]
    if threads is not None:
        options += ["--threads", str(threads)]
    say(f"timing {manifest.name}: {seconds:g} s for each batch size, {budget_s:g} s in all at most")

    def hear(line: str) -> None:
        if line.startswith(BENCH_PROGRESS):
            say(line.removeprefix(BENCH_PROGRESS))

    # The last batch may begin just before the budget is spent, and the start has time of its own.
    raw = processes.call(model_dir, "bench", options, timeout_s=START_S + 2 * budget_s, hear=hear)
    return _from_bench(raw, manifest)


def _from_bench(raw: Mapping[str, Any], manifest: Manifest) -> Profile:
    """Join what the bundle is with what its bench printed. Raises InputError for a missing number."""
    try:
        return Profile(
            name=manifest.name,
            bundle_digest=manifest.digest,
            precision=manifest.precision,
            hardware={key: _text(value) for key, value in raw["hardware"].items()},
            workers=int(raw["workers"]),
            threads=int(raw["threads"]),
            service_time_ms=_service_times(raw["service_time_ms"]),
            request_bytes=int(raw["request_bytes"]),
            response_bytes=int(raw["response_bytes"]),
            memory_mb=float(raw["memory_mb"]),
            startup_s=float(raw["startup_s"]),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            max_batch=int(raw["max_batch"]),
            queue_limit=int(raw["queue_limit"]),
            max_wait_ms=manifest.serving.max_wait_ms,
            max_body_bytes=manifest.serving.max_body_bytes,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the bundle's bench printed an unusable profile: {error!r}") from error


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
