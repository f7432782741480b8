"""A tiny HTTP server that delays, stalls, cuts or refuses on order, and a small bundle that serves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httptools
import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Behaviour:
    """How the server behaves; ``seen`` collects (content type, body) of every request.

    ``answer`` gets the number of the request and returns the bytes, or None to cut the connection.
    ``delay_s`` gets the number of the request; ``stall`` = (from_s, to_s) answers nothing in between.
    """

    answer: Callable[[int], bytes | None] = lambda number: OK
    delay_s: Callable[[int], float] = lambda number: 0.0
    stall: tuple[float, float] = (0.0, 0.0)
    close_after: bool = False
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0
    first_at: float | None = None


class _Connection(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.parser = httptools.HttpRequestParser(self)
        self.content_type = ""
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.behaviour.connections += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.content_type = value.decode()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        loop = asyncio.get_running_loop()
        number = len(self.behaviour.seen)
        self.behaviour.seen.append((self.content_type, self.body))
        self.body = b""
        now = loop.time()
        if self.behaviour.first_at is None:
            self.behaviour.first_at = now
        begun, ended = (self.behaviour.first_at + edge for edge in self.behaviour.stall)
        wait = self.behaviour.delay_s(number)
        if begun <= now < ended:
            wait += ended - now
        loop.call_later(wait, self.reply, number)

    def reply(self, number: int) -> None:
        answer = self.behaviour.answer(number)
        if answer is None:
            self.transport.abort()
        else:
            self.transport.write(answer)
            if self.behaviour.close_after:
                self.transport.close()


@contextmanager
def web_server(behaviour: Behaviour) -> Iterator[str]:
    """Serve by ``behaviour`` on a free port of 127.0.0.1, in a thread; yields the URL."""
    started = threading.Event()
    found: dict[str, object] = {}

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(behaviour), "127.0.0.1", 0)
        found["port"] = server.sockets[0].getsockname()[1]
        found["loop"], found["stop"] = loop, asyncio.Event()
        started.set()
        await found["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(10)
    try:
        yield f"http://127.0.0.1:{found['port']}"
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(10)


@pytest.fixture
def web() -> SimpleNamespace:
    """``web.server(web.Behaviour(...))`` serves while its block runs."""
    return SimpleNamespace(server=web_server, Behaviour=Behaviour, OK=OK)


HANDLER = """
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        self.version = context.model.read_text()
        if self.version == "broken":
            raise RuntimeError("these weights are broken")

    def predict(self, items):
        return [{"version": self.version, "echo": item} for item in items]
"""


@pytest.fixture(scope="session")
def echo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that packages a bundle whose answers tell its version; each is made once."""
    from deployer import api
    from inference_code.contract import ServingConfig

    made: dict[tuple[str, str], Path] = {}

    def make(version: str = "1", handler: str = HANDLER) -> Path:
        if (version, handler) not in made:
            folder = tmp_path_factory.mktemp("echo")
            (folder / "samples").mkdir()
            (folder / "samples" / "one.json").write_text(json.dumps({"x": [1, 2, 3]}))
            (folder / "weights.txt").write_text(version)
            (folder / "handler.py").write_text(handler)
            made[version, handler] = api.package(
                folder / "weights.txt",
                folder / "dist",
                name="echo",
                handler=folder / "handler.py",
                samples=folder / "samples",
                serving=ServingConfig(drain_s=2.0),  # a short drain: stops are many
            ).path
        return made[version, handler]

    return make
