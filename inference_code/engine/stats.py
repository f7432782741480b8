"""What a person wants to know about a server: the answer of /stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from inference_code.metrics import milliseconds

if TYPE_CHECKING:
    from inference_code.engine.engine_metrics import EngineMetrics
    from inference_code.engine.memory import MemoryWatch
    from inference_code.engine.pace import Pace
    from inference_code.engine.pool import WorkerHandle
    from inference_code.engine.settings import Settings


class Running(Protocol):
    """What is told of; the engine."""

    settings: Settings
    steps: dict[str, float]
    memory: MemoryWatch
    metrics: EngineMetrics
    pace: Pace
    workers: list[WorkerHandle]

    @property
    def waiting(self) -> int:
        """Requests that no worker can be computing yet."""

    @property
    def unanswered(self) -> int:
        """Requests that were admitted and not answered."""

    @property
    def cache_bytes(self) -> int:
        """Size of the answer cache."""

    def unhealthy(self) -> str:
        """Why no inference can run, or ""."""


def of(engine: Running) -> dict[str, Any]:
    """Return it as a JSON document."""
    metrics, pace = engine.metrics, engine.pace
    return {
        "model": engine.settings.name,
        "unhealthy": engine.unhealthy() or None,
        "start_s": {step: round(seconds, 3) for step, seconds in engine.steps.items()},
        "workers": [worker.stats() for worker in engine.workers],
        "restarts": metrics.restarts.total(),
        "memory_growth_mb": {
            process: round(grown / 2**20, 1) for process, grown in engine.memory.growth.items()
        },
        "waiting": engine.waiting,
        "unanswered": engine.unanswered,
        **pace.batching(),
        "full_batch_ms": round(pace.batch_s * 1000, 3),
        "mean_batch": round(metrics.batch_size.sum / max(1, metrics.batch_size.count), 2),
        "queue_ms_p99_below": milliseconds(metrics.queue_time.quantile(0.99)),
        "shed": dict(metrics.shed.values),
        "cache": {"bytes": engine.cache_bytes, **metrics.cache.values},
    }
