"""What the server answers on each route."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Callable
from functools import partial

from inference_code.codecs import jsontext
from inference_code.contract import (
    INVOCATIONS_ROUTE,
    JSON_TYPE,
    METRICS_ROUTE,
    PING_ROUTE,
    REQUEST_ID_HEADER,
    STATS_ROUTE,
)
from inference_code.engine.arena import LARGE_BYTES, Slot
from inference_code.engine.engine import Engine
from inference_code.engine.frames import URGENCY
from inference_code.engine.log import log
from inference_code.engine.pool import Job
from inference_code.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UnsupportedMediaType,
)
from inference_code.metrics import (
    TEXT_TYPE,
    Counter,
    Gauge,
    Histogram,
    milliseconds,
    prometheus,
)
from inference_code.server import openapi, tracing
from inference_code.server.clients import ClientLimit, Seat, client_of
from inference_code.server.connection import Connection
from inference_code.server.descriptors import most_connections
from inference_code.server.exchange import Exchange
from inference_code.server.head import Asked, Head, Heads

#: The caller's remaining time in milliseconds; a request that cannot make it is not computed.
DEADLINE_HEADER = b"x-deadline-ms"
_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_URGENCY = re.compile(rb"(?:^|[,\s])u=([0-7])(?:$|[,;\s])")
_SAFE_ID = re.compile(rb"[!-~]{1,128}")
OPENAPI_ROUTE = "/openapi.json"
_JSON = JSON_TYPE.encode()
#: Small, so that most of a large body is read into its own place and not copied there.
_SCRATCH_BYTES = 32 * 1024
#: So many connections are looked at to find one to close: a crowd must not make each newcomer dear.
_LOOKED_AT = 100


class Application:
    """Routes requests to the engine and answers the rest itself."""

    def __init__(self, engine: Engine, access_log: bool = False, client_limit: int = 0) -> None:
        """Route to ``engine``.

        ``access_log`` logs every request, not only those that fail here; ``client_limit`` is the most
        requests that one client may have in flight, 0 for no limit.
        """
        self.engine = engine
        self.access_log = access_log
        self._clients = ClientLimit(client_limit) if client_limit else None
        self.max_body_bytes = engine.settings.serving.max_body_bytes
        self.draining = False
        self._giving_way = self._newcomer = False
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.heads = Heads()
        self.connections: set[Connection] = set()
        self.most_connections = most_connections(engine.settings.serving.workers)
        self.requests = Counter("inference_requests_total", "Answers, by HTTP status.", "code")
        self.latency = Histogram("inference_request_seconds", "From request read to answer.")
        self.open = Gauge(
            "inference_connections", "Connections.", lambda: {"": float(len(self.connections))}
        )
        self._start_s = time.monotonic()
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(6).hex().encode()
        self._routes: dict[str, tuple[bytes, Callable[[Exchange], None]]] = {
            PING_ROUTE: (b"GET", self._ping),
            INVOCATIONS_ROUTE: (b"POST", self._invoke),
            METRICS_ROUTE: (b"GET", self._metrics),
            STATS_ROUTE: (b"GET", self._stats),
            OPENAPI_ROUTE: (b"GET", self._openapi),
        }

    def slot(self, target: bytes, length: int) -> Slot | None:
        """Return shared memory for a large body, to receive it in."""
        if length < LARGE_BYTES or target.partition(b"?")[0] != INVOCATIONS_ROUTE.encode():
            return None
        return self.engine.arena.acquire(length)

    def connection(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def connected(self, connection: Connection) -> None:
        """Take a connection in; beyond ``most_connections`` one that is idle must go.

        Rather one that never asked anything, then the one idle for longest: without a descriptor left, whoever
        comes next would be lost, and a dead worker could not be replaced.
        """
        self._newcomer = True
        self.connections.add(connection)
        if len(self.connections) > self.most_connections:
            some = itertools.islice(self.connections, _LOOKED_AT)
            idle = [each for each in some if each.idle and each is not connection]
            if idle:
                min(idle, key=lambda each: (each.asked, each.deadline_s)).expire()

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange, now or when the engine calls back."""
        self._identify(exchange)
        try:
            self.route(exchange, exchange.head.path)
        except RequestError as error:
            self.fail(exchange, error)

    def route(self, exchange: Exchange, path: str) -> None:
        """Find who answers ``path``; raise NotFound or MethodNotAllowed."""
        route = self._routes.get(path)
        if route is None:
            raise NotFound(f"no such route; there are {', '.join(self._routes)}")
        method, answer = route
        if exchange.head.method != method and (exchange.head.method, method) != (b"HEAD", b"GET"):
            exchange.allow = b"GET, HEAD" if method == b"GET" else method
            raise MethodNotAllowed(f"{path} takes {method.decode()}")
        answer(exchange)

    def metrics_text(self) -> str:
        """Return what a Prometheus server scrapes."""
        return prometheus((self.requests, self.latency, self.open, *self.engine.metrics.all()))

    def unhealthy(self) -> str:
        """Return why no inference can run, or "" when one can."""
        return self.engine.unhealthy()

    async def close(self) -> None:
        """Stop what the application itself has started."""

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Answer a request that could not be read to its end."""
        self._identify(exchange)
        self.fail(exchange, error)

    def abandoned(self, exchange: Exchange) -> None:
        """Stop work for a client that has gone."""
        if exchange.cancel is not None:
            exchange.cancel()
            self.requests.add(1, 499)

    def _identify(self, exchange: Exchange) -> None:
        given = exchange.head.headers.get(_ID_HEADER)
        if given is not None and _SAFE_ID.fullmatch(given):
            exchange.request_id = given
        else:
            exchange.request_id = b"%b-%x" % (self._id_prefix, next(self._ids))
        if self.draining:
            exchange.close = True

    def _invoke(self, exchange: Exchange) -> None:
        self.invoke(exchange, self.engine)

    def invoke(self, exchange: Exchange, engine: Engine) -> None:
        """Hand a request to ``engine``; it answers when it can."""
        key, urgency, timeout_s, trace = exchange.head.asked or _asked(exchange.head)
        if not len(exchange.body):
            raise BadRequest("the body is empty; send one request's input")
        if engine.wants_headers:
            key += b"".join(b"\0%b\0%b" % pair for pair in exchange.head.headers.items())
        seat = self._seat(exchange)

        def done(status: int, content_type: bytes, body: bytes) -> None:
            if seat is not None:
                seat.leave()
            self.latency.observe(time.monotonic() - exchange.started_s)
            self.requests.add(1, status)
            if status >= 500 or self.access_log:
                self._log(exchange, status)
            # A handler's own attributes come with the content type, and stand in place of the trace's.
            own = trace and tracing.ATTRIBUTES in content_type
            exchange.answer(status, content_type, body, b"" if own else trace)

        try:
            job = engine.submit(exchange.body, key, timeout_s, done, urgency)
        except RequestError:
            self._turned_away(seat)
            raise
        if job is not None:
            exchange.cancel = partial(_cancel, engine, job, seat)

    def _turned_away(self, seat: Seat | None) -> None:
        if seat is not None:
            seat.leave()
        if not self._giving_way:
            self._giving_way = True
            asyncio.get_running_loop().call_soon(self._give_way)

    def _give_way(self) -> None:
        """After refusals: leave the core to the workers for a moment.

        What comes meanwhile waits in its sockets and is read in one go. Were the front to wake for each request of
        an overload, refusing them would take the time that the others are computed in.
        """
        self._giving_way = False
        # The event loop takes one new connection per turn: a sleep between them would let a crowd wait for seconds.
        if not self._newcomer:
            # The application's own engine: of many models, one that is overloaded must not hold up the others.
            self.engine.give_way()
        self._newcomer = False

    def _seat(self, exchange: Exchange) -> Seat | None:
        if self._clients is None:
            return None
        return self._clients.enter(client_of(exchange.head.headers, exchange.connection.peer))

    def _ping(self, exchange: Exchange) -> None:
        reason = "draining" if self.draining else self.unhealthy()
        if reason:
            body = jsontext.write({"status": "unhealthy", "reason": reason})
            exchange.answer(503, _JSON, body)
        else:
            exchange.answer(200, b"", b"")

    def _stats(self, exchange: Exchange) -> None:
        stats = {
            "uptime_s": round(time.monotonic() - self._start_s, 1),
            "draining": self.draining,
            "answers": {str(code): n for code, n in self.requests.values.items()},
            "latency_ms_p50_below": milliseconds(self.latency.quantile(0.5)),
            "latency_ms_p99_below": milliseconds(self.latency.quantile(0.99)),
            "connections": len(self.connections),
            **self.engine.stats(),
        }
        exchange.answer(200, _JSON, jsontext.write(stats))

    def _openapi(self, exchange: Exchange) -> None:
        document = openapi.document(self.engine.settings.name, self.engine.interface)
        exchange.answer(200, _JSON, jsontext.write(document))

    def _metrics(self, exchange: Exchange) -> None:
        exchange.answer(200, TEXT_TYPE.encode(), self.metrics_text().encode())

    def _log(self, exchange: Exchange, status: int, message: str | None = None) -> None:
        parent = tracing.traceparent(exchange.head.headers)
        log(
            "request",
            status=status,
            request_id=exchange.request_id.decode("latin-1"),
            path=exchange.head.target[:200].decode("latin-1"),
            bytes=len(exchange.body),
            ms=round((time.monotonic() - exchange.started_s) * 1000, 3),
            **({"trace_id": tracing.trace_id(parent)} if parent else {}),
            **({"message": message} if message else {}),
        )

    def fail(self, exchange: Exchange, error: RequestError) -> None:
        """Answer with an error."""
        if isinstance(exchange.body, Slot):
            exchange.body.release()
        self.requests.add(1, error.status)
        content = {
            "error": type(error).__name__,
            "message": error.message,
            "request_id": exchange.request_id.decode("latin-1"),
        }
        if self.access_log:
            self._log(exchange, error.status, error.message)
        extra = tracing.response_headers(exchange.head.headers)
        extra += b"allow: %b\r\n" % exchange.allow if exchange.allow else b""
        if error.retry_after_s is not None:
            extra += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
        exchange.answer(error.status, _JSON, jsontext.write(content), extra)


def _cancel(engine: Engine, job: Job, seat: Seat | None) -> None:
    engine.cancel(job)
    if seat is not None:
        seat.leave()


def _asked(head: Head) -> Asked:
    """Read what a head asks of the engine, and keep it with the head; raise RequestError."""
    headers = head.headers
    if b"content-encoding" in headers:
        raise UnsupportedMediaType("send the body as it is: Content-Encoding is not read")
    priority, deadline = headers.get(b"priority"), headers.get(DEADLINE_HEADER)
    head.asked = Asked(
        headers.get(b"content-type", b"") + b"\0" + headers.get(b"accept", b""),
        URGENCY if priority is None else _urgency(priority),
        None if deadline is None else _seconds(deadline),
        tracing.response_headers(headers),
    )
    return head.asked


def _seconds(header: bytes) -> float:
    if not header.isdigit() or len(header) > 9:
        raise BadRequest("X-Deadline-Ms must be a whole number of milliseconds")
    return int(header) / 1000.0


def _urgency(header: bytes) -> int:
    """Return the urgency in a Priority header (RFC 9218); what cannot be read is ignored, as it says."""
    match = _URGENCY.search(header)
    return int(match[1]) if match else URGENCY
