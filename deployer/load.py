"""Open-loop load: send each request of a trace at its intended time, whatever the server does.

Latency counts from the intended time. A server or a client that stalls therefore cannot hide the wait of
the requests that fell due meanwhile (coordinated omission). Nothing is ever sent twice: a connection that
breaks under a request is a request without an answer.

Subtleness ahead: asyncio's epoll waits whole milliseconds, which would shift every arrival by up to one.
``_FineSelector`` waits with select(2) on the epoll descriptor instead, to the microsecond.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

from deployer import machine
from deployer.clients.base import Body, Endpoint
from deployer.clients.connection import Connection
from deployer.errors import InputError, Interrupted, Unreachable
from deployer.progress import Say, silent
from deployer.runs import NO_ANSWER, CapacityTimeline, Run
from deployer.traffic.trace import TrafficTrace

LAG_LIMIT_S = 0.005
"""Sending later than this, for more than 1% of requests, makes the latencies the generator's own."""

_SWEEP_S = 0.05
_FD_SETSIZE = 1024  # select(2) knows no descriptor from here up
_BURST = 64  # requests sent back to back before answers get a turn


def loadtest(
    url: str,
    trace: TrafficTrace,
    bodies: Sequence[Body],
    *,
    timeout_s: float = 60.0,
    max_connections: int = 512,
    instances: int = 1,
    say: Say = silent,
) -> Run:
    """Send the trace to ``url``, taking the bodies in turn, and return what happened to each request.

    ``timeout_s`` counts from the intended time. ``max_connections`` bounds the pool; a request that waits
    for a free one shows in latency and lag alike. ``instances`` is how many serve, for the capacity line.
    ``say`` hears progress once a second.
    ``details["warnings"]`` tells when the generator, not the server, set the numbers.

    Raises InputError for a bad URL or no body, Unreachable when nothing listens there (then nothing was
    sent), Interrupted on Ctrl-C.
    """
    endpoint = Endpoint.parse(url)
    if not bodies:
        raise InputError("there is no request body to send", hint="give --data FILE or --bundle")
    if not 0 < timeout_s < float("inf"):
        raise InputError(f"the time-out must be a positive number of seconds, not {timeout_s!r}")
    if max_connections < 1:
        raise InputError(f"connections must be at least 1, not {max_connections!r}")
    driver = _Driver(endpoint, trace, bodies, _Bounds(timeout_s, max_connections), say)
    started = datetime.now(UTC)
    gc.freeze()  # what exists now need not be scanned while the clock runs
    try:
        _drive(driver)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped after {driver.sent} of {len(trace)} requests") from None
    finally:
        gc.unfreeze()
    return driver.result(started, instances)


def _drive(driver: _Driver) -> None:
    """Run the driver on a loop of its own; in another thread where one runs here, as in a notebook."""

    def drive() -> None:
        with asyncio.Runner(loop_factory=_precise_loop) as runner:
            runner.run(driver.run())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        drive()
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(drive).result()


class _Bounds(NamedTuple):
    timeout_s: float
    max_connections: int


