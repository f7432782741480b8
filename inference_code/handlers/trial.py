"""What an ONNX file takes, tried: inputs that it answers, made of its names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from inference_code import plausible
from inference_code.errors import HandlerInvalid
from inference_code.runtime import Model, words_of

Arrays = dict[str, NDArray[Any]]
_SAMPLES = "package it with --samples: one request that it answers"
_SEED = 14


def answered(model: Model) -> Arrays:
    """Return the first made input that the model answers. Raises HandlerInvalid with its reason when it takes none."""
    reasons: list[str] = []

    def failed(error: Exception) -> None:
        words = words_of(error)
        if words is None:
            raise error
        reasons.append(words)

    hints = plausible.Hints(axes=model.axes)
    for rows in (1, None):
        found = plausible.answered(
            model.run, model.inputs, hints, rows, _SEED, constant=True, failed=failed
        )
        if found:
            return found[0]
    raise HandlerInvalid(
        f"the model answers none of the inputs that could be made for it (the first: {reasons[0]}); {_SAMPLES}"
    )


def known(model: Model) -> Arrays | None:
    """Return the first made input that the model answers, None when it answers none."""
    try:
        return answered(model)
    except HandlerInvalid:
        return None


def several(model: Model, axes: Mapping[str, int], count: int = 3) -> list[Arrays]:
    """Return ``count`` different requests of one row each along ``axes``; none when the model takes none of them."""
    hints = plausible.Hints(rows=axes)
    return plausible.answered(model.run, model.inputs, hints, 1, _SEED, count=count)


def check_inputs(model: Model) -> None:
    """Raise HandlerInvalid for an input that takes nothing."""
    for spec in model.inputs:
        axes = model.axes.get(spec.name, spec.shape)
        if 0 in axes:
            raise HandlerInvalid(
                f"input {spec.name!r} is declared as {axes}, so it takes no value: export it with a free axis, "
                "which has a name or -1 in place of 0"
            )
