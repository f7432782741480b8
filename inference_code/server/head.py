"""The head of a request. Most clients send the same one again and again: it is parsed once and known by its bytes."""

from __future__ import annotations

from typing import NamedTuple

#: Longer heads are parsed each time. With so many known all are forgotten: where each differs none is worth keeping.
_LONGEST = 2048
_MOST = 256
_END = b"\r\n\r\n"


class Asked(NamedTuple):
    """What a head asks of the engine.

    ``key`` is content type, NUL, accept; ``urgency`` as in RFC 9218; ``timeout_s`` None for the server's own;
    ``trace`` the header lines that carry the caller's trace back.
    """

    key: bytes
    urgency: int
    timeout_s: float | None
    trace: bytes


class Head:
    """Method, target and headers of a request; requests share it, so nobody may change what it says.

    Names in ``headers`` are lower case; ``path`` is the target without its query; ``length`` is how many bytes of
    body follow, known once the head is kept; ``asked`` is None until read.
    """

    __slots__ = ("asked", "headers", "keep_alive", "length", "method", "path", "target")

    def __init__(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], keep_alive: bool = True
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.path = target.partition(b"?")[0].decode("latin-1")
        self.length = 0
        self.asked: Asked | None = None


class Heads:
    """Parsed heads by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, received: bytes) -> tuple[Head, bytes] | None:
        """Return head and body when ``received`` is one whole request with a known head."""
        end = received.find(_END) + 4
        head = self._known.get(received[:end])
        if head is None or head.length != len(received) - end:
            return None
        return head, received[end:]

    def keep(self, received: bytes, head: Head, body_bytes: int) -> None:
        """Remember the head of ``received``, which the parser read as exactly one request."""
        end = len(received) - body_bytes
        # Where more than head and body came, as with chunks, the bytes do not tell where the request ends.
        if end > _LONGEST or received.find(_END) + 4 != end or not head.keep_alive:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        head.length = body_bytes
        self._known[received[:end]] = head