class _Driver:
    """Pacer and connection pool of one load test; also the connections' Listener."""

    def __init__(
        self,
        endpoint: Endpoint,
        trace: TrafficTrace,
        bodies: Sequence[Body],
        bounds: _Bounds,
        say: Say,
    ) -> None:
        n = len(trace)
        self._endpoint, self._trace, self._bounds, self._say = endpoint, trace, bounds, say
        self._due: list[float] = trace.arrival_s.tolist()
        self._bodies = bodies
        self._requests = [_request_bytes(endpoint, body) for body in bodies]
        self._lag = np.full(n, np.nan)
        self._done = np.full(n, np.nan)
        self._status = np.full(n, NO_ANSWER, dtype=np.int16)
        self._size = np.zeros(n, dtype=np.int64)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._waiting: deque[int] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._open = 0
        self._peak = 0
        self._left = n
        self._timeouts = 0
        self.sent = 0

    async def run(self) -> None:
        """Drive the whole trace and wait for the last answer or its time-out."""
        loop = asyncio.get_running_loop()
        self._finished = loop.create_future()
        self._tls = ssl.create_default_context() if self._endpoint.tls else None
        await self._reach()
        self._start = time.monotonic() + 0.02
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._pace()
            await self._finished
        finally:
            sweeper.cancel()
            for task in self._opening:
                task.cancel()
            for connection in (*self._idle, *self._busy):
                connection.abort()
            await asyncio.gather(sweeper, *self._opening, return_exceptions=True)

    async def _reach(self) -> None:
        """Resolve the name once, and open the first connection, so that a wrong address fails early."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._endpoint.host, self._endpoint.port, type=1)
            self._address = str(found[0][4][0])
            connection = await self._connect()
        except (OSError, TimeoutError) as error:
            reason = _reason(error)
            raise Unreachable(
                f"nothing answers at {self._endpoint}: {reason}",
                hint="is the server running? `deployer serve BUNDLE` starts one",
            ) from error
        self._idle.append(connection)

    async def _pace(self) -> None:
        for index, due in enumerate(self._due):
            delay = self._start + due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            elif index % _BURST == 0:
                await asyncio.sleep(0)
            self._issue(index)

    def _issue(self, index: int) -> None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:
                self._carry(connection, index)
                return
        if self._open < self._bounds.max_connections:
            self._lag[index] = time.monotonic() - self._start - self._due[index]
            task = asyncio.create_task(self._open_for(index))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            self._waiting.append(index)

    async def _open_for(self, index: int) -> None:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError):
            self._finish(index, NO_ANSWER)
            self._serve_waiting()
            return
        self._carry(connection, index)

    async def _connect(self) -> Connection:
        self._open += 1
        self._peak = max(self._peak, self._open)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    self._address,
                    self._endpoint.port,
                    ssl=self._tls,
                    server_hostname=self._endpoint.host if self._tls else None,
                )
        except BaseException:
            self._open -= 1
            raise
        return connection

    def _carry(self, connection: Connection, index: int) -> None:
        if np.isnan(self._lag[index]):
            self._lag[index] = time.monotonic() - self._start - self._due[index]
        self._busy.add(connection)
        self.sent += 1
        connection.send(index, self._requests[index % len(self._requests)])

    def answered(
        self, connection: Connection, request: int, status: int, size: int, reusable: bool
    ) -> None:
        """Record an answer and give the connection its next request."""
        self._done[request] = time.monotonic() - self._start
        self._size[request] = size
        self._busy.discard(connection)
        self._finish(request, status)
        if not reusable:
            connection.abort()
        elif self._waiting:
            self._carry(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection, request: int | None) -> None:
        """Record that a request got no answer; its place in the pool is free."""
        self._open -= 1
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if request is not None:
            self._finish(request, NO_ANSWER)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        if self._waiting and not self._finished.done():
            self._issue(self._waiting.popleft())

    def _finish(self, index: int, status: int) -> None:
        self._status[index] = status
        self._left -= 1
        if self._left == 0 and not self._finished.done():
            self._finished.set_result(None)

    async def _sweep(self) -> None:
        """Give up on what is past its time-out; tell the progress."""
        told = time.monotonic()
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._bounds.timeout_s / 4))
            now = time.monotonic()
            oldest = now - self._start - self._bounds.timeout_s
            for connection in [
                c for c in self._busy if c.request is not None and self._due[c.request] < oldest
            ]:
                self._timeouts += 1
                connection.abort()
            while self._waiting and self._due[self._waiting[0]] < oldest:
                self._timeouts += 1
                self._finish(self._waiting.popleft(), NO_ANSWER)
            if now - told >= 1.0:
                told = now
                self._say(self._progress())

    def _progress(self) -> str:
        answered = len(self._due) - self._left
        good = int(np.count_nonzero(self._status == 200))
        return (
            f"{self.sent:,} of {len(self._due):,} requests sent, {good:,} answered 200, "
            f"{answered - good:,} failed or refused, {self.sent - answered:,} in flight"
        )

    def result(self, started: datetime, instances: int) -> Run:
        """Return the Run, in seconds from the start of the trace."""
        n = len(self._due)
        sizes = [len(body.content) for body in self._bodies]
        lags = self._lag[~np.isnan(self._lag)]
        return Run(
            provenance="measured",
            duration_s=self._trace.duration_s,
            intended_s=self._trace.arrival_s,
            done_s=self._done,
            status=self._status,
            request_bytes=np.fromiter(islice(cycle(sizes), n), dtype=np.int64, count=n),
            response_bytes=self._size,
            capacity=CapacityTimeline.fixed(instances),
            max_lag_s=float(lags.max()) if len(lags) else None,
            details={
                "url": str(self._endpoint),
                "date": started.isoformat(timespec="seconds"),
                "trace": self._trace.name,
                "trace_digest": self._trace.digest,
                "hardware": machine.describe(),
                "bodies": len(self._bodies),
                "connections": self._peak,
                "timeouts": self._timeouts,
                "timeout_s": self._bounds.timeout_s,
                "lag_p99_ms": float(np.percentile(lags, 99) * 1000) if len(lags) else None,
                "warnings": _warnings(lags, n, self._peak, self._bounds),
            },
        )


def _warnings(lags: np.ndarray, offered: int, peak: int, bounds: _Bounds) -> list[str]:
    """Say when the generator was the bottleneck: it sent late, or ran out of connections."""
    found = []
    late = int(np.count_nonzero(lags > LAG_LIMIT_S)) + offered - len(lags)
    if late > offered / 100:
        found.append(
            f"the generator sent {late:,} of {offered:,} requests more than {LAG_LIMIT_S * 1000:g} ms late "
            "or never: part of these latencies is its own"
        )
    if peak >= bounds.max_connections:
        found.append(
            f"all {bounds.max_connections} connections were in use: raise --connections, "
            "or the server is slower than the offered load"
        )
    return found


def _reason(error: OSError) -> str:
    """Say in few words why a connection failed; asyncio's own words hide the system's."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or "no answer in time"
    return os.strerror(error.errno)


def _request_bytes(endpoint: Endpoint, body: Body) -> bytes:
    head = (
        f"POST {endpoint.path} HTTP/1.1\r\nHost: {endpoint.authority}\r\n"
        f"Content-Type: {body.content_type}\r\nContent-Length: {len(body.content)}\r\n\r\n"
    )
    return head.encode("latin-1") + body.content


if hasattr(selectors, "EpollSelector"):

    class _FineSelector(selectors.EpollSelector):
        """epoll whose time-out is exact to the microsecond instead of the millisecond."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0 and self.fileno() < _FD_SETSIZE:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)

    def _precise_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_FineSelector())

else:  # kqueue's time-out is fine enough

    def _precise_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop()
