"""Why a connection refuses what it reads."""

from __future__ import annotations

import httptools

from inference_code.errors import BadRequest, HeadersTooLarge, PayloadTooLarge, RequestError

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100


def cause(error: httptools.HttpParserError) -> RequestError:
    """Return why the parser gave up: what we raised in it, or that it is not HTTP."""
    if isinstance(error.__context__, RequestError):
        return error.__context__
    return BadRequest(f"not HTTP/1.1: {error}")


def head_too_large() -> RequestError:
    """Return the refusal of a head over its limits."""
    return HeadersTooLarge(
        f"the head of a request may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers"
    )


def body_too_large(limit: int) -> RequestError:
    """Return the refusal of a body over ``limit`` bytes."""
    return PayloadTooLarge(f"the body may have {limit} bytes")
