"""The faults that ``chaos`` injects: each acts on a running server and returns what it saw.

A fact that is True or False is a bar of its own; others are figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client import connect
from judge import Judge
from subject import Body, Server, with_fault


@dataclass(frozen=True)
class Stage:
    """What a fault may act on."""

    server: Server
    bodies: list[Body]
    judge: Judge
    seconds: float

    async def ask(self, body: Body) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = await connect(self.server.port)
        try:
            return await connection.ask(body.request(), 20.0)
        finally:
            connection.abort()

    async def workers(self) -> list[int]:
        """Return the warm workers' process ids."""
        return await asyncio.to_thread(self.server.workers)

    async def ping_is(self, status: int, within_s: float) -> float:
        """Return the seconds until /ping says so; -1 when it does not."""
        start = time.monotonic()
        while time.monotonic() < start + within_s:
            with contextlib.suppress(OSError):
                connection = await connect(self.server.port, 2.0)
                found, _ = await connection.ask(b"GET /ping HTTP/1.1\r\n\r\n", 2.0)
                connection.abort()
                if found == status:
                    return round(time.monotonic() - start, 3)
            await asyncio.sleep(0.01)
        return -1.0


Facts = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One fault: how to run the server, for how long to load it, how many others are bound to suffer."""

    name: str
    act: Callable[[Stage], Awaitable[Facts]]
    seconds: float
    workers: int = 1
    options: tuple[str, ...] = ()
    harms: float = 0
    files: int | None = None
    log: str = "null"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The server's command line."""
        return ("--workers", str(self.workers), *self.options)


async def inject(fault: Fault, server: Server, bodies: list[Body], judge: Judge) -> Facts:
    """Let the fault happen."""
    return await fault.act(Stage(server, bodies, judge, fault.seconds))


async def _none(stage: Stage) -> Facts:
    await asyncio.sleep(stage.seconds)
    return {}


async def _kill(stage: Stage) -> Facts:
    """Kill a worker five times, each time as soon as all are there again."""
    replaced = []
    count = len(await stage.workers())
    for _ in range(5):
        (victim, *_) = await stage.workers()
        start = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        while True:
            await asyncio.sleep(0.02)
            now = await stage.workers()
            if victim not in now and len(now) == count:
                break
        replaced.append(time.monotonic() - start)
        await asyncio.sleep(0.5)
    return {"kills": 5, "replaced_s": round(max(replaced), 3)}


async def _stop(stage: Stage) -> Facts:
    """Freeze the only worker: health must fail, then a new worker must take over."""
    (victim,) = await stage.workers()
    os.kill(victim, signal.SIGSTOP)
    told_s = await stage.ping_is(503, 5.0)
    back_s = await stage.ping_is(200, 20.0)
    return {"told_s": told_s, "back_s": back_s, "told within 2 s": 0 <= told_s <= 2.0}


async def _stop_one(stage: Stage) -> Facts:
    """Freeze one worker of two: the other must carry on for everyone but those it was computing."""
    (victim, *_) = await stage.workers()
    os.kill(victim, signal.SIGSTOP)
    await asyncio.sleep(stage.seconds - 1)
    return {"frozen_replaced": victim not in await stage.workers()}


async def _raise(stage: Stage) -> Facts:
    """Forty requests a second whose computation raises; each must get 500, and only it."""
    return await _failing(stage, "raise", every_s=0.025)


async def _poison(stage: Stage) -> Facts:
    """Requests that kill the process that computes them: each gets 500, its neighbours their answers."""
    return await _failing(stage, "die", every_s=3.0)


async def _failing(stage: Stage, fault: str, every_s: float) -> Facts:
    bad = with_fault(stage.bodies[0], fault)
    end = time.monotonic() + stage.seconds - 2
    tasks = []
    while time.monotonic() < end:
        tasks.append(asyncio.create_task(stage.ask(bad)))
        await asyncio.sleep(every_s)
    statuses = [status for status, _ in await asyncio.gather(*tasks)]
    return {"bad_requests": len(statuses), "each got 500": set(statuses) == {500}}


async def _full_disk(stage: Stage) -> Facts:
    """Every failure wants to be logged, on a disk without room."""
    facts = await _failing(stage, "raise", every_s=0.02)
    await _kill(stage)
    return facts


async def _stuck_log(stage: Stage) -> Facts:
    """The same, and nobody reads the pipe that the log goes to."""
    return await _failing(stage, "raise", every_s=0.02)


async def _descriptors(stage: Stage) -> Facts:
    """A crowd takes every descriptor; then a worker dies and cannot be replaced until the crowd goes."""
    crowd = await _crowd(stage.server.port, 300)
    await asyncio.sleep(2.0)
    held = stage.server.open_files()
    for sock in crowd:
        sock.close()
    back_s = await stage.ping_is(200, 5.0)
    return {"open_files": held, "back_s": back_s, "back within 2 s": 0 <= back_s <= 2.0}


async def _idle(stage: Stage) -> Facts:
    """Ten thousand connections that say nothing."""
    before_mb = await asyncio.to_thread(stage.server.memory_mb)
    start = time.monotonic()
    crowd = await _crowd(stage.server.port, 10_000)
    opened_s = time.monotonic() - start
    await asyncio.sleep(3.0)
    connections = await asyncio.to_thread(stage.server.metric, "inference_connections")
    grown_mb = await asyncio.to_thread(stage.server.memory_mb) - before_mb
    for sock in crowd:
        sock.close()
    return {
        "connections": connections,
        "opened_s": round(opened_s, 2),
        "kb_per_connection": round(grown_mb * 1024 / 10_000, 2),
        "all were held": connections >= 10_000,
    }


