"""How many threads should serve: measured latencies by number of threads, and what they advise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from deployer.optimization.session import usable_cores

SECONDS = 5.0
"""For each number of threads, where the rounds that are needed do not take longer."""

NEAR = 0.97
"""What comes within 3% of the fastest, a rung or fewer threads, counts as equally fast: timing tells no more."""


def counts() -> list[int]:
    """Return the numbers of threads that can serve here: 1, 2, 4, ... and all usable cores."""
    cores = usable_cores()
    return sorted({*(2**power for power in range(cores.bit_length())), cores} - {0})


def told(name: str, times: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ladder.json holds: by number of threads the times in ms and the speed-up over FP32 at that number.

    ``times`` are records of speed-ups of the rung ``name``. ``fastest`` answers soonest, by the geometric mean over the
    timed inputs; ``most_per_core`` answers most where workers fill the machine.
    """
    if not times:
        return {}
    means = {n: _mean(record["candidate_ms"]) for n, record in times.items()}
    least = min(means.values())
    fastest = min(n for n, mean in means.items() if mean * NEAR <= least)
    busy = {n: n * mean for n, mean in means.items()}
    per_core = min(n for n, mean in busy.items() if mean * NEAR <= min(busy.values()))
    return {
        "rung": name,
        "clock": "wall",
        "measured": {str(n): dict(record) for n, record in times.items()},
        "fastest": fastest,
        "most_per_core": per_core,
        "advice": _advice(name, fastest, per_core, means),
    }


def _advice(name: str, fastest: int, per_core: int, means: Mapping[int, float]) -> str:
    soonest = f"{name} answers soonest on {_threads(fastest)} ({means[fastest]:.3g} ms"
    package = f"`deployer package --threads {fastest}`"
    if fastest == per_core:
        return f"{soonest}), and most per core: {package}"
    return (
        f"{soonest}: {package}), and most per core on {_threads(per_core)} "
        f"(`--threads {per_core}`, and `--workers` for the other cores)"
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _mean(times_ms: Mapping[str, float]) -> float:
    return math.exp(sum(math.log(ms) for ms in times_ms.values()) / len(times_ms))
