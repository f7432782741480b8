"""W3C trace context, also where SageMaker leaves room for it.

SageMaker strips every header but a few, so a ``traceparent`` travels inside
``X-Amzn-SageMaker-Custom-Attributes`` as ``traceparent=...``, alone or among others divided by commas or
semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from inference_code.contract import CUSTOM_ATTRIBUTES_HEADER

TRACEPARENT = b"traceparent"
ATTRIBUTES = CUSTOM_ATTRIBUTES_HEADER.lower().encode()
_VALUE = rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_PLAIN = re.compile(_VALUE)
_INSIDE = re.compile(rb"(?:^|[,;\s])traceparent=(" + _VALUE + rb")(?:$|[,;\s])")


def traceparent(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the valid traceparent of a request, or b""."""
    given = headers.get(TRACEPARENT)
    if given is not None:
        return given if _PLAIN.fullmatch(given) else b""
    attributes = headers.get(ATTRIBUTES)
    match = _INSIDE.search(attributes) if attributes else None
    return match[1] if match else b""


def trace_id(parent: bytes) -> str:
    """Return the trace id within a valid traceparent; "" of none."""
    return parent[3:35].decode("ascii")


def response_headers(headers: Mapping[bytes, bytes]) -> bytes:
    """Return header lines that carry the trace back to the caller."""
    if TRACEPARENT not in headers and ATTRIBUTES not in headers:
        return b""  # as with most requests, and this is on the way of each
    parent = traceparent(headers)
    if not parent:
        return b""
    if TRACEPARENT in headers:
        return b"traceparent: " + parent + b"\r\n"
    return ATTRIBUTES + b": traceparent=" + parent + b"\r\n"
