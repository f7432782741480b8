"""Rows for a model of which nobody gave any: made of its inputs' names, types and shapes and of what its graph says.

The values are those of ``inference_code.plausible``, which guesses for the server too. Here a model is given more of
them, at sizes of use: real numbers at three scales, pictures as noise and as even patches, in 0..1 and normalised.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from deployer.errors import InputError
from deployer.optimization.hints import hints as hints_of
from deployer.optimization.session import Array, Arrays, Session
from inference_code import plausible
from inference_code.contract import TensorSpec

Shapes = Mapping[str, Sequence[int]]

ROWS, CALIBRATION_ROWS = 256, 64
"""Made for judging and for calibration; fewer where a row is large."""

REQUESTS = 8
_MOST_CELLS = 2**26
_FEWEST_ROWS = 32
_LARGEST_ROW = 2**22
_SIZES = (64, 8, 32, 16, 128, 256, 512, 1, 1024)
_PICTURE_SIZES = (224, 64, 32, 128, 256, 512, 8, 1)
_CHANNELS = (1, 3, 4)
_SCALES = (0.3, 1.0, 3.0)
_BELOWS = (4, 2, 1)
_TRIED = 4


@dataclass(frozen=True)
class Form:
    """Inputs that a model answers with numbers: their specs with no axis free but the first, and their values' kind."""

    specs: tuple[TensorSpec, ...]
    hints: plausible.Hints
    positive: bool

    def drawn(self, rows: int, seed: int) -> dict[str, Array]:
        """Return ``rows`` rows, the same for the same ``seed``; a fixed first axis keeps its size."""
        made = plausible.draw(self.specs, self.hints, rows, seed)
        return {name: _styled(name, value, self.positive) for name, value in made.items()}

    def told(self, given: Sequence[TensorSpec]) -> Iterator[str]:
        """Yield what was taken for the free axes of the inputs ``given``, with the option that sets them."""
        free = {spec.name for spec in given if None in spec.shape[1:]}
        for spec in self.specs:
            if spec.name in free:
                shown = ",".join(str(size or 1) for size in spec.shape)
                yield f"input {spec.name!r} is taken as {shown}; --shape {spec.name}=... says otherwise"


def found(
    session: Session, model: onnx.ModelProto, shapes: Shapes, seed: int, *, first: int | None
) -> Form:
    """Return the first form of inputs that the model answers, without NaN where there is one.

    ``first`` is the number of rows that the trial is made with, None for the number that the model declares, else 1.
    ``shapes`` are those of whole inputs, by name. Raises InputError naming the input and the option when there is none.
    """
    specs = [_shaped(spec, shapes) for spec in session.inputs]
    for name in shapes:
        if name not in {spec.name for spec in specs}:
            known = ", ".join(spec.name for spec in specs)
            raise InputError(
                f"--shape: the model has no input {name!r}", hint=f"its inputs: {known}"
            )
    _check_types(specs)
    graph = hints_of(model)
    reasons: list[str] = []

    def answered(arrays: Arrays) -> None:
        answers = session.run_every(arrays)
        for spec, value in zip(session.outputs, answers, strict=True):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any():
                raise InputError(f"it answers with NaN in {spec.name!r}")

    for form in _forms(specs, graph):
        try:
            for number in range(_TRIED):
                answered(form.drawn(first or 1, seed + number))
        except InputError as error:
            reasons.append(error.message)
            continue
        return form
    raise _none(specs, reasons)


