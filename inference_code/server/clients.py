"""A limit on what one client may have in flight, so that one does not take the queue from all others."""

from __future__ import annotations

from collections.abc import Mapping

from inference_code.errors import TooManyRequests

_FORWARDED = b"x-forwarded-for"


class Seat:
    """One request's place under its client's limit; ``leave`` it once, further calls do nothing."""

    __slots__ = ("_client", "_limit")

    def __init__(self, limit: ClientLimit, client: bytes) -> None:
        self._limit: ClientLimit | None = limit
        self._client = client

    def leave(self) -> None:
        """Give the place back."""
        if self._limit is not None:
            self._limit.left(self._client)
            self._limit = None


class ClientLimit:
    """At most ``most`` requests in flight per client."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_flight: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def enter(self, client: bytes) -> Seat:
        """Return a seat; raise TooManyRequests when the client has ``most`` already."""
        count = self._in_flight.get(client, 0)
        if count >= self._most:
            raise TooManyRequests(
                f"you have {count} requests in flight, the most this server takes of one client; "
                "wait for their answers",
                retry_after_s=1.0,
            )
        self._in_flight[client] = count + 1
        return Seat(self, client)

    def left(self, client: bytes) -> None:
        """Forget one request of a client; ``Seat.leave`` calls it."""
        count = self._in_flight[client] - 1
        if count:
            self._in_flight[client] = count
        else:
            del self._in_flight[client]


def client_of(headers: Mapping[bytes, bytes], peer: bytes) -> bytes:
    """Return who sends a request: the address that the nearest load balancer saw, else the peer's.

    Only the last address of X-Forwarded-For is the load balancer's; a client can write all before it.

    >>> client_of({b"x-forwarded-for": b"6.6.6.6, 10.0.0.7"}, b"10.0.0.1")
    b'10.0.0.7'
    """
    forwarded = headers.get(_FORWARDED)
    return forwarded.rpartition(b",")[2].strip() if forwarded else peer
