"""Time a handler over batch sizes on this machine: a Profile's raw data."""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference_code.bench.company import busy
from inference_code.codecs import jsontext
from inference_code.contract import BENCH_BUDGET_S, BENCH_PROGRESS
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings
from inference_code.errors import StartupError

_FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
)
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
#: As many runs as tell the quantiles of a batch size; a slow one may do with fewer.
_ENOUGH_RUNS = 20
_FEWEST_RUNS = 5
#: Fewer runs are enough when half of the 95% interval of the mean is within this share of it.
_CLOSE = 0.02
#: Student's t, 0.975 quantile, at 4 to 18 degrees of freedom. Source: any table of it.
_STUDENT = (
    2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101,
)  # fmt: skip
#: The longest pause between two batches, and the time after which a model is warm enough, in seconds.
_MAX_PAUSE_S, _WARM_S = 0.05, 1.0


@dataclass(frozen=True)
class Spell:
    """How long to time: each batch size for ``seconds``, all of them together for ``budget_s`` at most."""

    seconds: float = 2.0
    budget_s: float = BENCH_BUDGET_S


def bench(settings: Settings, batch_sizes: Sequence[int], spell: Spell) -> dict[str, Any]:
    """Return what each batch size takes, decode to encode, in milliseconds.

    Only sizes that the server makes are timed: 1, the largest, and of ``batch_sizes`` those between. One that does
    not fit into the budget is left out; 1 and the largest must. Raises StartupError when they do not.
    All other workers of the serving configuration are busy meanwhile, as they are under load.
    Between two batches is a pause as long as a batch (at most 50 ms), as at half load: back to back, caches
    stay warmer than a server's.
    """
    start = time.perf_counter()
    model = ServedModel(settings)
    model.warm_up()
    if not model.samples:
        raise StartupError("nothing to time: put a sample request into code/samples")
    _answer(model, 1, 0)
    startup_s = time.perf_counter() - start + _since_process_start(start)
    with busy(settings, settings.serving.workers - 1):
        times = _times(model, batch_sizes, spell)
    sizes = [len(sample.body) for sample in model.samples]
    replies = [len(model.answer(s.body, s.content_type)[2]) for s in model.samples]
    serving = settings.serving
    return {
        "hardware": hardware(),
        "workers": serving.workers,
        "threads": serving.threads,
        "service_time_ms": {str(size): _law(values) for size, values in times.items()},
        "request_bytes": round(sum(sizes) / len(sizes)),
        "response_bytes": round(sum(replies) / len(replies)),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
        "startup_s": startup_s,
        "max_batch": model.max_batch,
        "queue_limit": serving.queue_limit,
    }


def hardware() -> dict[str, str]:
    """Return this machine's processor, the cores this process may use, and its instruction sets."""
    found = {"cpu": platform.processor() or platform.machine(), "features": ""}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        lines = {}
    keys = {key.strip(): value.strip() for key, value in lines.items()}
    flags = set((keys.get("flags") or keys.get("Features") or "").split())
    found["cpu"] = keys.get("model name", found["cpu"])
    found["features"] = " ".join(name for name in _FEATURES if name in flags)
    return {**found, "cores": str(len(os.sched_getaffinity(0))), "machine": platform.machine()}


def _times(model: ServedModel, batch_sizes: Sequence[int], spell: Spell) -> dict[int, list[float]]:
    """Return the times of each batch size; the sizes that are needed come first."""
    largest = model.max_batch
    end = time.perf_counter() + spell.budget_s
    needed = dict.fromkeys((1, largest))
    between = sorted({size for size in batch_sizes if 1 < size < largest})
    found: dict[int, list[float]] = {}
    for size in (*needed, *between):
        values = _time(model, size, spell.seconds, end)
        if len(values) >= _FEWEST_RUNS:
            found[size] = values
            _say(f"batches of {size}: {_words(values)}")
        elif size in needed:
            took = f"{max(values) / 1000:.2g} s each" if values else "too long for one of them"
            raise StartupError(
                f"batches of {size} take {took}: {_FEWEST_RUNS} do not fit into the budget of {spell.budget_s:g} s: "
                "raise it (--budget)"
            )
        else:
            _say(f"batches of {size}: left out, the budget of {spell.budget_s:g} s is spent")
    return found


def _time(model: ServedModel, size: int, seconds: float, end: float) -> list[float]:
    """Return the times of batches of ``size``, milliseconds. None begins that would not be over at ``end``."""
    first = time.perf_counter()
    for turn in range(3):
        if time.perf_counter() - first < _WARM_S and time.perf_counter() < end:
            _answer(model, size, turn)
    values: list[float] = []
    start, turn, took_s = time.perf_counter(), 0, 0.0
    while time.perf_counter() + took_s < end:
        begun = time.perf_counter()
        if begun - start >= seconds and enough(values):
            break
        _answer(model, size, turn)
        took_s = time.perf_counter() - begun
        values.append(took_s * 1000.0)
        turn += size
        time.sleep(min(took_s, _MAX_PAUSE_S))
    return values


def enough(values: Sequence[float]) -> bool:
    """Whether so many runs tell what a batch takes: 20, or fewer (5 at least) that agree within 2%."""
    if len(values) >= _ENOUGH_RUNS:
        return True
    return len(values) >= _FEWEST_RUNS and half_interval(values) <= _CLOSE


def half_interval(values: Sequence[float]) -> float:
    """Return half of the 95% interval of the mean of 5 runs or more, as a share of the mean."""
    student = _STUDENT[len(values) - 5] if len(values) - 5 < len(_STUDENT) else 1.96
    return student * float(np.std(values, ddof=1)) / math.sqrt(len(values)) / float(np.mean(values))


def _words(values: Sequence[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.3g} ms ± {100 * half_interval(values):.1f}% in {len(values):,} runs"


def _say(words: str) -> None:
    sys.stderr.write(f"{BENCH_PROGRESS}{words}\n")
    sys.stderr.flush()


def _answer(model: ServedModel, size: int, turn: int) -> None:
    samples = [model.samples[(turn + offset) % len(model.samples)] for offset in range(size)]
    items = [model.decode(sample.body, sample.content_type, "") for sample in samples]
    for output in model.predict(items):
        status, _, body = model.encode(output, "")
        if status != 200:
            message = jsontext.read(body).get("message", "")
            raise StartupError(f"a sample is answered {status}: {message}")


def _law(values: list[float]) -> dict[str, Any]:
    points = np.quantile(values, _QUANTILES)
    return {
        "law": "empirical",
        "mean": float(np.mean(values)),
        "quantiles": [[q, float(ms)] for q, ms in zip(_QUANTILES, points, strict=True)],
    }


def _since_process_start(perf_now: float) -> float:
    """Return the seconds from process start to ``perf_now``: imports are part of every cold start."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        ticks = float(file.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime", encoding="utf-8") as file:
        uptime_s = float(file.read().split()[0])
    age_s = uptime_s - ticks / os.sysconf("SC_CLK_TCK")
    return max(0.0, age_s - (time.perf_counter() - perf_now))
