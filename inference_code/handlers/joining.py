"""Requests joined along the axes that the bundle's proof names, and each one's part of the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import Batching, Manifest, TensorSpec
from inference_code.errors import HandlerFailed

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_AGAIN = "package the model again: `deployer package`"


class Joining:
    """How requests are joined; ``refusal`` says why not, "" when they may be."""

    def __init__(
        self, manifest: Manifest | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        """Read the proof in ``manifest``, and hold it against the model's own inputs and outputs."""
        self._names = [spec.name for spec in outputs]
        self._proof = (manifest.proof if manifest else None) or Batching()
        self.refusal = _refusal(manifest) or _misfit(self._proof, inputs, outputs)
        axes = self._proof.axes
        # Looked up once: the rest is done for every batch.
        self._first = next(iter(axes.items()), ("", 0))
        self._axes = [self._proof.outputs.get(name) for name in self._names]
        # Whatever was decoded for a model without further free axes can be joined.
        self._rigid = not self.refusal and all(
            None not in (*spec.shape[: axes[spec.name]], *spec.shape[axes[spec.name] + 1 :])
            for spec in inputs
        )

    @property
    def by_first_axis(self) -> str:
        """Why requests may not be joined along the first axis of all inputs and outputs, "" when they may."""
        if self.refusal or not {*self._proof.axes.values(), *self._proof.outputs.values()} - {0}:
            return self.refusal
        return "the batch is not the first axis of every input and output"

    @property
    def axes(self) -> Mapping[str, int]:
        """The axis of each input along which requests are joined."""
        return self._proof.axes

    @property
    def outputs(self) -> Mapping[str, int | None]:
        """The axis of each output that carries the rows; None of one that all requests share."""
        return self._proof.outputs

    def rows(self, arrays: Arrays) -> int:
        """Return how many rows a request has: its inputs were checked to agree in that."""
        name, axis = next(iter(self._proof.axes.items()))
        return int(arrays[name].shape[axis])

    def fit(self, items: Sequence[Arrays]) -> bool:
        """Return whether requests are of one shape but for their rows."""
        return not self.refusal and (self._rigid or all(self._alike(items[0], x) for x in items))

    def joined(self, items: Sequence[Arrays]) -> dict[str, Array]:
        """Return the inputs of one run for all requests."""
        return {
            name: np.concatenate([arrays[name] for arrays in items], axis)
            for name, axis in self._proof.axes.items()
        }

    def parts(self, items: Sequence[Arrays], outputs: Sequence[Array]) -> list[dict[str, Array]]:
        """Return each request's part of the outputs of a run for all.

        Raises HandlerFailed when an output has not as many rows as were sent.
        """
        name, axis = self._first
        named = list(zip(self._names, self._axes, outputs, strict=True))
        answers: list[dict[str, Array]] = []
        start = 0
        for arrays in items:
            end = start + arrays[name].shape[axis]
            answers.append({each: _cut(output, at, start, end) for each, at, output in named})
            start = end
        for each, at, output in named:
            if at is not None and output.shape[at] != start:
                raise HandlerFailed(f"the model's output {each!r} has not one row per input row")
        return answers

    def _alike(self, one: Arrays, other: Arrays) -> bool:
        for name, axis in self._proof.axes.items():
            left, right = one[name].shape, other[name].shape
            if (*left[:axis], *left[axis + 1 :]) != (*right[:axis], *right[axis + 1 :]):
                return False
        return True


def _cut(output: Array, axis: int | None, start: int, end: int) -> Array:
    if axis == 0:
        return output[start:end]
    if axis is None:
        return output
    return np.ascontiguousarray(output[(*(slice(None),) * axis, slice(start, end))])


def _refusal(manifest: Manifest | None) -> str:
    if manifest is None:
        return f"no manifest proves that requests may be joined: {_AGAIN}"
    found = manifest.batching
    if found is None:
        return f"the bundle is older than the proof that requests may be joined: {_AGAIN}"
    if found.reason:
        return found.reason
    return "" if manifest.proof else f"the proof is about another model file: {_AGAIN}"


def _misfit(proof: Batching, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    """Return why a proof is not about a model of these inputs and outputs."""
    sides = ((proof.axes, inputs), (proof.outputs, outputs))
    for axes, specs in sides:
        if set(axes) != {spec.name for spec in specs}:
            return f"the proof names other inputs or outputs than the model: {_AGAIN}"
        for spec in specs:
            axis = axes[spec.name]
            if axis is not None and axis >= len(spec.shape):
                return f"the proof says that {spec.name!r} has an axis {axis}: {_AGAIN}"
    if any(spec.shape[proof.axes[spec.name]] is not None for spec in inputs):
        return "the number of rows is fixed"
    return ""
