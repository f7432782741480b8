"""The worker processes as the front sees them: start, feed, watch, replace."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from inference_code.engine import frames
from inference_code.engine.arena import Arena, Slot
from inference_code.engine.settings import Settings

#: One thread pool each for BLAS, OpenMP and tokenizers would fight over the worker's threads.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


#: Batches sent ahead to each worker: one to compute, and others to choose similar lengths from.
AHEAD = 8


class Job:
    """One admitted request, owned by the front until ``done(status, content_type, body)`` was called."""

    __slots__ = (
        "alone",
        "arrived_s",
        "attempts",
        "body",
        "deadline_s",
        "done",
        "headers",
        "id",
        "urgency",
        "worker",
    )

    def __init__(
        self,
        id: int,
        body: bytes | Slot,
        headers: bytes,
        arrived_s: float,
        deadline_s: float,
        done: Callable[[int, bytes, bytes], None],
        urgency: int = frames.URGENCY,
    ) -> None:
        self.id = id
        self.body = body
        self.headers = headers
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.done = done
        self.urgency = urgency
        self.attempts = 0
        self.alone = False
        self.worker: WorkerHandle | None = None

    def free(self) -> None:
        """Give up the body: no worker reads it any more."""
        if isinstance(self.body, Slot):
            self.body.release()

    def frame(self) -> bytes:
        """Return the frame that asks a worker to do it."""
        kind, body = frames.INVOKE, self.body
        if isinstance(body, Slot):
            kind, body = frames.INVOKE_SHARED, frames.pack_place(body.index, len(body))
        return frames.pack_request(
            self.id,
            body,
            self.headers,
            self.arrived_s,
            self.deadline_s,
            self.alone,
            kind,
            self.urgency,
        )


class Owner(Protocol):
    """Who hears of what workers do; the engine."""

    def on_ready(self, worker: WorkerHandle, ready: Ready) -> None:
        """A worker has loaded its model and is warm."""

    def on_answers(self, worker: WorkerHandle, answers: list[frames.Answer]) -> None:
        """A worker has answered, or reported a batch."""

    def on_death(self, worker: WorkerHandle, reason: str) -> None:
        """A worker is gone; its process has been reaped."""


@dataclass(frozen=True)
class Ready:
    """What a worker says of itself once warm; ``steps`` are seconds, ``interface`` is JSON schemas.

    ``slowest_s`` is the longest inference of its warm-up, in seconds; ``batch_effect`` and
    ``unbatched`` as in ServedModel.
    """

    max_batch: int
    steps: dict[str, float]
    slowest_s: float
    batch_effect: float | None
    unbatched: str
    pid: int
    wants_headers: bool
    interface: dict[str, Any]


class WorkerHandle(asyncio.Protocol):
    """One worker process. It leaves ``ready`` None until warm."""

    def __init__(self, settings: Settings, owner: Owner, number: int, arena: Arena) -> None:
        self.number = number
        self.ready: Ready | None = None
        self.failure = ""
        self.jobs: dict[int, Job] = {}
        self.started_s = time.monotonic()
        self.probed_s = 0.0
        self._ticks = 0
        self._worked_s = 0.0
        self._owner = owner
        self._outbox: list[bytes] = []
        self._splitter = frames.Splitter()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        capacity = settings.serving.max_batch * AHEAD
        ours, theirs = socket.socketpair()
        page_fd = -1
        try:
            page_fd = frames.StatusPage.create(capacity)
            self.page = frames.StatusPage(page_fd, capacity)
            self._process = _spawn(settings, theirs.fileno(), page_fd, arena.fd)
        finally:
            theirs.close()
            if page_fd >= 0:
                os.close(page_fd)
        self._socket = ours

    async def connect(self) -> None:
        """Start to listen to the process."""
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what the worker says (asyncio calls this)."""
        answers = self._splitter.answers(data)
        if answers and answers[0].id == 0 and answers[0].status in (frames.READY, frames.FAILED):
            first = answers.pop(0)
            if first.status == frames.FAILED:
                self.failure = first.body.decode()
                return
            self.ready = Ready(**json.loads(first.body))
            self._owner.on_ready(self, self.ready)
        if answers:
            self._owner.on_answers(self, answers)

    def connection_lost(self, error: Exception | None) -> None:
        """Reap the process and tell the owner (asyncio calls this)."""
        self.ready = None
        # Its socket is closed, so it is exiting or beyond help: do not wait for it long.
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        reason = self.failure or (f"killed by signal {-code}" if code < 0 else f"exit code {code}")
        self._owner.on_death(self, reason)
        self.page.close()

    def send(self, job: Job) -> None:
        """Send a job; all that is sent in one turn of the event loop goes in one write."""
        self.jobs[job.id] = job
        job.worker = self
        self._write(job.frame())

    def probe(self, now: float) -> None:
        """Ask for a sign of life; it will show in the status page."""
        self.probed_s = now
        self._write(frames.pack_request(0, b"", b"", now, now, kind=frames.PROBE))

    def silent_s(self, now: float) -> float:
        """Return for how long this worker has owed an answer without moving, in seconds."""
        beat = self.page.beat_s
        if self.jobs:
            owed_since = min(next(iter(self.jobs.values())).arrived_s, now)
            return now - max(beat, owed_since)
        return max(0.0, now - self.probed_s) if self.probed_s > beat else 0.0

    def stuck_s(self, now: float) -> float:
        """Return for how long it has neither moved nor used the processor: a long inference is not stuck."""
        silent_s = self.silent_s(now)
        if silent_s > 0.0:
            ticks = _processor_ticks(self.pid)
            if ticks > self._ticks:
                self._ticks, self._worked_s = ticks, now
        return min(silent_s, now - self._worked_s)

    def stop(self) -> None:
        """Hang up; the process then ends by itself."""
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """End the process at once; ``on_death`` follows."""
        self._process.kill()

    def stats(self) -> dict[str, Any]:
        """Return what a person wants to know about this worker."""
        return {
            "number": self.number,
            "pid": self.pid,
            "ready": self.ready is not None,
            "requests": len(self.jobs),
            "memory_mb": round(resident_bytes(self.pid) / 2**20, 1),
        }

    def fileno(self) -> int:
        """Return the file descriptor on which answers come; -1 once hung up."""
        return self._socket.fileno()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def _write(self, frame: bytes) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(frame)

    def _flush(self) -> None:
        data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
        self._outbox.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _spawn(
    settings: Settings, socket_fd: int, page_fd: int, arena_fd: int
) -> subprocess.Popen[bytes]:
    arguments: dict[str, Any] = {
        "model_dir": str(settings.model_dir),
        "serving": asdict(settings.serving),
        "socket": socket_fd,
        "page": page_fd,
        "arena": arena_fd,
        "page_ids": settings.serving.max_batch * AHEAD,
    }
    threads = str(settings.serving.threads)
    environment = dict.fromkeys(_THREAD_VARIABLES, threads)
    return subprocess.Popen(
        [sys.executable, "-m", "inference_code.engine.process", json.dumps(arguments)],
        pass_fds=(socket_fd, page_fd, arena_fd),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**environment, "TOKENIZERS_PARALLELISM": "false", **os.environ},
    )


def resident_bytes(pid: int) -> float:
    """Return the resident memory of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def _processor_ticks(pid: int) -> int:
    """Return the processor time a process has used, in clock ticks; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
