"""Values that a client sent as an array of the type and shape that an input takes, or a refusal that names the input.

A number is taken when it has the same value in the input's type: 3.0 is the int64 3, 1 is true, 300 is no int8. Floats
are rounded as numpy does, and refused when that would make them infinite.
"""

from __future__ import annotations

from decimal import Decimal
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import TensorSpec
from inference_code.errors import BadRequest

Array = NDArray[Any]
NUMPY_TYPES = {
    name: np.dtype(name)
    for name in (
        "bool",
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
        *(f"float{bits}" for bits in (16, 32, 64)),
    )
}
#: From here on a float64 holds not every whole number.
_EXACT = 2.0**53
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def from_json(value: Any, spec: TensorSpec) -> Array:
    """Return the array of a JSON value of nested lists; not yet of the input's type. Raises BadRequest."""
    array = _texts(value, spec) if spec.dtype == "str" else _numbers(value, spec)
    if not array.size:
        raise BadRequest(
            f"input {spec.name!r} holds an empty list; give it a value at least, or send npy or "
            "datatype, shape and data"
        )
    return array


def from_cells(rows: list[list[str]], spec: TensorSpec) -> Array:
    """Return the cells of CSV lines for an input of texts, of booleans or of whole numbers. Raises BadRequest."""
    if spec.dtype == "bool":
        return np.array([[_boolean(cell, spec) for cell in row] for row in rows])
    cells = np.array(rows, dtype=object)
    return cells if spec.dtype == "str" else _whole(cells, spec)


def loses_digits(array: Array, spec: TensorSpec) -> bool:
    """Return whether an input takes whole numbers, and floats of this array may stand for others."""
    return (
        "int" in spec.dtype and array.dtype == np.float64 and bool(np.any(np.abs(array) >= _EXACT))
    )


def fit(array: Array, spec: TensorSpec, folded: bool = False) -> Array:
    """Return ``array`` in the type of an input, checked against its shape. Raises BadRequest.

    ``folded`` is for CSV and npy, which may hold it in another shape (``_unfolded``).
    """
    # The usual case first: it is on the way of every request.
    if array.shape[1:] != spec.shape[1:] or spec.shape[:1] != (None,):
        array = _unfolded(array, spec) if folded else array
        _check_shape(array, spec)
    if spec.dtype == "str":
        if array.dtype != object:
            raise BadRequest(f"input {spec.name!r} takes text, not {array.dtype}: send it as JSON")
        return array
    dtype = NUMPY_TYPES[spec.dtype]
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf":
        held = {"U": "text", "S": "text", "c": "complex numbers"}.get(
            array.dtype.kind, "null or text"
        )
        raise BadRequest(
            f"input {spec.name!r} takes {spec.dtype} numbers only (no text, no null), and the body holds {held}"
        )
    if dtype.kind == "f":
        return _narrow(array, dtype, spec)
    return _whole_number(array, dtype, spec)


def _unfolded(array: Array, spec: TensorSpec) -> Array:
    """Return what CSV or npy holds in the shape of an input, where only one is meant.

    Lines of CSV become the rows of any shape, and an example without the first axis becomes the only one.
    """
    tail = [n for n in spec.shape[1:] if n is not None]
    known = len(tail) == len(spec.shape[1:])
    if not spec.shape and array.size == 1:
        return array.reshape(())
    if array.ndim == 2 and len(spec.shape) != 2 and known and array.shape[1] == prod(tail):
        return array.reshape(len(array), *tail)
    return array[None] if array.ndim == len(spec.shape) - 1 else array


def wrong_shape(array: Array, spec: TensorSpec) -> BadRequest:
    """Return the refusal of an array whose shape an input does not take."""
    if not spec.shape:
        return BadRequest(
            f"input {spec.name!r} takes one value, the body holds {array.shape}: the model's file declares "
            "no axes for it, so export it with its shape if it has any"
        )
    want = ", ".join("any" if n is None else str(n) for n in spec.shape)
    return BadRequest(
        f"input {spec.name!r} takes shape ({want}), the body holds {array.shape}: {_mend(array, spec)}"
    )


