"""numpy's .npy format, read without pickle and without a copy.

``np.load(allow_pickle=False)`` believes the header: 128 bytes that claim 2**38 numbers make it ask
for a tebibyte. Here shape times item size must equal the bytes that came, before anything is made.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inference_code.errors import BadRequest, NotAcceptable

Body = bytes | bytearray | memoryview
_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_MAX_DIMENSIONS = 32
# Subtleness ahead: a size ends in a comma or is the last one. Were the comma optional for each, digits could be
# cut into sizes in any way, and a hundred bytes would keep the matcher busy for ever.
_HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|=]?[biufc?]\d{0,2})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(((?:\s*\d{1,18}\s*,)*(?:\s*\d{1,18})?)\s*\)\s*,?\s*\}\s*"
)


def read(body: Body) -> NDArray[Any]:
    """Return the array in ``body``, a view of its memory; raise BadRequest when it is not one.

    >>> import io; file = io.BytesIO(); np.save(file, np.arange(3)); read(file.getvalue())
    array([0, 1, 2])
    """
    start, text = _header(body)
    dtype, shape, order = _described(text)
    count = prod(shape)
    if count * dtype.itemsize != len(body) - start:
        raise BadRequest(
            f"npy: shape {shape} of {dtype.name} needs {count * dtype.itemsize} bytes, "
            f"the body holds {len(body) - start}"
        )
    flat: NDArray[Any] = np.frombuffer(body, dtype=dtype, count=count, offset=start)
    array = flat.reshape(shape, order=order)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


def write(array: NDArray[Any]) -> bytes:
    """Return the .npy file of a plain array; raise NotAcceptable when it holds texts."""
    array = np.asarray(array, order="C")
    if array.dtype.hasobject:
        raise NotAcceptable("npy: texts cannot be written; ask for application/json")
    shape = f"({', '.join(map(str, array.shape))}{',' if array.ndim == 1 else ''})"
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(len(_MAGIC) + 4 + len(text) + 1) % 64
    header = text.encode() + b" " * padding + b"\n"
    return _MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes()


def _header(body: Body) -> tuple[int, str]:
    head = bytes(body[:12])
    if len(head) < 10 or not head.startswith(_MAGIC):
        is_archive = head.startswith(b"PK\x03\x04")
        raise BadRequest(
            "npy: the body is an .npz archive: send one array, as numpy.save writes it, or several as JSON"
            if is_archive
            else "npy: the body does not start with numpy's magic bytes; was it np.save'd?"
        )
    if head[6] not in (1, 2, 3):
        raise BadRequest(f"npy: format version {head[6]} is not known; 1, 2 and 3 are")
    width = 2 if head[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(head[8:start], "little")
    if length > _MAX_HEADER or start + length > len(body):
        raise BadRequest(
            f"npy: the header claims {length} bytes, more than there may be: send the file whole"
        )
    text = bytes(body[start : start + length])
    return start + length, text.decode("latin-1")


@lru_cache
def _described(text: str) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"]]:
    """Return type, shape and order; kept, since a caller's arrays are mostly alike."""
    match = _HEADER.fullmatch(text)
    if match is None:
        raise BadRequest(
            "npy: the header does not describe a plain array of numbers "
            "(objects, strings and structured types are not read): save one of numbers, as by "
            "numpy.save(file, array.astype('float32'))"
        )
    shape = tuple(int(part) for part in match[3].replace(",", " ").split())
    if len(shape) > _MAX_DIMENSIONS:
        raise BadRequest(f"npy: {len(shape)} dimensions, at most {_MAX_DIMENSIONS} are read")
    return _dtype(match[1]), shape, "F" if match[2] == "True" else "C"


def _dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except TypeError as error:
        raise BadRequest(f"npy: unknown type {text!r}") from error
