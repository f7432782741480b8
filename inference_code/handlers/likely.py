"""Inputs that a model may well take, made from its inputs' types and shapes, to try what a batch does to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import TensorSpec
from inference_code.runtime import Model

Arrays = dict[str, NDArray[Any]]
#: Lengths that free axes are tried with: most models take the first, pictures want more.
_LENGTHS = (8, 32, 64, 1, 224)
#: Whole numbers may be indices into a table: below this, few are outside it.
_BELOW = 4
_STRETCH = 10.0


def inputs(model: Model, axes: Mapping[str, int], count: int = 3) -> list[Arrays]:
    """Return ``count`` different requests of one row each that the model answers; none when it takes none of them.

    The last one's real numbers are ten times as large, so that what shares a scale with it shows that.
    """
    for length in _LENGTHS:
        made = list(_made(model.inputs, axes, length, count))
        try:
            for arrays in made:
                model.run(arrays)
        except Exception:  # noqa: S112 - engines raise classes of their own; the next length may do
            continue
        return made
    return []


def _made(
    specs: Sequence[TensorSpec], axes: Mapping[str, int], length: int, count: int
) -> Iterator[Arrays]:
    random = np.random.default_rng(14)
    for number in range(count):
        stretch = _STRETCH if number == count - 1 else 1.0
        yield {spec.name: _array(spec, axes[spec.name], length, stretch, random) for spec in specs}


def _array(
    spec: TensorSpec, axis: int, length: int, stretch: float, random: np.random.Generator
) -> NDArray[Any]:
    shape = [length if size is None else size for size in spec.shape]
    shape[axis] = 1
    if spec.dtype == "str":
        return random.choice(np.array(["a", "b", "1"], dtype=object), shape)
    if spec.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if np.issubdtype(np.dtype(spec.dtype), np.integer):
        return random.integers(0, _BELOW, shape).astype(spec.dtype)
    return (random.standard_normal(shape) * stretch).astype(spec.dtype)
