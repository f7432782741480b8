"""How far an answer depends on who else was in the batch, measured at warm-up and when a bundle is made.

Some models are not row by row: dynamic int8 takes one scale for a whole tensor, so an outlier in one request
moves the answers of all in its batch. Sums in another order move them too, by a millionth or so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from inference_code.codecs import npy
from inference_code.contract import JSON_TYPE, NPY_TYPE

#: Numbers are equal that differ by less than RTOL of one and ATOL of the largest: float32 adds up to this much error
#: over a deep model.
RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class Apart:
    """How far two answers are apart.

    ``moved`` is the largest gap between numbers over the largest number, of the array where that is most; infinity when
    they differ in anything but numbers. ``same`` says that all numbers are equal within RTOL and ATOL.
    """

    moved: float = 0.0
    same: bool = True

    def worst(self, other: Apart) -> Apart:
        """Return the larger of two distances."""
        return Apart(max(self.moved, other.moved), self.same and other.same)


FAR = Apart(float("inf"), False)


def of_arrays(one: Mapping[str, Any], other: Mapping[str, Any]) -> Apart:
    """Return how far two answers are apart, array by array: each has its own largest number."""
    if list(one) != list(other):
        return FAR
    found = Apart()
    for name, array in one.items():
        found = found.worst(_gap(array, other[name]))
    return found


def of_bodies(one: bytes, other: bytes, kind: str) -> Apart:
    """Return how far two encoded answers are apart; infinitely in a type that is neither JSON nor npy.

    >>> of_bodies(b'[1.0, 2.0]', b'[1.0, 1.5]', "application/json").moved
    0.25
    """
    if one == other:
        return Apart()
    if kind == JSON_TYPE:
        left, right = (list(_leaves(orjson.loads(body))) for body in (one, other))
        if [x for x in left if not _number(x)] != [x for x in right if not _number(x)]:
            return FAR
        return _gap([x for x in left if _number(x)], [x for x in right if _number(x)])
    if kind == NPY_TYPE:
        return _gap(npy.read(one), npy.read(other))
    return FAR


def _gap(left: Any, right: Any) -> Apart:
    a, b = np.asarray(left), np.asarray(right)
    if a.shape != b.shape:
        return FAR
    if a.dtype.kind not in "biuf":
        return Apart() if a.tolist() == b.tolist() else FAR
    a, b = a.astype(np.float64), b.astype(np.float64)
    even = (a == b) | (np.isnan(a) & np.isnan(b))  # infinities included
    if even.all():
        return Apart()
    finite = np.isfinite(a)
    if not (finite & np.isfinite(b))[~even].all():
        return FAR
    gaps = np.where(even, 0.0, np.abs(np.where(even, 0.0, a) - np.where(even, 0.0, b)))
    sizes = np.abs(np.where(finite, a, 0.0))
    largest = float(sizes.max(initial=0.0))
    gap = float(gaps.max(initial=0.0))
    same = bool((gaps <= RTOL * sizes + ATOL * largest).all())
    return Apart(gap / largest if largest else gap, same)


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
