"""One HTTP/1.1 connection: parse by llhttp, keep the limits, answer in order.

Every limit is on time or on bytes, so that no client can hold the server: a header deadline, a body
deadline that grows with what has come, an idle limit (longer than a load balancer's 60 s), sizes of
head and body, and requests in flight per connection.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Protocol, cast

import httptools

from inference_code.engine.arena import Slot
from inference_code.errors import (
    BadRequest,
    RequestError,
    RequestTimeout,
)
from inference_code.server import refusals
from inference_code.server.exchange import Exchange
from inference_code.server.head import Head, Heads

MAX_PIPELINED = 16
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 10.0
#: A body may take BODY_TIMEOUT_S plus the time this rate needs.
MIN_BODY_BYTES_PER_S = 64 * 1024
IDLE_TIMEOUT_S = 75.0
WRITE_TIMEOUT_S = 30.0
#: After an early refusal the rest of the body is read and dropped this long, so that the client sees it.
LINGER_S = 2.0

_PART_BYTES = 512 * 1024
_NEVER = float("inf")
_NO_HEAD = Head(b"", b"", {})


class App(Protocol):
    """What a connection asks of the application."""

    max_body_bytes: int
    draining: bool
    scratch: memoryview
    heads: Heads
    connections: set[Connection]

    def connected(self, connection: Connection) -> None:
        """A client has come."""

    def handle(self, exchange: Exchange) -> None:
        """Answer the exchange, now or later."""

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Answer a request that could not be read."""

    def slot(self, target: bytes, length: int) -> Slot | None:
        """Return shared memory to receive a large body in, if there is some."""

    def abandoned(self, exchange: Exchange) -> None:
        """The client has gone before its answer was ready."""