def rows(session: Session, model: onnx.ModelProto, shapes: Shapes, seed: int) -> tuple[Form, int]:
    """Return the form of rows for a climb and how many to judge by. Raises InputError as ``found`` does."""
    _check_rows(session.inputs)
    form = found(session, model, shapes, seed, first=session.fixed_batch or 2)
    form = replace(form, specs=tuple(replace(s, shape=(None, *s.shape[1:])) for s in form.specs))
    return form, max(_FEWEST_ROWS, min(ROWS, _MOST_CELLS // max(_cells(form.specs), 1)))


def _forms(specs: Sequence[TensorSpec], graph: plausible.Hints) -> Iterator[Form]:
    """Yield forms to try: sizes first, then smaller whole numbers, then real numbers above zero alone."""
    for positive in (False, True):
        for below in _BELOWS:
            limits = {spec.name: _below(spec, below) for spec in specs} | dict(graph.below)
            hinted = replace(graph, below=limits)
            tried: set[tuple[TensorSpec, ...]] = set()
            for at in range(len(_SIZES)):
                made = tuple(_sized(spec, graph, specs, at) for spec in specs)
                if made not in tried and (not tried or _cells(made) <= _LARGEST_ROW):
                    tried.add(made)
                    yield Form(made, hinted, positive)


def _sized(
    spec: TensorSpec, graph: plausible.Hints, specs: Sequence[TensorSpec], at: int
) -> TensorSpec:
    """Return the spec with the size number ``at`` in its free axes, but for those of the rows."""
    names = graph.axes.get(spec.name, ())
    firsts = {graph.axes.get(each.name, (None,))[:1] for each in specs}
    batch = {name for each in firsts for name in each if isinstance(name, str)}
    size = (*_PICTURE_SIZES, 1)[at] if _is_picture(spec) else _SIZES[at]
    shape = [
        each
        if each is not None or not place
        else None
        if place < len(names) and names[place] in batch
        else size
        for place, each in enumerate(spec.shape)
    ]
    return replace(spec, shape=tuple(shape))


def _shaped(spec: TensorSpec, shapes: Shapes) -> TensorSpec:
    """Return the spec with the sizes that were given for it, the first axis as it was."""
    if spec.name not in shapes:
        return spec
    given = tuple(shapes[spec.name])
    declared = ",".join("any" if size is None else str(size) for size in spec.shape)
    fits = len(given) == len(spec.shape) and all(
        own is None or own == size for own, size in zip(spec.shape, given, strict=True)
    )
    if not fits or min(given, default=1) < 1:
        raise InputError(
            f"--shape {spec.name}={','.join(map(str, given))}: the model takes {declared}"
        )
    if spec.shape[:1] == (None,) and given[0] != 1:
        raise InputError(
            f"--shape {spec.name}: its first axis is the rows, which is free",
            hint=f"write 1 there: {spec.name}={','.join(map(str, (1, *given[1:])))}",
        )
    return replace(spec, shape=(*spec.shape[:1], *given[1:]))


def _check_types(specs: Sequence[TensorSpec]) -> None:
    if not specs:
        raise InputError("the model has no input, so there is nothing to ask it")
    for spec in specs:
        if spec.dtype == "str":
            raise InputError(
                f"input {spec.name!r} takes texts, of which no rows can be made or given",
                hint="export the model behind its text processing, where its inputs are numbers",
            )
        if spec.dtype.startswith(("tensor", "seq", "map", "optional")):
            raise InputError(f"input {spec.name!r} is a {spec.dtype}, of which no rows can be made")


def _check_rows(specs: Sequence[TensorSpec]) -> None:
    """Raise InputError where the inputs do not share a first axis, which is the rows."""
    for spec in specs:
        if not spec.shape:
            raise InputError(
                f"input {spec.name!r} declares no axis: without one for the rows nothing can be judged",
                hint="`deployer edge` and `deployer package` take it as it is",
            )
    firsts = {spec.name: spec.shape[0] for spec in specs}
    if len(set(firsts.values())) > 1:
        shown = ", ".join(f"{name} {size or 'any'}" for name, size in firsts.items())
        raise InputError(
            f"the first axes of the inputs differ ({shown}): the rows are on none, so nothing can be judged",
            hint="`deployer edge` and `deployer package` take it as it is",
        )


def _below(spec: TensorSpec, below: int) -> int:
    return 256 if spec.dtype == "uint8" and len(spec.shape) > 2 else below


def _cells(specs: Sequence[TensorSpec]) -> int:
    return sum(math.prod(size or 1 for size in spec.shape) for spec in specs)


def _is_picture(spec: TensorSpec) -> bool:
    shape, number = spec.shape, spec.dtype.startswith(("float", "uint8"))
    return number and len(shape) == 4 and (shape[1] in _CHANNELS or shape[3] in _CHANNELS)


def _styled(name: str, value: Array, positive: bool) -> Array:
    """Return drawn normal numbers row by row as what inputs of this shape may hold."""
    if value.dtype.kind != "f" or not value.ndim or "mask" in name.lower():
        return value
    made = value.copy()
    for row in range(len(made)):
        made[row] = _row(made[row], row, positive)
    return made


def _row(drawn: Array, row: int, positive: bool) -> Array:
    if drawn.ndim != 3 or not {drawn.shape[0], drawn.shape[2]} & set(_CHANNELS):
        scaled = drawn * drawn.dtype.type(_SCALES[row % len(_SCALES)])
        return np.asarray(np.abs(scaled) if positive else scaled)
    picture = _patches(drawn) if row % 4 >= 2 else drawn
    return np.asarray(np.clip(picture / 6 + 0.5, 0, 1) if positive or row % 2 else picture)


def _patches(drawn: Array) -> Array:
    """Return a picture of even patches, an eighth of its sides: nets see areas, which noise has none of."""
    inner = (1, 2) if drawn.shape[0] in _CHANNELS else (0, 1)
    for axis in inner:
        size = drawn.shape[axis]
        step = max(1, size // 8)
        drawn = np.take(drawn, np.arange(size) // step * step, axis=axis)
    return drawn


def _none(specs: Sequence[TensorSpec], reasons: Sequence[str]) -> InputError:
    free = [spec.name for spec in specs if None in spec.shape[1:]]
    first = reasons[0] if reasons else "none could be made"
    nan = next((why for why in reasons if "NaN" in why), None)
    if nan:
        return InputError(
            f"no input can be made that the model answers with numbers: {nan}",
            hint="give rows of its own: --calibration FILE.npz (edge: --samples)",
        )
    where = f", nor a size for the free axes of {', '.join(map(repr, free))}" if free else ""
    set_by = f"set them: --shape {free[0]}=1,..., or " if free else ""
    return InputError(
        f"no input can be made that the model answers{where} (the first try: {first})",
        hint=f"{set_by}give rows: --calibration FILE.npz (edge: --samples)",
    )
