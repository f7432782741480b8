"""Other workers, busy on this machine while one is timed: cores that share caches and memory are slower together."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

from inference_code.bench.tuning import rate
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings, read_settings
from inference_code.errors import StartupError

_START_S = 120.0
_TURN_S = 0.1


@contextmanager
def busy(settings: Settings, count: int) -> Iterator[None]:
    """Keep ``count`` processes answering samples in full batches while the block runs.

    Raises StartupError when one of them cannot load the model.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count + 1)
    serving = settings.serving
    arguments = (settings.model_dir, serving.threads, serving.max_batch, barrier)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        barrier.wait(_START_S)
        yield
    except threading.BrokenBarrierError:
        raise StartupError("another worker could not load the model; try `check`") from None
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(model_dir: Path, threads: int, max_batch: int, barrier: Barrier) -> None:
    try:
        model = ServedModel(read_settings(model_dir, {"threads": threads, "max_batch": max_batch}))
        model.warm_up()
    except StartupError:
        barrier.abort()
        return
    barrier.wait(_START_S)
    while True:
        rate(model, _TURN_S)
