"""An HTTP client that makes load: closed loop, or open loop at a rate.

Closed: N connections, each sends its next request when the last is answered. Open: requests are due at Poisson
times whatever the server does, go out on the first of N connections that is free, and their latency counts from
the time they were due.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

import httptools
import numpy as np
import uvloop

#: Connections of the open loop; a request that is due while all are taken waits, and the wait counts.
OPEN_CONNECTIONS = 128


class Client(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.free(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost += not self._load.over

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._load.in_flight -= 1
        self._load.answered += 1
        self._load.record(self._parser.get_status_code(), now - self._start, now)
        self._parser = httptools.HttpResponseParser(self)
        if not self._load.over:
            self._load.free(self)

    def send(self, request: bytes, due_s: float) -> None:
        """Send one request, whose latency counts from ``due_s``."""
        self._start = due_s
        self._load.in_flight += 1
        self._transport.write(request)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


class Load:
    """What the connections share: the requests in turn, and the latencies."""

    def __init__(self, requests: list[bytes], warm_s: float, seconds: float) -> None:
        self._requests = requests
        self._turn = 0
        self._from = time.perf_counter() + warm_s
        self._until = self._from + seconds
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.in_flight = self.answered = self.lost = 0
        self.lag_s = 0.0
        self.over = False

    def free(self, client: Client) -> None:
        """A connection can take a request: the next one, at once."""
        client.send(self.next_request(), time.perf_counter())

    def next_request(self) -> bytes:
        self._turn += 1
        return self._requests[self._turn % len(self._requests)]

    def record(self, status: int, latency_s: float, now: float) -> None:
        self.over = now > self._until
        if self._from <= now <= self._until:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                self.latencies.append(latency_s)

    async def run(self) -> None:
        """Return when the time is over."""
        while not self.over:
            await asyncio.sleep(0.05)


class OpenLoad(Load):
    """Requests at Poisson times."""

    def __init__(
        self, requests: list[bytes], warm_s: float, seconds: float, rate: float, seed: int = 2
    ) -> None:
        super().__init__(requests, warm_s, seconds)
        count = int(rate * (warm_s + seconds) * 1.05) + 50
        gaps = np.random.default_rng(seed).exponential(1.0 / rate, count)
        self._due = deque((self._from - warm_s + np.cumsum(gaps)).tolist())
        self._idle: list[Client] = []
        self._wake: asyncio.TimerHandle | None = None

    def free(self, client: Client) -> None:
        """A connection can take a request: one that is overdue, or it waits for the next."""
        self._idle.append(client)
        self._send_due()

    def _send_due(self) -> None:
        now = time.perf_counter()
        due, idle = self._due, self._idle
        while due and idle and due[0] <= now:
            idle.pop().send(self.next_request(), due.popleft())
        if due and due[0] > now and self._wake is None:
            self._wake = asyncio.get_running_loop().call_later(due[0] - now, self._woken)

    def _woken(self) -> None:
        self._wake = None
        if self._due:
            # Of a client that cannot keep up the figures would be its own.
            self.lag_s = max(self.lag_s, time.perf_counter() - self._due[0] if self._idle else 0.0)
        self._send_due()

    async def run(self) -> None:
        """Return when the time is over and the answers are there, or have been waited for long enough."""
        while time.perf_counter() < self._until:
            await asyncio.sleep(0.05)
        self._due.clear()


def requests(folder: Path, content_type: str) -> list[bytes]:
    """Return one HTTP request per file of ``folder``."""
    head = "POST /invocations HTTP/1.1\r\nHost: bench\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
    bodies = [path.read_bytes() for path in sorted(folder.iterdir())]
    return [head.format(content_type, len(body)).encode() + body for body in bodies]


async def drive(port: int, load: Load, connections: int, seconds: float) -> dict[str, object]:
    """Load a server; return rate and latencies."""
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", port)
    await load.run()
    found = sorted(load.latencies)
    at = {f"p{q}_ms": round(1000 * found[int(len(found) * q / 100)], 3) for q in (50, 99) if found}
    refused = {str(status): count for status, count in load.statuses.items() if status != 200}
    return {
        "rps": round(len(found) / seconds, 1),
        **at,
        "refused": refused,
        "lost": load.lost,
        "client_lag_ms": round(1000 * load.lag_s, 2),
    }


def main() -> None:
    """``generator.py PORT BODIES CONTENT_TYPE CONNECTIONS SECONDS [RATE]``: print one JSON object."""
    port, folder, content_type, connections, seconds, *rest = sys.argv[1:]
    found = requests(Path(folder), content_type)
    if rest:
        load: Load = OpenLoad(found, 1.0, float(seconds), float(rest[0]))
    else:
        load = Load(found, 1.0, float(seconds))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(drive(int(port), load, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
