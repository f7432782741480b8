"""Body, Answer, Endpoint, and Invoker: the seam between a caller and wherever the model runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from deployer.errors import InputError
from inference_code.contract import CONTENT_TYPES, INVOCATIONS_ROUTE, JSON_TYPE


@dataclass(frozen=True)
class Body:
    """The bytes of one request and the content type that says how to read them."""

    content: bytes
    content_type: str = JSON_TYPE

    @staticmethod
    def from_file(path: Path) -> Body:
        """Read a sample request; its suffix (.json, .csv, .npy) gives the type. Raises InputError."""
        content_type = CONTENT_TYPES.get(path.suffix)
        if content_type is None:
            known = ", ".join(CONTENT_TYPES)
            raise InputError(
                f"{str(path)!r}: no content type for suffix {path.suffix!r}",
                hint=f"name it with one of {known}",
            )
        try:
            return Body(path.read_bytes(), content_type)
        except OSError as error:
            raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, bytes, and headers by lower-case name."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """The media type of ``content``, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip()


class Invoker(Protocol):
    """Sends one body and returns one answer; never sends the same body twice."""

    def invoke(self, body: Body, *, accept: str | None = None) -> Answer:
        """Return the answer, whatever its status. Raises Unreachable when nothing was sent."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """A parsed URL to which requests are posted."""

    host: str
    port: int
    path: str
    tls: bool = False

    @staticmethod
    def parse(url: str) -> Endpoint:
        """Read an http or https URL; without a path it means ``/invocations``. Raises InputError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InputError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
            raise InputError(f"{url!r} is not a URL", hint="write it like http://127.0.0.1:8080")
        if any(c <= " " for c in url):
            raise InputError(f"{url!r} is not a URL: it holds a space or a control character")
        path = parts.path if parts.path not in ("", "/") else INVOCATIONS_ROUTE
        tls = parts.scheme == "https"
        query = f"?{parts.query}" if parts.query else ""
        return Endpoint(parts.hostname, port or (443 if tls else 80), path + query, tls)

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"