async def _crowd(port: int, count: int) -> list[socket.socket]:
    crowd = []
    for turn in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        crowd.append(sock)
        if turn % 100 == 0:
            await asyncio.sleep(0.02)
    return crowd


async def _slow_loris(stage: Stage) -> Facts:
    """Three hundred heads and a hundred bodies that drip a byte a second; each must be shown out."""
    head = b"GET /ping HTTP/1.1\r\nx-slow: "
    body = b"POST /invocations HTTP/1.1\r\ncontent-length: 5000\r\n\r\n"
    drips = [_drip(stage.server.port, head if n % 4 else body) for n in range(400)]
    ends = await asyncio.gather(*drips)
    told = sum(answer.startswith(b"HTTP/1.1 408 ") for _, answer in ends)
    held_s = max(seconds for seconds, _ in ends)
    return {"held_s": round(held_s, 1), "told_408": told, "all shown out in 15 s": held_s <= 15.0}


async def _drip(port: int, data: bytes) -> tuple[float, bytes]:
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(reader.read())
    answer = b""
    with contextlib.suppress(OSError):
        writer.write(data)
        while not reading.done() and time.monotonic() < start + 25:
            writer.write(b"a")
            await asyncio.wait([reading], timeout=1.0)
        answer = await asyncio.wait_for(reading, 1.0)
    writer.close()
    return time.monotonic() - start, answer


async def _half_closed(stage: Stage) -> Facts:
    """Clients that shut their sending side, vanish half way, or reset before the answer."""
    end = time.monotonic() + stage.seconds - 2
    owed, right = 0, 0
    while time.monotonic() < end:
        index = owed % len(stage.bodies)
        request = stage.bodies[index].request()
        owed += 1
        right += await _shut_then_read(stage, request, index)
        await _vanish(stage.server.port, request[: len(request) // 2], reset=False)
        await _vanish(stage.server.port, request[: len(request) // 2], reset=True)
        await _vanish(stage.server.port, request, reset=True)
        await asyncio.sleep(0.01)
    return {"half_closed": owed, "each half-closed client got its answer": right == owed}


async def _shut_then_read(stage: Stage, request: bytes, index: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.server.port)
    writer.write(request)
    writer.write_eof()
    try:
        answer = await asyncio.wait_for(reader.read(), 3.0)
    except TimeoutError:  # answered perhaps, but the connection was left open for ever
        return False
    finally:
        writer.close()
    return answer.startswith(b"HTTP/1.1 200 ") and stage.judge.right(
        index, answer.partition(b"\r\n\r\n")[2]
    )


async def _vanish(port: int, data: bytes, reset: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    if reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def _deaf(stage: Stage) -> Facts:
    """Fifty clients that ask for much at once and never read an answer."""
    before_mb = await asyncio.to_thread(stage.server.memory_mb)
    writers = []
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", stage.server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n" * 20)
        writers.append(writer)
    await asyncio.sleep(stage.seconds - 2)
    grown_mb = await asyncio.to_thread(stage.server.memory_mb) - before_mb
    for writer in writers:
        writer.transport.abort()
    return {"grown_mb": round(grown_mb, 1), "hoards less than 64 MB": grown_mb < 64}


@contextlib.contextmanager
def log_for(fault: Fault) -> Iterator[Any]:
    """Open what the server's log goes to: nothing, a disk without room, or a pipe that nobody reads."""
    if fault.log == "pipe":
        reading, writing = os.pipe()
        try:
            yield writing
        finally:
            os.close(writing)
            os.close(reading)
    elif fault.log == "full":
        with _full_disk_file() as file:
            yield file
    else:
        yield subprocess.DEVNULL


@contextlib.contextmanager
def _full_disk_file() -> Iterator[Any]:
    """A log file on a full tmpfs; /dev/full, which fails alike, where mounting is not allowed."""
    with tempfile.TemporaryDirectory(prefix="deployer-disk-") as name:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            with open("/dev/full", "wb", buffering=0) as file:
                yield file
            return
        try:
            with contextlib.suppress(OSError):
                (Path(name) / "filler").write_bytes(b"x" * 65536)
            with (Path(name) / "log").open("wb", buffering=0) as file:
                yield file
        finally:
            subprocess.run(["umount", "-l", name], check=True)


#: What a frozen worker was computing when it froze cannot be answered in time: one batch.
_FULL_BATCH = 8

ALL = {
    fault.name: fault
    for fault in (
        Fault("none", _none, 5.0),
        Fault("kill", _kill, 14.0),
        Fault("kill-1-of-2", _kill, 14.0, workers=2),
        Fault("stop", _stop, 9.0, options=("--request-timeout-s", "4"), harms=float("inf")),
        Fault("stop-1-of-2", _stop_one, 9.0, 2, ("--request-timeout-s", "4"), _FULL_BATCH),
        Fault("raise", _raise, 7.0),
        Fault("poison", _poison, 14.0),
        Fault("full-disk", _full_disk, 14.0, log="full"),
        Fault("stuck-log", _stuck_log, 9.0, log="pipe"),
        Fault("descriptors", _descriptors, 8.0, files=128),
        Fault("slow-loris", _slow_loris, 16.0),
        Fault("half-closed", _half_closed, 8.0),
        Fault("idle-10000", _idle, 12.0),
        Fault("deaf", _deaf, 6.0),
    )
}
