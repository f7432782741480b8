"""The protocol alone, fed with bytes: any cutting, any damage."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_code.engine.arena import LARGE_BYTES, Arena
from inference_code.server.connection import Connection
from inference_code.server.head import Heads

REQUESTS = (
    b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\ncontent-length: 5\r\nx-request-id: r\r\n\r\nhello",
    b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % LARGE_BYTES + b"L" * LARGE_BYTES,
)
ARENA = Arena(LARGE_BYTES)


class Wire(asyncio.Transport):
    """A transport that keeps what is written; a real one's twin."""

    def __init__(self):
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data):
        self.sent += data

    def close(self):
        self.closed = True

    abort = write_eof = close

    def can_write_eof(self):
        return True

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def get_extra_info(self, name, default=None):
        return self

    def setsockopt(self, *arguments):
        pass


class Echo:
    """An application that answers each request with its own body, at once."""

    max_body_bytes = 100_000
    draining = False

    def __init__(self, heads=None, scratch_bytes=4096):
        self.heads = Heads() if heads is None else heads
        self.scratch = memoryview(bytearray(scratch_bytes))
        self.connections = set()
        self.bodies = []
        self.heard = []
        self.refused = []

    def slot(self, target, length):
        return ARENA.acquire(length) if length >= LARGE_BYTES else None

    def connected(self, connection):
        self.connections.add(connection)

    def handle(self, exchange):
        body = exchange.body if isinstance(exchange.body, bytes) else bytes(exchange.body.view)
        if not isinstance(exchange.body, bytes):
            exchange.body.release()
        self.bodies.append(body)
        self.heard.append((exchange.head.method, exchange.head.target, exchange.head.headers, body))
        exchange.answer(200, b"text/plain", b"")

    def refuse(self, exchange, error):
        self.refused.append(error.status)
        exchange.answer(error.status, b"text/plain", b"")

    def abandoned(self, exchange):
        raise AssertionError("every exchange is answered at once")


def feed(data, cuts, heads=None):
    """Send ``data`` as the event loop would: never more than the connection's buffer takes."""
    app, wire = Echo(heads), Wire()
    connection = Connection(app)
    connection.connection_made(wire)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        piece = data[start:end]
        while piece and not wire.closed:
            buffer = connection.get_buffer(-1)
            count = min(len(buffer), len(piece))
            buffer[:count] = piece[:count]
            connection.buffer_updated(count)
            piece = piece[count:]
    connection.connection_lost(None)
    return app, wire


CUTS = st.lists(st.integers(0, 1_000_000), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), CUTS)
def test_requests_are_understood_however_the_network_cuts_them(requests, cuts):
    app, wire = feed(b"".join(requests), cuts)
    whole = [b"", b"hello", b"abcde", b"L" * LARGE_BYTES]
    assert app.bodies == [whole[REQUESTS.index(request)] for request in requests]
    assert wire.sent.count(b"HTTP/1.1 200 OK") == len(requests)
    assert app.refused == []
    assert ARENA.in_use == 0


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3),
    st.integers(0, 600),
    st.binary(max_size=8),
    CUTS,
)
def test_damaged_requests_are_answered_or_refused_and_nothing_leaks(requests, place, damage, cuts):
    data = bytearray(b"".join(requests))
    data[place : place + len(damage)] = damage
    app, wire = feed(bytes(data), cuts)
    assert len(app.refused) <= 1
    assert set(app.refused) <= {400, 413, 431}
    assert wire.sent.count(b"HTTP/1.1 ") == len(app.bodies) + len(app.refused)
    assert ARENA.in_use == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), CUTS)
def test_any_bytes_are_survived(data, cuts):
    app, _ = feed(data, cuts)
    assert ARENA.in_use == 0
    assert len(app.refused) <= 1


class Forgetful(Heads):
    """Knows no head: each is parsed."""

    def find(self, received):
        return None


PIECES = (
    *REQUESTS[:3],
    b"POST /a?b HTTP/1.1\r\ncontent-length: 4\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\ncontent-length: 4\r\nconnection: close\r\n\r\n",
    b"POST /a?b HTTP/1.0\r\ncontent-length: 4\r\n\r\n",
    b"POST /a?b HTTP/1.0\r\ncontent-length: 4\r\nconnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\ncontent-length: 4\n\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
    b"0\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"body",
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(b"".join),
            st.one_of(st.just([]), CUTS),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_a_head_known_by_its_bytes_is_understood_as_when_it_was_parsed(streams):
    heads = Heads()
    for data, cuts in streams * 2:
        (app, wire), (parsed, parsed_wire) = feed(data, cuts, heads), feed(data, cuts, Forgetful())
        assert (app.heard, app.refused) == (parsed.heard, parsed.refused)
        assert (wire.sent.count(b"HTTP/1.1 "), wire.closed) == (
            parsed_wire.sent.count(b"HTTP/1.1 "),
            parsed_wire.closed,
        )


def test_a_client_that_repeats_itself_is_parsed_once():
    heads = Heads()
    request = REQUESTS[1]
    feed(request, [], heads)
    (head, body) = heads.find(request)
    assert (head.target, body) == (b"/invocations", b"hello")
    assert heads.find(request[:-1]) is None
    assert heads.find(request + request) is None
    assert heads.find(request.replace(b"hello", b"world"))[1] == b"world"
    for number in range(2000):
        feed(request.replace(b"x-request-id: r", b"x-request-id: %d" % number), [], heads)
    assert heads.find(request) is None  # forgotten, and no more than so many are kept
    assert len(heads) <= 256


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nhost: a\n\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    ],
)
def test_what_smuggles_requests_past_proxies_is_refused(data):
    app, wire = feed(data, [])
    assert app.bodies == []
    assert app.refused == [400]
    assert wire.closed
