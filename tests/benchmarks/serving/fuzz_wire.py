"""Malformed HTTP over real sockets: known ways to smuggle a request, and mutations without number.

No answer may be a 5xx (but 503), no connection may hang, and the server must neither grow nor die.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that tests can read the table below without the benchmark's packages
    from subject import Body

#: What a client may be told for what it sent wrong.
ALLOWED = {100, 200, 400, 404, 405, 406, 408, 413, 415, 431, 503}
#: No answer, though the connection was to end.
HUNG = -1
_TIMEOUT_S = 8.0
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

_POST = b"POST /invocations HTTP/1.1\r\nhost: a\r\n"
_NEXT = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"

#: Each must be refused, and what follows must not be taken for a request of its own.
SMUGGLED = {
    "length and chunks": _POST + b"content-length: 6\r\n" + _CHUNKED + b"\r\n0\r\n\r\n" + _NEXT,
    "chunks and length": _POST + _CHUNKED + b"content-length: 6\r\n\r\n0\r\n\r\n" + _NEXT,
    "two lengths": _POST + b"content-length: 0\r\ncontent-length: 44\r\n\r\n" + _NEXT,
    "two equal lengths in one": _POST + b"content-length: 5, 5\r\n\r\nhello" + _NEXT,
    "a signed length": _POST + b"content-length: +5\r\n\r\nhello" + _NEXT,
    "a negative length": _POST + b"content-length: -5\r\n\r\n" + _NEXT,
    "a hexadecimal length": _POST + b"content-length: 0x5\r\n\r\nhello" + _NEXT,
    "a length past 64 bits": _POST + b"content-length: 18446744073709551621\r\n\r\nhello" + _NEXT,
    "a space before the colon": _POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "a folded header": _POST + b"content-length: 5\r\n transfer-encoding: chunked\r\n\r\nhello" + _NEXT,
    "chunked, but not last": _POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + _NEXT,
    "chunked twice": _POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "xchunked": _POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "a vertical tab": _POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "a bare LF in the head": b"POST /invocations HTTP/1.1\nhost: a\ncontent-length: 0\n\n" + _NEXT,
    "a bare LF after a chunk's size": _POST + _CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n" + _NEXT,
    "a bare CR in a header": _POST + b"x: a\rcontent-length: 5\r\n\r\n" + _NEXT,
    "a NUL in a header": _POST + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n" + _NEXT,
    "a chunk without its end": _POST + _CHUNKED + b"\r\n3\r\nabcde\r\n0\r\n\r\n" + _NEXT,
    "a chunk's size in no digits": _POST + _CHUNKED + b"\r\nzz\r\nabc\r\n0\r\n\r\n" + _NEXT,
    "a chunk's size past 64 bits": _POST + _CHUNKED + b"\r\n10000000000000003\r\nabc\r\n0\r\n\r\n" + _NEXT,
    "a chunk of negative size": _POST + _CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n" + _NEXT,
    "a space in a chunk's size": _POST + _CHUNKED + b"\r\n3 3\r\nabc\r\n0\r\n\r\n" + _NEXT,
    "a broken chunk extension": _POST + _CHUNKED + b"\r\n3;a\nb\r\nabc\r\n0\r\n\r\n" + _NEXT,
    "a header without a name": _POST + b": a\r\ncontent-length: 0\r\n\r\n" + _NEXT,
    "a space in a header's name": _POST + b"x y: a\r\ncontent-length: 0\r\n\r\n" + _NEXT,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _NEXT,
    "a version of its own": b"GET /ping HTTP/1.11\r\n\r\n" + _NEXT,
    "a huge header": _POST + b"x: " + b"a" * 20_000 + b"\r\n\r\n" + _NEXT,
    "a thousand headers": _POST + b"x: a\r\n" * 1000 + b"\r\n" + _NEXT,
    "an endless target": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n" + _NEXT,
    "an upgrade": b"GET /ping HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + _NEXT,
    "a tunnel": b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n" + _NEXT,
}  # fmt: skip

_PIECES = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\xff", b":", b";", b",", b"0", b"-1",
    b"99999999999999999999", b"chunked", b"identity", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0",
    b"HTTP/9.9", b"Connection: close\r\n", b"Connection: keep-alive, upgrade\r\n", b"Upgrade: x\r\n",
    b"0\r\n\r\n", b"5;x=y\r\nhello\r\n", b"ffffffff\r\n", b"%2e%2e/", b"Range: bytes=0-,0-,0-\r\n",
    b"X-Deadline-Ms: soon\r\n", b"X-Deadline-Ms: \xb2\r\n", b"Content-Type: multipart/form-data\r\n",
    b"Accept: */*;q=nan\r\n", b"Content-Encoding: gzip\r\n", b"DELETE ", b"OPTIONS * ", b"A" * 5000,
)  # fmt: skip


def requests(seed: int, bodies: Sequence[Body]) -> Iterator[tuple[bytes, int]]:
    """Return mutated requests without end, one to four on a connection, with their count."""
    rng = random.Random(seed)
    good = [body.request() for body in bodies[:8]]
    good += [body.request(b"transfer-encoding: chunked\r\n") for body in bodies[:2]]
    good += [_POST + _CHUNKED + b"\r\n5\r\n[[1]]\r\n0\r\n\r\n", *SMUGGLED.values()]
    good += [
        b"%b HTTP/1.1\r\nhost: a\r\n\r\n" % line
        for line in (b"GET /ping", b"GET /metrics", b"GET /openapi.json", b"HEAD /", b"PUT /stats")
    ]
    while True:
        count = rng.randint(1, 4)
        yield b"".join(_mutated(rng, rng.choice(good)) for _ in range(count)), count


def _mutated(rng: random.Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at:at] = rng.choice(_PIECES)
            case 1:
                del data[at : at + rng.choice((1, 1, 2, 8, 100))]
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                data[at:at] = data[: rng.randrange(len(data) + 1)][-64:]
            case _:
                end = data.find(b"\r\n\r\n")
                line = data.rfind(b"\r\n", 0, max(0, end)) + 2
                data[line:line] = rng.choice(_PIECES)
    return bytes(data)


async def send(port: int, data: bytes) -> list[int]:
    """Send bytes, say that no more will come, read to the end; return the statuses that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            got = b""
            # A server that has refused may have closed before all was sent: a reset is no finding.
            with contextlib.suppress(OSError):
                writer.write(data)
                writer.write_eof()
            with contextlib.suppress(OSError):
                while part := await reader.read(65536):
                    got += part
    except TimeoutError:
        return [HUNG]
    finally:
        writer.transport.abort()
    return [int(status) for status in _STATUS.findall(got)]


async def smuggling(port: int) -> dict[str, list[int]]:
    """Send each known shape; return those that were not refused once and for all, with their statuses."""
    found = {}
    for name, data in SMUGGLED.items():
        statuses = await send(port, data)
        if len(statuses) != 1 or statuses[0] not in (400, 413, 431):
            found[name] = statuses
    return found


async def flood(
    port: int, seed: int, count: int, bodies: Sequence[Body], connections: int = 48
) -> Counter[int]:
    """Send ``count`` mutated requests; return how often each status came (HUNG counts, too)."""
    stream = requests(seed, bodies)
    statuses: Counter[int] = Counter()
    left = count

    async def client() -> None:
        nonlocal left
        while left > 0:
            data, number = next(stream)
            left -= number
            statuses.update(await send(port, data))

    await asyncio.gather(*(client() for _ in range(connections)))
    return statuses
