"""What a request can fail with, each with its HTTP status.

RequestError
├── BadRequest            400  the body cannot be read as what it claims to be
├── NotFound              404
├── MethodNotAllowed      405
├── NotAcceptable         406  the answer cannot be written in the type asked for
├── RequestTimeout        408  the client was too slow to send its request
├── Conflict              409  the model is loaded already
├── PayloadTooLarge       413
├── UnsupportedMediaType  415
├── TooManyRequests       429  this client is over its own limit
├── HeadersTooLarge       431
├── HandlerFailed         500  the handler raised; only its own request fails
├── HandlerRefused        any  the handler says status and words itself
├── Overloaded            503  the queue is full or too slow: try again later
├── Draining              503  the server is shutting down
├── DeadlineExceeded      504  the deadline passed before the answer was ready
└── InsufficientMemory    507  no memory for one more model

StartupError is raised before serving, never for a request.
└── HandlerInvalid        the handler or the model cannot be served
    └── PackageMissing    not here: a package that it needs is not installed
"""

from __future__ import annotations

from http import HTTPStatus

_FAILURES = frozenset(status.value for status in HTTPStatus if status >= 400)


class RequestError(Exception):
    """A request that gets an error answer; ``message`` goes to the caller, so it names no internals."""

    status = 500
    retry_after_s: float | None = None

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(RequestError):
    """The body cannot be read as what it claims to be."""

    status = 400


class NotFound(RequestError):
    """No such route, or no such model."""

    status = 404


class MethodNotAllowed(RequestError):
    """The route exists, with another method."""

    status = 405


class NotAcceptable(RequestError):
    """The answer cannot be written in the type that ``Accept`` asks for."""

    status = 406


class RequestTimeout(RequestError):
    """The client was too slow to send its request."""

    status = 408


class Conflict(RequestError):
    """The model is loaded already."""

    status = 409


class PayloadTooLarge(RequestError):
    """The body is longer than the server takes."""

    status = 413


class UnsupportedMediaType(RequestError):
    """The handler does not read this content type."""

    status = 415


class TooManyRequests(RequestError):
    """This client is over its own limit."""

    status = 429


class HeadersTooLarge(RequestError):
    """The request line and headers are longer than the server takes."""

    status = 431


class HandlerFailed(RequestError):
    """The handler raised; only its own request fails."""

    status = 500


class HandlerRefused(RequestError):
    """The handler refuses, with a status and words of its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        known = isinstance(status, int) and status in _FAILURES
        self.status = status if known else 500


class Overloaded(RequestError):
    """The queue is full or too slow; try again later."""

    status = 503


class Draining(RequestError):
    """The server is shutting down, or not ready yet."""

    status = 503


class DeadlineExceeded(RequestError):
    """The deadline passed before the answer was ready."""

    status = 504


class InsufficientMemory(RequestError):
    """There is no memory for one more model."""

    status = 507


class StartupError(Exception):
    """The server cannot start; the message says what to change."""


class HandlerInvalid(StartupError):
    """The handler or the model cannot be served; the message says what to change."""


class PackageMissing(HandlerInvalid):
    """A package that the handler or the engine needs is not installed here."""
