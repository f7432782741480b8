"""What the server answers on each route."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable

from inference_code.codecs import jsontext
from inference_code.contract import (
    INVOCATIONS_ROUTE,
    JSON_TYPE,
    METRICS_ROUTE,
    PING_ROUTE,
    REQUEST_ID_HEADER,
)
from inference_code.engine.arena import LARGE_BYTES, Slot
from inference_code.engine.engine import Engine
from inference_code.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UnsupportedMediaType,
)
from inference_code.metrics import TEXT_TYPE, Counter, Gauge, Histogram, prometheus
from inference_code.server.connection import Connection, Exchange

#: The caller's remaining time in milliseconds; a request that cannot make it is not computed.
DEADLINE_HEADER = b"x-deadline-ms"
_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_SAFE_ID = re.compile(rb"[!-~]{1,128}")
_JSON = JSON_TYPE.encode()
#: Small, so that most of a large body is read into its own place and not copied there.
_SCRATCH_BYTES = 32 * 1024


class Application:
    """Routes requests to the engine and answers the rest itself."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.max_body_bytes = engine.settings.serving.max_body_bytes
        self.draining = False
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.connections: set[Connection] = set()
        self.requests = Counter("inference_requests_total", "Answers, by HTTP status.", "code")
        self.latency = Histogram("inference_request_seconds", "From request read to answer.")
        self.open = Gauge(
            "inference_connections", "Connections.", lambda: {"": float(len(self.connections))}
        )
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(6).hex()
        self._routes: dict[str, tuple[bytes, Callable[[Exchange], None]]] = {
            PING_ROUTE: (b"GET", self._ping),
            INVOCATIONS_ROUTE: (b"POST", self._invoke),
            METRICS_ROUTE: (b"GET", self._metrics),
        }

    def slot(self, target: bytes, length: int) -> Slot | None:
        """Return shared memory for a large body, to receive it in."""
        if length < LARGE_BYTES or target.partition(b"?")[0] != INVOCATIONS_ROUTE.encode():
            return None
        return self.engine.arena.acquire(length)

    def connection(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange, now or when the engine calls back."""
        self._identify(exchange)
        path = exchange.target.partition(b"?")[0].decode("latin-1")
        try:
            route = self._routes.get(path)
            if route is None:
                raise NotFound(f"no such route; there are {', '.join(self._routes)}")
            method, answer = route
            if exchange.method != method:
                exchange.allow = method
                raise MethodNotAllowed(f"{path} takes {method.decode()}")
            answer(exchange)
        except RequestError as error:
            self._fail(exchange, error)

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Answer a request that could not be read to its end."""
        self._identify(exchange)
        self._fail(exchange, error)

    def abandoned(self, exchange: Exchange) -> None:
        """Stop work for a client that has gone."""
        if exchange.job is not None:
            self.engine.cancel(exchange.job)
            self.requests.add(1, 499)

    def _identify(self, exchange: Exchange) -> None:
        given = exchange.headers.get(_ID_HEADER)
        if given is not None and _SAFE_ID.fullmatch(given):
            exchange.request_id = given
        else:
            exchange.request_id = f"{self._id_prefix}-{next(self._ids):x}".encode()
        if self.draining:
            exchange.close = True

    def _invoke(self, exchange: Exchange) -> None:
        headers = exchange.headers
        if b"content-encoding" in headers:
            raise UnsupportedMediaType("send the body as it is: Content-Encoding is not read")
        if not len(exchange.body):
            raise BadRequest("the body is empty; send one request's input")
        key = headers.get(b"content-type", b"") + b"\0" + headers.get(b"accept", b"")
        deadline = headers.get(DEADLINE_HEADER)

        def done(status: int, content_type: bytes, body: bytes) -> None:
            self.latency.observe(time.monotonic() - exchange.started_s)
            self.requests.add(1, status)
            exchange.answer(status, content_type, body)

        exchange.job = self.engine.submit(
            exchange.body, key, None if deadline is None else _seconds(deadline), done
        )

    def _ping(self, exchange: Exchange) -> None:
        reason = "draining" if self.draining else self.engine.unhealthy()
        if reason:
            body = jsontext.write({"status": "unhealthy", "reason": reason})
            exchange.answer(503, _JSON, body)
        else:
            exchange.answer(200, b"", b"")

    def _metrics(self, exchange: Exchange) -> None:
        metrics = (self.requests, self.latency, self.open, *self.engine.metrics.all())
        exchange.answer(200, TEXT_TYPE.encode(), prometheus(metrics).encode())

    def _fail(self, exchange: Exchange, error: RequestError) -> None:
        if isinstance(exchange.body, Slot):
            exchange.body.release()
        self.requests.add(1, error.status)
        content = {
            "error": type(error).__name__,
            "message": error.message,
            "request_id": exchange.request_id.decode("latin-1"),
        }
        extra = b"allow: %b\r\n" % exchange.allow if exchange.allow else b""
        if error.retry_after_s is not None:
            extra += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
        exchange.answer(error.status, _JSON, jsontext.write(content), extra)


def _seconds(header: bytes) -> float:
    if not header.isdigit() or len(header) > 9:
        raise BadRequest("X-Deadline-Ms must be a whole number of milliseconds")
    return int(header) / 1000.0
