"""What an ONNX file takes, tried at the start: an input that it answers, made of its names, shapes and types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import TensorSpec
from inference_code.errors import HandlerInvalid
from inference_code.runtime import Model, example, words_of

Arrays = dict[str, NDArray[Any]]
#: Sizes for free axes: texts take any, pictures and sounds take from some size on, or multiples of 32.
_SIZES = (1, 8, 16, 32, 64, 128, 224, 256, 512, 1024)
#: No larger input is made, in numbers.
_LARGEST = 2**22
_SAMPLES = "package it with --samples: one request that it answers"


def answered(model: Model) -> Arrays:
    """Return the first made input that the model answers. Raises HandlerInvalid with its reason when it takes none."""
    reason = ""
    for arrays in _guesses(model):
        try:
            model.run(arrays)
        except Exception as error:
            words = words_of(error)
            if words is None:
                raise
            reason = reason or words
        else:
            return arrays
    raise HandlerInvalid(
        f"the model answers none of the inputs that could be made for it (the first: {reason}); {_SAMPLES}"
    )


def known(model: Model) -> Arrays | None:
    """Return the first made input that the model answers, None when it answers none."""
    try:
        return answered(model)
    except HandlerInvalid:
        return None


def check_inputs(model: Model) -> None:
    """Raise HandlerInvalid for an input that takes nothing."""
    for spec in model.inputs:
        axes = model.axes.get(spec.name, spec.shape)
        if 0 in axes:
            raise HandlerInvalid(
                f"input {spec.name!r} is declared as {axes}, so it takes no value: export it with a free axis, "
                "which has a name or -1 in place of 0"
            )


def _guesses(model: Model) -> Iterator[Arrays]:
    """Yield inputs of one row and small sizes first, then those of one size in every free axis."""
    free = any(None in spec.shape for spec in model.inputs)
    for first, specs in ((1, _of_one_row(model)), (None, model.inputs))[: 1 + free]:
        inner = any(None in spec.shape[1:] for spec in specs) or first is None
        for size in _SIZES if inner else _SIZES[:1]:
            for fill in (0, 1):
                if size == 1 or _cells(specs, size) <= _LARGEST:
                    yield example(specs, size, first, fill)


def _of_one_row(model: Model) -> Sequence[TensorSpec]:
    """Return the inputs with 1 wherever an axis is named as a first axis is: the state of a batch, say."""
    axes = {spec.name: model.axes.get(spec.name, spec.shape) for spec in model.inputs}
    firsts = {axis for found in axes.values() for axis in found[:1] if isinstance(axis, str)}
    return [
        replace(
            s,
            shape=tuple(
                1 if a in firsts else n for n, a in zip(s.shape, axes[s.name], strict=True)
            ),
        )
        for s in model.inputs
    ]


def _cells(specs: Sequence[TensorSpec], size: int) -> int:
    return sum(int(np.prod([size if n is None else n for n in spec.shape])) for spec in specs)
