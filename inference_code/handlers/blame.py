"""Whose fault a failed run is: the client's, told with the input and what would do, or the model's.

The model is asked again with what it is known to answer. Where it still answers that, the input is at fault; whether
by its values or by its shape, a run with zeros in their place tells.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.engine.log import emit
from inference_code.errors import BadRequest, HandlerFailed, PayloadTooLarge, RequestError
from inference_code.runtime import words_of

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], Any]
#: So many inputs are tried one by one.
_MOST_TRIED = 4
#: How ONNX Runtime names the indices that a table has.
_OUTSIDE = re.compile(r"inclusive range \[-\d+,(\d+)\]")


def judged(run: Run, arrays: Arrays, known: Arrays | None, error: Exception) -> Exception:
    """Return what to raise for ``error``, which came of ``arrays``; ``known`` is an input that was answered before."""
    words = words_of(error)
    if words is None:
        return error
    if known is None or not _runs(run, known):
        emit("".join(traceback.format_exception(error)), sys.stderr)
        return HandlerFailed(f"the model fails: {words}")
    return _refusal(run, arrays, known, words)


def _refusal(run: Run, arrays: Arrays, known: Arrays, words: str) -> RequestError:
    if "allocate memory" in words or "bad_alloc" in words or "bad allocation" in words:
        return PayloadTooLarge(f"{_shapes(arrays)} needs more memory than there is: send less")
    name = _by_values(run, arrays)
    if name is not None:
        return BadRequest(f"input {name!r}: the model refuses its values: {words}{_mend(words)}")
    return BadRequest(
        f"{_shapes(arrays)}: the model refuses this input: {words}; it has answered {_shapes(known)}"
    )


def _mend(words: str) -> str:
    """Return what to send in place of an index outside a table, as far as the engine tells the table's size."""
    found = _OUTSIDE.search(words)
    return f": send whole numbers from 0 to {found[1]}" if found else ""


def _by_values(run: Run, arrays: Arrays) -> str | None:
    """Return the input in whose place zeros would be answered. Floats are not tried: few models mind their values."""
    able = [name for name, array in arrays.items() if array.dtype.kind in "iub"]
    for name in able[:_MOST_TRIED]:
        if _runs(run, {**arrays, name: np.zeros_like(arrays[name])}):
            return name
    return None


def _runs(run: Run, arrays: Arrays) -> bool:
    try:
        run(arrays)
    except Exception as error:
        if words_of(error) is None:
            raise
        return False
    return True


def _shapes(arrays: Arrays) -> str:
    return ", ".join(f"input {name!r} of shape {array.shape}" for name, array in arrays.items())
