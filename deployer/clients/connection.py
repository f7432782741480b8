"""A keep-alive connection that carries one request at a time, for the load generator."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools


class Listener(Protocol):
    """Told once for each request how it ended."""

    def answered(
        self, connection: Connection, request: int, status: int, size: int, reusable: bool
    ) -> None:
        """A whole answer came: its status and the bytes of its body."""
        ...

    def lost(self, connection: Connection, request: int | None) -> None:
        """The connection closed; the request that it carried, if any, got no answer."""
        ...


class Connection(asyncio.Protocol):
    """Sends ready-made request bytes and reports the answer to its listener.

    ``request`` is the number of the request it carries, None while idle.
    """

    def __init__(self, listener: Listener) -> None:
        self.request: int | None = None
        self._listener = listener
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._size = 0
        self._in_body = False
        self._sized = False

    @property
    def closing(self) -> bool:
        """Whether it can carry no further request."""
        return self._transport is None or self._transport.is_closing()

    def send(self, request: int, data: bytes) -> None:
        """Write one request. Only for an idle connection."""
        self.request = request
        self._size = 0
        self._in_body = False
        self._sized = False
        cast(asyncio.Transport, self._transport).write(data)

    def abort(self) -> None:
        """Drop the connection at once; the listener hears ``lost``."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()  # not HTTP: no answer that could be counted

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # An answer without a length ends where the connection does (RFC 9112, 6.3).
        if exc is None and self._in_body and not self._sized:
            self._report(reusable=False)
        self._listener.lost(self, self._take())

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._sized = True

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, data: bytes) -> None:
        self._size += len(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the real one follows
            self._in_body = False
            self._sized = False
            return
        self._report(reusable=self._parser.should_keep_alive() and not self.closing)

    def _report(self, *, reusable: bool) -> None:
        request = self._take()
        if request is None:  # an answer to nothing: the stream is out of step
            self.abort()
            return
        status = self._parser.get_status_code()
        self._listener.answered(self, request, status, self._size, reusable)

    def _take(self) -> int | None:
        request, self.request = self.request, None
        return request
