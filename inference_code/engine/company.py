"""How far an answer depends on who else was in the batch, measured at warm-up.

Some models are not row by row: dynamic int8 takes one scale for a whole tensor, so an outlier in one request
moves the answers of all in its batch. Sums in another order move them too, by a millionth or so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from inference_code.codecs import npy
from inference_code.contract import JSON_TYPE, NPY_TYPE

#: Answers that differ by less are the same: float32 adds up to this much error over a deep model.
SAME = 1e-4


def difference(one: bytes, other: bytes, kind: str) -> float:
    """Return how far two encoded answers are apart: the largest gap between numbers over the largest number.

    Infinity when they differ in anything but numbers, or in a type that is neither JSON nor npy.

    >>> difference(b'[1.0, 2.0]', b'[1.0, 1.5]', "application/json")
    0.25
    """
    if one == other:
        return 0.0
    if kind == JSON_TYPE:
        left, right = (list(_leaves(orjson.loads(body))) for body in (one, other))
        if [x for x in left if not _number(x)] != [x for x in right if not _number(x)]:
            return float("inf")
        return _gap([x for x in left if _number(x)], [x for x in right if _number(x)])
    if kind == NPY_TYPE:
        return _gap(npy.read(one), npy.read(other))
    return float("inf")


def _gap(left: Any, right: Any) -> float:
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if a.shape != b.shape:
        return float("inf")
    largest = float(np.abs(a).max(initial=0.0))
    gap = float(np.abs(a - b).max(initial=0.0))
    return gap / largest if largest else gap


def _leaves(value: Any) -> Iterator[Any]:
    """Yield numbers, texts and keys in order; a list's length shows in how many there are."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
