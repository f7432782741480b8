"""Inputs that a model may well take, guessed from its names, types and shapes: the one place that guesses.

The server tries a model with them where there are no samples, packaging shows by them whether a batch moves answers,
and optimising draws rows from them where nobody gave any. numpy only: no engine is needed to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import TensorSpec

Arrays = dict[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]
Run = Callable[[Arrays], Any]

#: Sizes for free axes: texts take any, pictures and sounds take from some size on, or multiples of 32. Not 1 at first:
#: over an axis of one a softmax or a mean shows nothing.
SIZES = (8, 1, 16, 32, 64, 128, 224, 256, 512, 1024)
#: No larger input is made, in numbers of one row.
_LARGEST = 2**22
#: Whole numbers may be indices into a table: below 4, few are outside it; of segments there are two.
_BELOWS = (4, 2)
_STRETCH = 10.0
_TEXTS = ("a", "b", "1")


@dataclass(frozen=True)
class Hints:
    """What a graph tells beyond names, types and shapes, by input; all may be empty.

    ``axes`` are the declared axes (a size, a name, or None). ``rows`` is the axis along which the rows lie, by default
    the first. ``below`` is the number of entries of the table that an input of whole numbers is an index into.
    """

    axes: Mapping[str, tuple[int | str | None, ...]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    below: Mapping[str, int] = field(default_factory=dict)


def draw(
    specs: Sequence[TensorSpec],
    hints: Hints | None = None,
    rows: int = 1,
    seed: int = 0,
    *,
    free: int = SIZES[0],
    stretch: float = 1.0,
) -> Arrays:
    """Return random inputs of ``rows`` rows, the same for the same ``seed``; free axes are ``free`` long.

    Real numbers are normal with deviation ``stretch``. Whole numbers are below the hint, else below 4. Of a mask, each
    row's first part is 1: half of its length at least. An axis of fixed size keeps it, that of the rows too.
    """
    given = hints or Hints()
    return _filled(specs, given, _shapes(specs, given, rows, free), seed, stretch)


def answered(
    run: Run,
    specs: Sequence[TensorSpec],
    hints: Hints | None = None,
    rows: int | None = 1,
    seed: int = 0,
    *,
    count: int = 1,
    constant: bool = False,
    failed: Callable[[Exception], object] = lambda error: None,
) -> list[Arrays]:
    """Return the first ``count`` inputs of one shape that ``run`` takes, all different; none where it takes none.

    Free axes are given one size after another; ``rows`` None: the rows too. Values are drawn as by `draw`, of more than
    one input the last's real numbers ten times as large: what shares a scale with it shows that. ``constant`` tries
    zeros and ones before, which are short in JSON. Each failure is handed to ``failed``, which may raise it again.
    """
    given = hints or Hints()
    tried: list[Shapes] = []
    for size in SIZES:
        shapes = _shapes(specs, given, rows, size)
        too_large = tried and _cells(shapes) > _LARGEST * (rows or 1)
        if too_large or shapes in tried:
            continue
        tried.append(shapes)
        for made in _series(specs, given, shapes, seed, count, constant):
            try:
                for arrays in made:
                    run(arrays)
            except Exception as error:  # engines raise classes of their own
                failed(error)
                continue
            return made
    return []


def _series(
    specs: Sequence[TensorSpec], hints: Hints, shapes: Shapes, seed: int, count: int, constant: bool
) -> Iterator[list[Arrays]]:
    if constant:
        yield from ([_constant(specs, shapes, fill)] * count for fill in (0, 1))
    stretches = [1.0] * (count - 1) + [_STRETCH if count > 1 else 1.0]
    for below in _BELOWS:
        yield [
            _filled(specs, hints, shapes, seed + at, by, below) for at, by in enumerate(stretches)
        ]


def _shapes(specs: Sequence[TensorSpec], hints: Hints, rows: int | None, free: int) -> Shapes:
    """Return sizes: the rows' axis has ``rows``, as has every axis named as a first axis is, a state's say."""
    named = {
        axis
        for spec in specs
        for axis in hints.axes.get(spec.name, ())[:1]
        if isinstance(axis, str) and not hints.rows
    }
    found = {}
    for spec in specs:
        names = hints.axes.get(spec.name, (None,) * len(spec.shape))
        at = hints.rows.get(spec.name, 0)
        sizes = []
        for place, size in enumerate(spec.shape):
            many = free if rows is None else rows
            is_rows = place == at or (place < len(names) and names[place] in named)
            sizes.append(size if size is not None else many if is_rows else free)
        found[spec.name] = tuple(sizes)
    return found


def _cells(shapes: Shapes) -> int:
    return sum(int(np.prod(shape, dtype=np.float64)) for shape in shapes.values())


def _filled(
    specs: Sequence[TensorSpec],
    hints: Hints,
    shapes: Shapes,
    seed: int,
    stretch: float,
    below: int = _BELOWS[0],
) -> Arrays:
    random = np.random.default_rng(seed)
    return {
        spec.name: _array(
            spec, shapes[spec.name], hints.below.get(spec.name, below), stretch, random
        )
        for spec in specs
    }


def _array(
    spec: TensorSpec,
    shape: tuple[int, ...],
    below: int,
    stretch: float,
    random: np.random.Generator,
) -> NDArray[Any]:
    if spec.dtype == "str":
        return random.choice(np.array(_TEXTS, dtype=object), shape)
    kind = np.dtype(spec.dtype)
    if "mask" in spec.name.lower() and len(shape) == 2 and shape[1] > 1:
        kept = random.integers(shape[1] // 2, shape[1], (shape[0], 1), endpoint=True)
        return np.asarray(np.arange(shape[1]) < kept).astype(kind)
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind.kind in "iu":
        most = min(below, np.iinfo(kind).max)
        return random.integers(0, most, shape).astype(kind)
    return np.asarray(random.standard_normal(shape) * stretch).astype(kind)


def _constant(specs: Sequence[TensorSpec], shapes: Shapes, fill: int) -> Arrays:
    """Return ``fill`` everywhere, and empty texts."""
    return {
        spec.name: np.full(shapes[spec.name], "", dtype=object)
        if spec.dtype == "str"
        else np.full(shapes[spec.name], fill, dtype=spec.dtype)
        for spec in specs
    }
