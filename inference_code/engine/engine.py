"""The front's half of the path: admit or refuse, keep the backlog, answer."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from inference_code.cache import Cache, digest
from inference_code.codecs import jsontext
from inference_code.contract import JSON_TYPE
from inference_code.engine import frames, stats
from inference_code.engine.arena import Arena, Slot
from inference_code.engine.engine_metrics import EngineMetrics
from inference_code.engine.log import log
from inference_code.engine.manners import wait_readable
from inference_code.engine.memory import MemoryWatch
from inference_code.engine.pace import Pace
from inference_code.engine.pool import AHEAD, Job, Ready, WorkerHandle, resident_bytes
from inference_code.engine.settings import Settings
from inference_code.errors import (
    DeadlineExceeded,
    Draining,
    HandlerFailed,
    Overloaded,
    RequestError,
)

Done = Callable[[int, bytes, bytes], None]

#: A worker that owes an answer and has not moved for this long is not healthy, in seconds.
STALL_S = 1.0
#: After refusals the front sleeps until a worker answers, and no longer than this, in seconds.
GIVE_WAY_S = 0.005
_TICK_S = 0.25
_STOP_S = 1.0
_LOOK_S = 5.0
#: A server that was never ready gives up after this many deaths; one that was keeps trying.
_FALSE_STARTS = 3
_JSON = JSON_TYPE.encode()


class Engine:
    """Takes requests and calls back with answers. All methods run on the event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.arena = Arena(settings.serving.max_body_bytes)
        self.memory = MemoryWatch()
        self.metrics = EngineMetrics(self)
        self.steps: dict[str, float] = {}
        self.interface: dict[str, Any] = {}
        self.wants_headers = False
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        limits = settings.cache
        self._cache = Cache(limits.max_bytes, limits.ttl_s) if limits.max_bytes else None
        self.workers: list[WorkerHandle] = []
        self._backlog: deque[Job] = deque()
        self._jobs: dict[int, Job] = {}
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)
        self.pace = Pace(settings.serving)
        self._deaths = 0
        self._ever_ready = False
        self._closing = False
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the worker processes; ``unhealthy`` tells when one is ready, ``failed`` that none will be."""
        for _ in range(self.settings.serving.workers):
            await self._add_worker()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def close(self) -> None:
        """Stop the workers; unanswered requests are dropped."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
        for worker in list(self.workers):
            worker.stop()
        end = time.monotonic() + _STOP_S
        while self.workers and time.monotonic() < end:
            await asyncio.sleep(0.005)
        for worker in self.workers:
            worker.kill()
        self.arena.close()

    @property
    def unanswered(self) -> int:
        """How many requests have been admitted and not answered."""
        return len(self._jobs)

    @property
    def ready_workers(self) -> int:
        """How many workers are warm."""
        return sum(worker.ready is not None for worker in self.workers)

    @property
    def cache_bytes(self) -> int:
        """How much the answer cache holds."""
        return self._cache.bytes if self._cache is not None else 0

    @property
    def shared_bodies(self) -> int:
        """How many large bodies lie in shared memory."""
        return self.arena.in_use

    def memory_bytes(self) -> dict[str, float]:
        """Return the resident memory of each process, in bytes."""
        workers = {f"worker {each.number}": resident_bytes(each.pid) for each in self.workers}
        return {"front": resident_bytes(os.getpid()), **workers}

    def stats(self) -> dict[str, Any]:
        """Return what a person wants to know about this server."""
        return stats.of(self)

    @property
    def waiting(self) -> int:
        """How many admitted requests no worker can be computing yet."""
        return max(0, len(self._jobs) - self.pace.room)

    def unhealthy(self) -> str:
        """Return why no inference can run, or "" when one can."""
        if not self.ready_workers:
            return "starting" if not self._ever_ready else "no worker is ready"
        now = time.monotonic()
        # A model that waits by nature (for a disk, say) is not wedged: its own inferences are the measure.
        limit = max(STALL_S, 3 * max(self.pace.batch_s, self.pace.slowest_s))
        if all(w.stuck_s(now) > limit for w in self.workers if w.ready is not None):
            return "no worker moves"
        return ""

    def submit(
        self,
        body: bytes | Slot,
        headers: bytes,
        timeout_s: float | None,
        done: Done,
        urgency: int = frames.URGENCY,
    ) -> Job | None:
        """Admit a request; ``done(status, content_type, body)`` is called once with its answer.

        ``headers`` is as in ``frames.Request``, ``urgency`` as in RFC 9218. Returns None when the cache
        answers, or will. Raises Overloaded or Draining instead of queueing what could not be answered in time.
        """
        key = b""
        if self._cache is not None:
            key = digest(headers, body.view if isinstance(body, Slot) else body)
            if self._cached(self._cache, key, timeout_s, done):
                if isinstance(body, Slot):
                    body.release()
                return None
        limit_s = self.settings.serving.request_timeout_s
        if timeout_s is not None and timeout_s < limit_s:
            limit_s = timeout_s
        self._admit(limit_s)
        now = time.monotonic()
        if self._cache is not None and timeout_s is None:
            done = self._flight(self._cache, key, done)
        job = Job(next(self._ids), body, headers, now, now + limit_s, done, urgency)
        self._jobs[job.id] = job
        if self._backlog or not self._dispatch(job):
            self._enqueue(job)
        return job

    def give_way(self) -> None:
        """Leave the core to the workers until one answers, GIVE_WAY_S at most."""
        # With nothing owed no answer would end the sleep, and a worker would have nothing to do.
        if self._jobs:
            sockets = [worker.fileno() for worker in self.workers if worker.ready is not None]
            wait_readable([number for number in sockets if number >= 0], GIVE_WAY_S)

    def cancel(self, job: Job) -> None:
        """Forget a request whose caller has gone; it is not computed if it has not begun."""
        # With a cache, others may be waiting for the same answer, and the next will ask for it.
        if self._cache is not None or self._jobs.pop(job.id, None) is None:
            return
        if job.worker is None:
            job.free()

    def on_ready(self, worker: WorkerHandle, ready: Ready) -> None:
        """A worker is warm: feed it."""
        self._ever_ready = True
        self._deaths = 0
        self.pace.begin(ready.max_batch, ready.slowest_s, ready.batch_effect, ready.unbatched)
        self.pace.count(self.ready_workers)
        self.interface = ready.interface
        self.wants_headers = ready.wants_headers
        self.steps = {**ready.steps, "ready": time.monotonic() - worker.started_s}
        told = {"unbatched": ready.unbatched} if ready.unbatched else {}
        log("worker ready", worker=worker.number, pid=worker.pid, steps_s=self.steps, **told)
        self._feed()

    def on_answers(self, worker: WorkerHandle, answers: list[frames.Answer]) -> None:
        """Pass answers on to those who asked."""
        started_s = 0.0
        for id, status, content_type, body in answers:
            if id == 0:
                started_s = self._learn(frames.read_report(body))
                continue
            job = worker.jobs.pop(id, None)
            if job is None:
                continue
            job.free()
            if self._jobs.pop(id, None) is None:
                continue
            if started_s:
                self.metrics.queue_time.observe(started_s - job.arrived_s)
            job.done(status, content_type, body)
        if self._backlog:
            self._feed()

    def on_death(self, worker: WorkerHandle, reason: str) -> None:
        """A worker is gone: give its work to others, and start another."""
        self.workers.remove(worker)
        self.pace.count(self.ready_workers)
        if self._closing:
            return
        self._deaths += 1
        if not self._ever_ready and (worker.failure or self._deaths >= _FALSE_STARTS):
            self._give_up(worker.failure or f"the model's process died: {reason}")
            return
        self.metrics.restarts.add()
        log("worker died", worker=worker.number, reason=reason, unanswered=len(worker.jobs))
        self._reclaim(worker)
        delay_s = min(10.0, 0.1 * 2 ** min(self._deaths - 1, 7)) if self._deaths > 1 else 0.0
        asyncio.get_running_loop().call_later(delay_s, self._replace)
        self._feed()

    def _cached(self, cache: Cache, key: bytes, timeout_s: float | None, done: Done) -> bool:
        """Answer from the cache, or wait for the same request under way; return False to compute."""
        known = cache.get(key, time.monotonic())
        if known is not None:
            self.metrics.cache.add(1, "hit")
            done(200, *known)
            return True
        # A request with a deadline of its own flies alone: it must not share another's.
        if timeout_s is None and cache.join(key, done):
            self.metrics.cache.add(1, "joined")
            return True
        self.metrics.cache.add(1, "miss")
        return False

    def _flight(self, cache: Cache, key: bytes, done: Done) -> Done:
        cache.begin(key)

        def land(status: int, content_type: bytes, body: bytes) -> None:
            waiting = cache.land(key, status, content_type, body, time.monotonic())
            for each in (done, *waiting):
                each(status, content_type, body)

        return land

    def _admit(self, limit_s: float) -> None:
        if self._closing or not self._ever_ready:
            self.metrics.shed.add(1, "not ready")
            raise Draining("the model is not ready yet", retry_after_s=1.0)
        refusal = self.pace.refusal(len(self._jobs), limit_s)
        if refusal is not None:
            self.metrics.shed.add(1, refusal.reason)
            raise Overloaded(
                f"overloaded ({refusal.reason}); try again later",
                retry_after_s=refusal.retry_after_s,
            )

    def _enqueue(self, job: Job) -> None:
        """Put a job behind all that are as urgent."""
        place = len(self._backlog)
        while place and self._backlog[place - 1].urgency > job.urgency:
            place -= 1
        self._backlog.insert(place, job)

    def _dispatch(self, job: Job) -> bool:
        """Send to the least loaded worker that has room; return False when none has."""
        room = self.pace.max_batch * AHEAD
        best: WorkerHandle | None = None
        for worker in self.workers:
            if worker.ready is not None and len(worker.jobs) < room:
                best, room = worker, len(worker.jobs)
        if best is None:
            return False
        best.send(job)
        return True

    def _feed(self) -> None:
        while self._backlog:
            job = self._backlog[0]
            if job.id in self._jobs and not self._dispatch(job):
                return
            self._backlog.popleft()

    def _learn(self, report: frames.Report) -> float:
        self.metrics.batch_size.observe(report.size)
        self.metrics.predict_time.observe(report.predict_s)
        busy = self.metrics.busy
        busy.add(report.decode_s, "decode")
        busy.add(report.predict_s, "predict")
        busy.add(report.encode_s, "encode")
        if report.length:
            self.metrics.length.add(report.length)
        self.pace.learn(report, self.waiting)
        return report.started_s

    def _reclaim(self, worker: WorkerHandle) -> None:
        running = set(worker.page.running)
        again = []
        for job in worker.jobs.values():
            job.worker = None
            if job.id not in self._jobs:
                job.free()
                continue
            if job.id in running:
                job.attempts += 1
                job.alone = True
            if job.attempts > 1:
                self._fail(job, HandlerFailed("the model's process died while computing this"))
            else:
                again.append(job)
        self._backlog.extendleft(reversed(again))

    def _fail(self, job: Job, error: RequestError) -> None:
        if self._jobs.pop(job.id, None) is not None:
            if job.worker is None:
                job.free()
            body = jsontext.write({"error": type(error).__name__, "message": error.message})
            job.done(error.status, _JSON, body)

    def _give_up(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_result(reason)

    def _replace(self) -> None:
        if not self._closing:
            self._replacing = asyncio.get_running_loop().create_task(self._add_worker())

    async def _add_worker(self) -> None:
        try:
            worker = WorkerHandle(self.settings, self, next(self._numbers), self.arena)
        except OSError as error:
            if self._ever_ready:
                # No file descriptors or memory just now: try again, the front must live on.
                asyncio.get_running_loop().call_later(1.0, self._replace)
            else:
                self._give_up(f"cannot start a worker process: {error}")
            return
        self.workers.append(worker)
        await worker.connect()

    async def _tick(self) -> None:
        next_look_s = 0.0
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for job in [job for job in self._jobs.values() if job.deadline_s < now]:
                self._fail(job, DeadlineExceeded("the deadline passed before the answer was ready"))
            for worker in self.workers:
                self._watch(worker, now)
            if now > next_look_s:
                next_look_s = now + _LOOK_S
                self._look_at_memory(now)

    def _look_at_memory(self, now: float) -> None:
        for process, grown in self.memory.look(self.memory_bytes(), now).items():
            log("memory grows", process=process, grown_mb=round(grown / 2**20, 1))

    def _watch(self, worker: WorkerHandle, now: float) -> None:
        if worker.ready is None:
            return
        worker.stuck_s(now)
        silent_s = worker.silent_s(now)
        if silent_s > self.settings.serving.request_timeout_s:
            log("worker wedged", worker=worker.number, silent_s=round(silent_s, 1))
            worker.kill()
        elif not worker.jobs and now - worker.probed_s > 2 * _TICK_S and silent_s == 0.0:
            worker.probe(now)
