"""Workers times threads by measurement: every split of this machine's cores, under full load at once."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings, read_settings
from inference_code.errors import StartupError

#: A split with fewer workers (less memory) wins when it is within this share of the fastest.
TIE = 0.03
_START_S = 120.0


def splits(cores: int) -> list[tuple[int, int]]:
    """Return (workers, threads) pairs that use all cores, fewest workers first.

    >>> splits(4)
    [(1, 4), (2, 2), (4, 1)]
    """
    return [(cores // threads, threads) for threads in range(cores, 0, -1) if cores % threads == 0]


def tune(settings: Settings, seconds: float, cores: int | None = None) -> dict[str, Any]:
    """Return each split's answers per second and time per batch, and the best as ``workers``, ``threads``.

    Raises StartupError when a process cannot serve, or there is no sample to send.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    tried = [_measure(settings, workers, threads, seconds) for workers, threads in splits(cores)]
    best = choose(tried)
    return {"workers": best["workers"], "threads": best["threads"], "cores": cores, "tried": tried}


def choose(tried: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first split, fewest workers first, that is as good as the fastest."""
    most = max(each["answers_per_s"] for each in tried)
    return next(each for each in tried if each["answers_per_s"] >= (1 - TIE) * most)


def _measure(settings: Settings, workers: int, threads: int, seconds: float) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(workers), context.Queue()
    arguments = (settings.model_dir, threads, settings.serving.max_batch, seconds, barrier, results)
    processes = [context.Process(target=_load, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    try:
        found = [results.get(timeout=_START_S + seconds) for _ in processes]
    except queue.Empty:
        raise StartupError("a process did not load the model in time; try `check`") from None
    finally:
        for process in processes:
            process.join(1.0)
            process.kill()
    problems = [each for each in found if isinstance(each, str)]
    if problems:
        raise StartupError(problems[0])
    rates, sizes = zip(*found, strict=True)
    return {
        "workers": workers,
        "threads": threads,
        "max_batch": sizes[0],
        "answers_per_s": round(sum(rates), 2),
        "batch_ms": round(1000.0 * sum(size / rate for rate, size in found) / workers, 3),
    }


def _load(
    model_dir: Path,
    threads: int,
    max_batch: int,
    seconds: float,
    barrier: Barrier,
    results: multiprocessing.Queue[tuple[float, int] | str],
) -> None:
    """Answer samples in full batches, from when all processes are warm; put answers per second."""
    try:
        model = ServedModel(read_settings(model_dir, {"threads": threads, "max_batch": max_batch}))
        model.warm_up()
        if not model.samples:
            raise StartupError("nothing to time: put a sample request into code/samples")
    except StartupError as error:
        barrier.abort()
        results.put(str(error))
        return
    try:
        barrier.wait(_START_S)
    except threading.BrokenBarrierError:
        results.put("another process could not load the model")
        return
    results.put((rate(model, seconds), model.max_batch))


def rate(model: ServedModel, seconds: float) -> float:
    """Answer samples in full batches for ``seconds``; return answers per second."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        chosen = [model.samples[(count + at) % len(model.samples)] for at in range(model.max_batch)]
        items = [model.decode(sample.body, sample.content_type, "") for sample in chosen]
        for output in model.predict(items):
            model.encode(output, "")
        count += len(items)
    return count / (time.perf_counter() - start)
