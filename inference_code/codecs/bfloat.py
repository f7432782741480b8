"""bfloat16, for which numpy has no type: the upper half of a float32's bits.

A client sends and gets float32. What comes in is rounded to the nearest bfloat16, ties to even, as processors do; a
number beyond the largest one becomes the largest one, so that none turns infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_INFINITE = np.uint32(0x7F80)


def to_bits(array: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the bits of float32 numbers rounded to bfloat16.

    >>> [hex(bits) for bits in to_bits(np.float32([1.0, -2.0]))]
    ['0x3f80', '0xc000']
    """
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits >> 16) + ((bits & 0xFFFF) + ((bits >> 16) & 1) > 0x8000)
    magnitude = rounded & 0x7FFF
    rounded = np.where((magnitude == _INFINITE) & np.isfinite(array), rounded - 1, rounded)
    # Rounding would turn some of what is no number into infinity.
    rounded = np.where(np.isnan(array), (bits >> 16) | 0x40, rounded)
    return rounded.astype(np.uint16).reshape(np.shape(array))


def from_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 numbers as float32, exactly.

    >>> from_bits(np.uint16([0x3F80, 0xC000])).tolist()
    [1.0, -2.0]
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)
