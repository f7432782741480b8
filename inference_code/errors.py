"""What a request can fail with, each with its HTTP status.

RequestError
├── BadRequest            400  the body cannot be read as what it claims to be
├── NotFound              404
├── MethodNotAllowed      405
├── PayloadTooLarge       413
├── UnsupportedMediaType  415
├── TooManyRequests       429  this client is over its own limit
├── HandlerFailed         500  the handler raised; only its own request fails
├── Overloaded            503  the queue is full or too slow: try again later
├── Draining              503  the server is shutting down
└── DeadlineExceeded      504  the deadline passed before the answer was ready

HandlerInvalid is raised at start-up, never for a request.
"""

from __future__ import annotations


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
    status = 400


class NotFound(RequestError):
    status = 404


class MethodNotAllowed(RequestError):
    status = 405


class PayloadTooLarge(RequestError):
    status = 413


class UnsupportedMediaType(RequestError):
    status = 415


class TooManyRequests(RequestError):
    status = 429


class HandlerFailed(RequestError):
    status = 500


class Overloaded(RequestError):
    status = 503


class Draining(RequestError):
    status = 503


class DeadlineExceeded(RequestError):
    status = 504


class HandlerInvalid(Exception):
    """The handler or model cannot be served; the message says what to change."""
