"""What the engine counts, by the names that a dashboard sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from inference_code.engine.memory import MemoryWatch
from inference_code.metrics import SIZE_BUCKETS, Counter, Gauge, Histogram


class Measured(Protocol):
    """What the gauges read when they are asked; the engine."""

    steps: dict[str, float]
    memory: MemoryWatch

    @property
    def waiting(self) -> int:
        """Requests that no worker can be computing yet."""

    @property
    def ready_workers(self) -> int:
        """Workers that are warm."""

    @property
    def cache_bytes(self) -> int:
        """Size of the answer cache."""

    @property
    def shared_bodies(self) -> int:
        """Large bodies in shared memory."""

    def memory_bytes(self) -> Mapping[str, float]:
        """Resident memory by process."""


class EngineMetrics:
    """What the engine counts."""

    def __init__(self, engine: Measured) -> None:
        self.queue_time = Histogram("inference_queue_seconds", "From arrival to its batch's start.")
        self.predict_time = Histogram("inference_predict_seconds", "Time of predict(), per batch.")
        self.batch_size = Histogram("inference_batch_size", "Requests per batch.", SIZE_BUCKETS)
        self.shed = Counter("inference_shed_total", "Requests refused, by reason.", "reason")
        self.restarts = Counter("inference_worker_restarts_total", "Worker processes replaced.")
        self.busy = Counter("inference_seconds_total", "Seconds of worker time, by step.", "step")
        self.length = Counter("inference_length_total", "Sum of lengths (tokens) predicted.")
        self.cache = Counter("inference_cache_total", "Requests looked up, by result.", "result")
        self.cache_bytes = Gauge(
            "inference_cache_bytes", "Size of the cache.", lambda: {"": float(engine.cache_bytes)}
        )
        self.depth = Gauge(
            "inference_queue_depth", "Requests waiting.", lambda: {"": float(engine.waiting)}
        )
        self.workers = Gauge(
            "inference_workers_ready", "Workers ready.", lambda: {"": float(engine.ready_workers)}
        )
        self.bodies = Gauge(
            "inference_shared_bodies",
            "Large bodies in shared memory.",
            lambda: {"": float(engine.shared_bodies)},
        )
        self.memory = Gauge(
            "inference_memory_bytes", "Resident memory.", engine.memory_bytes, "process"
        )
        self.memory_growth = Gauge(
            "inference_memory_growth_bytes",
            "Resident memory gained since the process settled.",
            lambda: engine.memory.growth,
            "process",
        )
        self.warm_up = Gauge(
            "inference_start_seconds", "Start time by step.", lambda: engine.steps, "step"
        )

    def all(self) -> tuple[Counter | Gauge | Histogram, ...]:
        """Return every metric, in the order of the page."""
        return tuple(vars(self).values())
