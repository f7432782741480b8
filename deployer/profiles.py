"""Profile: how long one bundle takes, by batch size, on one kind of hardware."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deployer.errors import InputError

SCHEMA_VERSION = 1
Law = Literal["deterministic", "exponential", "empirical"]
_LAWS = ("deterministic", "exponential", "empirical")


@dataclass(frozen=True)
class ServiceTime:
    """Time to serve one batch, in milliseconds.

    ``quantiles`` are (probability, milliseconds) pairs, rising, from probability 0 to 1; the empirical
    law draws from them by linear interpolation. The other laws need only ``mean``.
    """

    law: Law
    mean: float
    quantiles: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.law not in _LAWS:
            raise InputError(f"service_time_ms: law {self.law!r} is not one of {', '.join(_LAWS)}")
        if not (math.isfinite(self.mean) and self.mean > 0):
            raise InputError(f"service_time_ms: mean must be a positive number, not {self.mean!r}")
        if self.law == "empirical":
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
    run on one instance, each with ``threads``; ``startup_s`` is from process start to the first answer.
    ``date`` is ISO, ``hardware`` names cpu, cores and instruction sets. Memory in MiB, bytes per request.
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

    def __post_init__(self) -> None:
        sizes = sorted(self.service_time_ms)
        if not sizes or sizes[0] != 1:
            raise InputError("profile: service_time_ms must start at batch size 1")
        for key in ("workers", "threads", "max_batch", "queue_limit"):
            if getattr(self, key) < 1:
                raise InputError(f"profile: {key} must be at least 1, not {getattr(self, key)!r}")
        for key in ("request_bytes", "response_bytes", "memory_mb", "startup_s"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"profile: {key} must not be negative, not {value!r}")

    @property
    def capacity_rps(self) -> float:
        """Most requests per second of one instance: the best batch size on all its workers."""
        sizes = [b for b in self.service_time_ms if b <= self.max_batch]
        return max(self.workers * b * 1000.0 / self.service_time_ms[b].mean for b in sizes)

    def to_json(self) -> dict[str, Any]:
        """Return the profile.json document."""
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
            "service_time_ms": {
                str(size): {
                    "law": time.law,
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
        values["service_time_ms"] = {
            int(size): ServiceTime(
                item["law"],
                float(item["mean"]),
                tuple((float(q), float(ms)) for q, ms in item.get("quantiles", ())),
            )
            for size, item in values["service_time_ms"].items()
        }
        return Profile(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {error}") from error


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
