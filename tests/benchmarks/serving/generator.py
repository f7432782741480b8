"""A closed-loop HTTP client: N connections, each sends its next request when the last is answered."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import httptools
import uvloop


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost += not self._load.over

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._load.record(self._parser.get_status_code(), now - self._start, now)
        self._parser = httptools.HttpResponseParser(self)
        if not self._load.over:
            self._send()

    def _send(self) -> None:
        self._start = time.perf_counter()
        self._transport.write(self._load.next_request())  # type: ignore[attr-defined]


class Load:
    """What the connections share: the requests in turn, and the latencies."""

    def __init__(self, requests: list[bytes], warm_s: float, seconds: float) -> None:
        self._requests = requests
        self._turn = 0
        self._from = time.perf_counter() + warm_s
        self._until = self._from + seconds
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.lost = 0
        self.over = False

    def next_request(self) -> bytes:
        self._turn += 1
        return self._requests[self._turn % len(self._requests)]

    def record(self, status: int, latency_s: float, now: float) -> None:
        self.over = now > self._until
        if self._from <= now <= self._until:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                self.latencies.append(latency_s)


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
    while not load.over:
        await asyncio.sleep(0.05)
    found = sorted(load.latencies)
    at = {f"p{q}_ms": round(1000 * found[int(len(found) * q / 100)], 3) for q in (50, 99) if found}
    refused = {str(status): count for status, count in load.statuses.items() if status != 200}
    return {"rps": round(len(found) / seconds, 1), **at, "refused": refused, "lost": load.lost}


def main() -> None:
    """``generator.py PORT BODIES CONTENT_TYPE CONNECTIONS SECONDS``: print one JSON object."""
    port, folder, content_type, connections, seconds = sys.argv[1:6]
    load = Load(requests(Path(folder), content_type), warm_s=1.0, seconds=float(seconds))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(drive(int(port), load, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