class Connection(asyncio.BufferedProtocol):
    """The asyncio protocol; the parser calls its ``on_...`` methods."""

    __slots__ = (
        "_app",
        "_begun",
        "_body",
        "_body_start_s",
        "_ended",
        "_fed",
        "_head",
        "_head_bytes",
        "_head_count",
        "_headers",
        "_in_head",
        "_in_message",
        "_lingering",
        "_low_water",
        "_parser",
        "_paused",
        "_pending",
        "_received",
        "_slot",
        "_target",
        "_transport",
        "asked",
        "deadline_s",
    )

    def __init__(self, app: App) -> None:
        self._app = app
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[Exchange] = deque()
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head = _NO_HEAD
        self._head_bytes = self._head_count = 0
        self._fed = self._begun = 0
        self._in_head = self._in_message = False
        self._body: bytes | bytearray = b""
        self._body_start_s = 0.0
        self._received = 0
        self._slot: Slot | None = None
        self._low_water = 1
        self._lingering = False
        self._ended = False
        self._paused = False
        self.asked = False
        self.deadline_s = _NEVER

    # --- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 20)
        self.deadline_s = time.monotonic() + IDLE_TIMEOUT_S
        self._app.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Give up what was still to be answered."""
        self._transport = None
        self._app.connections.discard(self)
        for exchange in self._pending:
            if exchange.output is None:
                self._app.abandoned(exchange)
        self._pending.clear()
        self._drop_slot()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend memory to read into: the body's own place, or the buffer that all connections share."""
        if self._slot is not None and not self._lingering:
            return self._slot.view[self._received :]
        return self._app.scratch

    def buffer_updated(self, count: int) -> None:
        """Parse what has come."""
        if self._lingering:
            return
        if self._slot is not None:
            self._received += count
            missing = len(self._slot) - self._received
            self._wake_seldom(missing)
            if missing:
                self._body_progress()
            else:
                # The parser has not seen the body, so the next request gets a new one.
                self._parser = httptools.HttpRequestParser(self)
                self._complete()
            return
        received = bytes(self._app.scratch[:count])
        if self._in_message or not self._head.keep_alive:
            self._parse(received)
        elif (known := self._app.heads.find(received)) is not None:
            self._head, self._body = known
            self._complete()
        else:
            begun = self._begun
            self._parse(received)
            if not self._in_message and self._begun == begun + 1:
                self._app.heads.keep(received, self._head, self._received)

    def eof_received(self) -> bool:
        """Keep a half-closed connection open while an answer is owed, and no longer."""
        self._ended = True
        return bool(self._pending)

    def pause_writing(self) -> None:
        """Read nothing more from a client that does not take its answers."""
        self.deadline_s = time.monotonic() + WRITE_TIMEOUT_S
        self._pause()

    def resume_writing(self) -> None:
        """Read again."""
        self.deadline_s = _NEVER if self._pending else time.monotonic() + IDLE_TIMEOUT_S
        self._resume()

    # --- called by the parser

    def on_message_begin(self) -> None:
        """Start the clock for the head."""
        self._in_head = self._in_message = True
        self._begun += 1
        self._fed = self._head_bytes = self._head_count = self._received = 0
        self._target = b""
        self._headers = {}
        self._body = b""
        self.deadline_s = time.monotonic() + HEAD_TIMEOUT_S

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._target += url
        if len(self._target) > refusals.MAX_HEAD_BYTES:
            raise refusals.head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._head_bytes += len(name) + len(value) + 4
        self._head_count += 1
        if self._head_bytes > refusals.MAX_HEAD_BYTES or self._head_count > refusals.MAX_HEADERS:
            raise refusals.head_too_large()
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Refuse what need not be read to the end."""
        self._in_head = False
        headers = self._headers
        if self._parser.should_upgrade():
            raise BadRequest("upgrading the protocol is not offered; speak HTTP/1.1")
        length = int(headers.get(b"content-length", b"0"))
        if length > self._app.max_body_bytes:
            raise refusals.body_too_large(self._app.max_body_bytes)
        self._head = Head(
            self._parser.get_method(), self._target, headers, self._parser.should_keep_alive()
        )
        self._slot = self._app.slot(self._target, length)
        self._body_start_s = time.monotonic()
        self.deadline_s = self._body_start_s + BODY_TIMEOUT_S
        if headers.get(b"expect", b"").lower() == b"100-continue" and not self._pending:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        start = self._received
        self._received += len(data)
        if self._slot is not None:
            self._slot.view[start : self._received] = data
            return
        if self._received > self._app.max_body_bytes:
            raise refusals.body_too_large(self._app.max_body_bytes)
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data
        self._body_progress()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._complete()

    def _complete(self) -> None:
        self._in_message = False
        self.asked = True
        self.deadline_s = _NEVER
        exchange = Exchange(self, self._head)
        self._pending.append(exchange)
        if self._slot is not None:
            exchange.body, self._slot = self._slot, None
        else:
            exchange.body = self._body if isinstance(self._body, bytes) else bytes(self._body)
        exchange.close = not self._head.keep_alive
        self._body = b""
        if len(self._pending) >= MAX_PIPELINED:
            self._pause()
        self._app.handle(exchange)

    # --- called by exchanges and by the server

    def flush(self) -> None:
        """Send the answers that are due, in the order of the requests."""
        while self._pending and (output := self._pending[0].output) is not None:
            exchange = self._pending.popleft()
            self._write(output)
            if exchange.close or (self._ended and not self._pending):
                self._close()
                return
        if not self._pending and not self._in_head:
            self.deadline_s = time.monotonic() + IDLE_TIMEOUT_S
        if self._paused and len(self._pending) < MAX_PIPELINED:
            self._resume()

    @property
    def peer(self) -> bytes:
        """The address at the other end, without its port; b"" when it is gone."""
        name = self._transport and self._transport.get_extra_info("peername")
        return str(name[0]).encode() if name else b""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way here: neither a request nor an answer."""
        return not (self._pending or self._in_message or self._lingering)

    def expire(self) -> None:
        """The deadline has passed: say so if a request was half sent, and close."""
        if self._lingering or self._transport is None or self._pending:
            self.abort()
        elif self._in_message:
            self._refuse(RequestTimeout("the request did not arrive in time"))
        else:
            self._transport.close()

    def close_when_idle(self) -> None:
        """Close now if nothing is owed; otherwise the last answer closes."""
        if not self._pending and self._transport is not None and not self._in_message:
            self._transport.close()
        for exchange in self._pending:
            exchange.close = True

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _parse(self, received: bytes) -> None:
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserError as error:
            self._refuse(refusals.cause(error))
            return
        if self._in_head:
            self._fed += len(received)
            if self._fed > refusals.MAX_HEAD_BYTES:
                self._refuse(refusals.head_too_large())

    def _body_progress(self) -> None:
        """Let the deadline grow with what has come."""
        earned_s = self._received / MIN_BODY_BYTES_PER_S
        self.deadline_s = self._body_start_s + BODY_TIMEOUT_S + earned_s

    def _wake_seldom(self, missing: int) -> None:
        """Ask the kernel to wake us per part of a large body, not per packet.

        Most bodies are there whole when the first part has been read: they need no such call.
        """
        wanted = max(1, min(missing, _PART_BYTES))
        if wanted != self._low_water and self._transport is not None:
            self._low_water = wanted
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    def _drop_slot(self) -> None:
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def _refuse(self, error: RequestError) -> None:
        """Answer a request that was not read to its end, then read and drop what the client still sends."""
        self._lingering = True
        self._in_head = False
        self._drop_slot()
        exchange = Exchange(self, Head(b"", self._target, self._headers))
        exchange.close = True
        self._pending.append(exchange)
        self._app.refuse(exchange, error)

    def _close(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._lingering and transport.can_write_eof():
            self.deadline_s = time.monotonic() + LINGER_S
            transport.write_eof()
            self._resume()
        else:
            transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()
