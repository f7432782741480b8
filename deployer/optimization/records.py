"""Recorded latencies: what an earlier climb timed, so that the same choice can be made again without a clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deployer.errors import InputError
from deployer.optimization.report import RungResult
from deployer.optimization.timing import Speedup

SCHEMA_VERSION = 1
_KEYS = ("median", "low", "high", "fp32_ms", "candidate_ms", "rounds")


def dumps(results: Sequence[RungResult]) -> str:
    """Return ``latencies.json``: the speed-up of each timed rung with the median times by case, in milliseconds."""
    rungs = {r.name: record(r.speedup) for r in results if r.speedup}
    return json.dumps({"schema_version": SCHEMA_VERSION, "rungs": rungs}, indent=1) + "\n"


def load(path: Path) -> dict[str, Speedup]:
    """Read ``latencies.json``. Raises InputError naming the file and the key."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}",
            hint="a climb writes latencies.json to its folder",
        ) from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{str(path)!r} is no latencies.json of version {SCHEMA_VERSION}")
    rungs = document.get("rungs")
    if not isinstance(rungs, dict):
        raise InputError(f"{str(path)!r}: 'rungs' must be an object")
    return {name: speedup(item, f"{path.name}: {name}") for name, item in rungs.items()}


def record(found: Speedup) -> dict[str, Any]:
    """Return one speed-up as ``speedup`` reads it."""
    medians = {key: getattr(found, key) for key in _KEYS[:3]}
    times = {"fp32_ms": dict(found.fp32_ms), "candidate_ms": dict(found.candidate_ms)}
    return {**medians, **times, "rounds": found.rounds}


def speedup(item: Any, where: str) -> Speedup:
    """Return the Speedup of a record. Raises InputError naming ``where`` it is wrong."""
    if not isinstance(item, dict) or set(item) != set(_KEYS):
        raise InputError(f"{where}: must hold exactly {', '.join(_KEYS)}")
    try:
        median, low, high = (float(item[key]) for key in _KEYS[:3])
        times = [{k: float(v) for k, v in item[key].items()} for key in _KEYS[3:5]]
        rounds = int(item["rounds"])
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {error}") from error
    return Speedup(median, low, high, times[0], times[1], rounds)