def _mend(array: Array, spec: TensorSpec) -> str:
    """Return what would make the array fit."""
    if array.ndim == len(spec.shape) - 1:
        return "put it into one more list, as one row of several"
    if array.ndim != len(spec.shape):
        return f"send {len(spec.shape)} axes, not {array.ndim}"
    wrong = [axis for axis, want in enumerate(spec.shape) if want not in (None, array.shape[axis])]
    axis = wrong[-1]  # the first axis may be fed in pieces
    return f"axis {axis} must be {spec.shape[axis]} long"


def _check_shape(array: Array, spec: TensorSpec) -> None:
    if array.ndim != len(spec.shape):
        raise wrong_shape(array, spec)
    # A fixed first axis is the handler's to check: it may be fed in pieces.
    for have, want in zip(array.shape[1:], spec.shape[1:], strict=True):
        if want is not None and have != want:
            raise wrong_shape(array, spec)


def _texts(value: Any, spec: TensorSpec) -> Array:
    try:
        array = np.array(value, dtype=object)
    except ValueError:
        raise _ragged(spec, "text") from None
    for item in array.flat:
        if isinstance(item, list):
            raise _ragged(spec, "text")
        if not isinstance(item, str):
            raise BadRequest(f"input {spec.name!r} takes text, not {str(item)[:40]}")
    return array


def _numbers(value: Any, spec: TensorSpec) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise _ragged(spec, "numbers") from None
    if loses_digits(array, spec):  # a float among whole numbers made floats of all
        return _whole(np.array(value, dtype=object), spec)
    return array


def _ragged(spec: TensorSpec, what: str) -> BadRequest:
    return BadRequest(
        f"input {spec.name!r}: rows of different lengths, or no {what}: make all lists of one axis equally long"
    )


def _whole(cells: Array, spec: TensorSpec) -> Array:
    """Return numbers, or cells of CSV, as whole numbers without a float in between."""
    dtype = NUMPY_TYPES[spec.dtype]
    info = np.iinfo(dtype)
    for value in map(float, cells.flat):
        if not float(info.min) <= value <= float(info.max):
            raise _too_large(value, spec)
    exact = [Decimal(cell) for cell in cells.flat]
    for number in exact:
        if number != number.to_integral_value():
            raise _no_whole(number, spec)
        if not info.min <= number <= info.max:
            raise _too_large(number, spec)
    return np.array([int(number) for number in exact], dtype=dtype).reshape(cells.shape)


def _whole_number(array: Array, dtype: np.dtype[Any], spec: TensorSpec) -> Array:
    if not array.size:
        return array.astype(dtype)
    if array.dtype.kind == "f":
        broken = array[array != np.floor(array)]  # NaN is unlike itself
        if broken.size:
            raise _no_whole(broken.flat[0], spec)
    least, most = (0, 1) if dtype.kind == "b" else _limits(dtype)
    for value in (array.min().item(), array.max().item()):
        if not least <= value <= most:
            raise _too_large(value, spec)
    return array.astype(dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _narrow(array: Array, dtype: np.dtype[Any], spec: TensorSpec) -> Array:
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        array = array.astype(np.float64)  # as other forms of a request come
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        finite = array[np.isfinite(array)]
        raise _too_large(finite.flat[np.abs(finite).argmax()], spec) from None


def _boolean(cell: str, spec: TensorSpec) -> bool:
    found = _BOOLEANS.get(cell.strip().lower())
    if found is None:
        raise _no_whole(repr(cell[:40]), spec)
    return found


def _no_whole(value: Any, spec: TensorSpec) -> BadRequest:
    if spec.dtype == "bool":
        return BadRequest(f"input {spec.name!r} takes true or false (or 1 and 0), not {value}")
    return BadRequest(f"input {spec.name!r} takes whole numbers ({spec.dtype}), not {value}")


def _too_large(value: Any, spec: TensorSpec) -> BadRequest:
    if spec.dtype == "bool":
        return _no_whole(value, spec)
    return BadRequest(f"input {spec.name!r}: a value does not fit into {spec.dtype}: {value}")
