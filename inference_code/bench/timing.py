"""Time a handler over batch sizes on this machine: a Profile's raw data."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference_code.bench.company import busy
from inference_code.codecs import jsontext
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
_FEWEST_RUNS = 20
#: The longest pause between two batches, in seconds.
_MAX_PAUSE_S = 0.05


def bench(settings: Settings, batch_sizes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return what each batch size takes, decode to encode, ``seconds`` long each, in milliseconds.

    All other workers of the serving configuration are busy meanwhile, as they are under load.
    Between two batches is a pause as long as a batch (at most 50 ms), as at half load: back to back, caches
    stay warmer than a server's. A batch of a handler that takes one request at a time is timed as that many
    single ones.
    """
    start = time.perf_counter()
    model = ServedModel(settings)
    model.warm_up()
    if not model.samples:
        raise StartupError("nothing to time: put a sample request into code/samples")
    _answer(model, 1, 0)
    startup_s = time.perf_counter() - start + _since_process_start(start)
    with busy(settings, settings.serving.workers - 1):
        times = {size: _time(model, size, seconds) for size in sorted(set(batch_sizes) | {1})}
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


def _time(model: ServedModel, size: int, seconds: float) -> list[float]:
    for turn in range(3):
        _answer(model, size, turn)
    values: list[float] = []
    end = time.perf_counter() + seconds
    turn = 0
    while time.perf_counter() < end or len(values) < _FEWEST_RUNS:
        start = time.perf_counter()
        _answer(model, size, turn)
        took_s = time.perf_counter() - start
        values.append(took_s * 1000.0)
        turn += size
        time.sleep(min(took_s, _MAX_PAUSE_S))
    return values


def _answer(model: ServedModel, size: int, turn: int) -> None:
    samples = [model.samples[(turn + offset) % len(model.samples)] for offset in range(size)]
    items = [model.decode(sample.body, sample.content_type, "") for sample in samples]
    groups = [items] if model.max_batch > 1 else [[item] for item in items]
    for group in groups:
        for output in model.predict(group):
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
