"""JSON by orjson: the fastest parser that is well kept, strict (no NaN), and bounded in depth (1,024)."""

from __future__ import annotations

from typing import Any

import orjson

from inference_code.errors import BadRequest, HandlerFailed

Body = bytes | bytearray | memoryview


def read(body: Body) -> Any:
    """Return the value; raise BadRequest with the place of the first fault."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not len(body):
            raise BadRequest("json: the body is empty") from None
        raise BadRequest(f"json: {error}{_advice(body)}") from None


def write(value: Any) -> bytes:
    """Return compact JSON; numpy arrays are written in place, NaN and infinity as null."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise HandlerFailed("the answer of this model cannot be written as JSON") from error


def _advice(body: Body) -> str:
    """Return what to do about numbers that other writers of JSON know, and JSON does not."""
    odd = any(word in bytes(body) for word in (b"NaN", b"Infinity"))
    return "; JSON has no NaN and no Infinity: send npy for them" if odd else ""


def _plain(value: Any) -> Any:
    # What orjson does not take as it is: arrays not contiguous or not native, and numpy's scalars.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} is not JSON")
