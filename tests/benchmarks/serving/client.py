"""An asyncio client that keeps every outcome: open loop at intended times, or closed loop.

``deployer.load`` counts statuses; here every answer's body is judged too, and connections may break.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, cast

import httptools
import numpy as np
from judge import Judge
from subject import Body

#: Statuses of what got no HTTP answer.
LOST, HUNG = 0, -1


class Outcome(NamedTuple):
    """One request's fate; times in seconds on the monotonic clock: meant to go, gone, ended."""

    due_s: float
    sent_s: float
    done_s: float
    status: int
    right: bool

    @property
    def latency_s(self) -> float:
        """From the intended time to the answer."""
        return self.done_s - self.due_s


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body: list[bytes] = []
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((LOST, b""))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self.closed = True
            self._transport.close()
        self._parser = httptools.HttpResponseParser(self)

    def abort(self) -> None:
        """Drop the connection."""
        self.closed = True
        self._transport.abort()

    async def ask(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send one request; return status and body, LOST when the connection broke, HUNG on time-out."""
        self._answer = asyncio.get_running_loop().create_future()
        self._body = []
        self._transport.write(request)
        handle = asyncio.get_running_loop().call_later(timeout_s, self._give_up)
        try:
            return await self._answer
        finally:
            handle.cancel()

    def _give_up(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((HUNG, b""))
        self.abort()


class Pool:
    """Keep-alive connections to one server, opened as needed."""

    def __init__(self, port: int, limit: int = 4096, timeout_s: float = 30.0) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(limit)
        self._timeout_s = timeout_s

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request on an idle connection or a new one; a stale idle one is replaced."""
        async with self._room:
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed:
                    break
            else:
                try:
                    connection = await connect(self._port, self._timeout_s)
                except (OSError, TimeoutError):
                    return LOST, b""
            answer = await connection.ask(request, self._timeout_s)
            if not connection.closed:
                self._idle.append(connection)
            return answer

    def close(self) -> None:
        """Drop the idle connections."""
        for connection in self._idle:
            connection.abort()


async def connect(port: int, timeout_s: float = 30.0) -> Connection:
    """Open one connection."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    return connection


class Load:
    """Bodies in turn, judged; ``outcomes`` grows as answers come."""

    def __init__(
        self, port: int, bodies: Sequence[Body], judge: Judge, headers: bytes = b"",
        timeout_s: float = 30.0,
    ) -> None:  # fmt: skip
        self._requests = [body.request(headers) for body in bodies]
        self._judge = judge
        self._pool = Pool(port, timeout_s=timeout_s)
        self.outcomes: list[Outcome] = []

    async def open_loop(self, offsets_s: Sequence[float]) -> None:
        """Send a request at each offset from now, whatever the server does; return when all have ended."""
        start = time.monotonic() + 0.05
        tasks: set[asyncio.Task[None]] = set()
        for turn, offset in enumerate(offsets_s):
            delay = start + offset - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            elif turn % 16 == 0:
                await asyncio.sleep(0)
            task = asyncio.ensure_future(self._one(turn % len(self._requests), start + offset))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        while tasks:
            await asyncio.wait(tasks)
        self._pool.close()

    async def closed_loop(self, connections: int, seconds: float) -> float:
        """Keep ``connections`` requests in flight; return right answers per second after a warm-up."""
        end = time.monotonic() + seconds

        async def client(turn: int) -> None:
            while time.monotonic() < end:
                await self._one(turn % len(self._requests), time.monotonic())
                turn += connections

        await asyncio.gather(*(client(number) for number in range(connections)))
        begin = end - 0.8 * seconds
        good = sum(o.status == 200 and o.right and begin <= o.done_s <= end for o in self.outcomes)
        return good / (0.8 * seconds)

    async def _one(self, index: int, due_s: float) -> None:
        sent_s = time.monotonic()
        status, body = await self._pool.ask(self._requests[index])
        done_s = time.monotonic()
        right = status != 200 or self._judge.right(index, body)
        self.outcomes.append(Outcome(due_s, sent_s, done_s, status, right))


def tally(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count outcomes: offered, right, wrong (200 with another answer), refused, failed, lost, hung."""
    statuses = Counter(o.status for o in outcomes)
    wrong = sum(o.status == 200 and not o.right for o in outcomes)
    return {
        "offered": len(outcomes),
        "right": statuses[200] - wrong,
        "wrong": wrong,
        "refused": statuses[503] + statuses[429],
        "late": statuses[504],
        "failed": sum(n for status, n in statuses.items() if status in (500, 501, 502)),
        "lost": statuses[LOST],
        "hung": statuses[HUNG],
    }


def percentile_ms(outcomes: Sequence[Outcome], q: float) -> float:
    """Return a percentile of the latency of right answers, in milliseconds; NaN of none."""
    found = [o.latency_s for o in outcomes if o.status == 200 and o.right]
    return round(1000 * float(np.percentile(found, q)), 3) if found else float("nan")


def lag_ms(outcomes: Sequence[Outcome]) -> float:
    """Return how late this client itself sent, as p99 in milliseconds: beyond some, it measures itself."""
    return round(1000 * float(np.percentile([o.sent_s - o.due_s for o in outcomes], 99)), 3)
