"""What an ONNX file takes, tried at the start: an input that it answers, made of its names, shapes and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def answered(run: Callable[[Arrays], Any], specs: Sequence[TensorSpec]) -> Arrays:
    """Return the first made input that the model answers. Raises HandlerInvalid with its reason when it takes none."""
    reason = ""
    for arrays in _guesses(specs):
        try:
            run(arrays)
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


def check_inputs(model: Model) -> None:
    """Raise HandlerInvalid for an input that takes nothing."""
    for spec in model.inputs:
        axes = model.axes.get(spec.name, spec.shape)
        if 0 in axes:
            raise HandlerInvalid(
                f"input {spec.name!r} is declared as {axes}, so it takes no value: export it with a free axis, "
                "which has a name or -1 in place of 0"
            )


def _guesses(specs: Sequence[TensorSpec]) -> Iterator[Arrays]:
    free = any(None in spec.shape for spec in specs)
    inner = any(None in spec.shape[1:] for spec in specs)
    for first in (1, None) if free else (1,):
        for size in _SIZES if inner or first is None else _SIZES[:1]:
            for fill in (0, 1):
                if _cells(specs, size) <= _LARGEST:
                    yield example(specs, size, first, fill)


def _cells(specs: Sequence[TensorSpec], size: int) -> int:
    return sum(int(np.prod([size if n is None else n for n in spec.shape])) for spec in specs)
