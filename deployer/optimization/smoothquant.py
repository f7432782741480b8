"""Move the difficulty of quantization from activations to weights, where per-channel scales absorb it.

A few activation channels of a transformer are tens of times as large as the rest and eat the 256 steps of an
int8 scale. Each channel is divided by a factor and the matching row of the weights multiplied by it: the
product is the same, the activations become even. Source: Xiao et al. 2023 (SmoothQuant), equation 4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deployer.optimization import graph
from deployer.optimization.onnxfile import copied, save
from deployer.optimization.session import Array, Arrays, Session, batches

BATCH = 8
_TINY = 1e-5
"""Channels that are never larger than this say nothing about their range."""

SEEN = 1e-3
"""A channel that stays below this share of the median one was not seen to work: it is taken for a median one."""

Float32s = NDArray[np.float32]


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of each channel of an activation over the calibration set."""

    low: Float32s
    high: Float32s

    @property
    def size(self) -> Float32s:
        """Largest magnitude by channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def median(self) -> float:
        """Magnitude of the median channel among those that were larger than nothing."""
        size = self.size
        live = size[size > _TINY]
        return float(np.median(live)) if live.size else _TINY

    @property
    def span(self) -> float:
        """What one scale for all channels has to hold, zero included; 0 where nothing but zeros was seen."""
        return max(0.0, float(self.high.max())) - min(0.0, float(self.low.min()))

    @property
    def unevenness(self) -> float:
        """How many times as large as the median channel the largest is."""
        return float(self.size.max() / self.median)

    def divided(self, factor: Float32s) -> Range:
        """Return the range of the activation over ``factor`` (positive, by channel)."""
        return Range(self.low / factor, self.high / factor)


def ranges(
    model: onnx.ModelProto, calibration: Arrays, activations: Iterable[str]
) -> dict[str, Range]:
    """Run the calibration rows and return the range of each named activation, by its last axis."""
    found: dict[str, Range] = {}
    for values in measured(model, calibration, activations):
        for name, value in values.items():
            found[name] = widened(found.get(name), value)
    return found


def measured(
    model: onnx.ModelProto, calibration: Arrays, names: Iterable[str]
) -> Iterator[dict[str, Array]]:
    """Run the calibration rows in small batches and yield, for each, the named values."""
    wanted = sorted(set(names))
    probe = copied(model)
    inner = {item.name for item in (*probe.graph.output, *probe.graph.input)}
    probe.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in wanted if name not in inner
    )
    given = {item.name for item in probe.graph.input}
    asked = [name for name in wanted if name not in given]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        save(probe, path)
        session = Session(path)
        fixed = session.fixed_batch
        for feeds in batches(calibration, fixed or BATCH, fixed=fixed is not None):
            answers = session.run_all(feeds, asked) if asked else []
            known = {name: feeds[name] for name in wanted if name in given}
            yield known | dict(zip(asked, answers, strict=True))


def equalize(
    model: onnx.ModelProto, found: Mapping[str, Range], strength: float, spare: float = 0.0
) -> dict[str, Range]:
    """Even out the activations of the layers in place; return the ranges that they then have.

    ``strength`` 0 leaves all difficulty with the activations, 1 moves all of it to the weights. Activations of an
    unevenness up to ``spare`` are left as they are, which saves a multiplication at each call.
    """
    known = graph.weights(model)
    users: dict[str, list[graph.Layer]] = {}
    for layer in graph.layers(model):
        users.setdefault(layer.activation, []).append(layer)
    after = dict(found)
    additions: dict[str, list[onnx.NodeProto]] = {}
    renamed: dict[str, str] = {}
    for activation, group in users.items():
        if found[activation].unevenness <= spare:
            continue
        matrices = [numpy_helper.to_array(known[layer.weight]) for layer in group]
        factor = _factor(found[activation], matrices, strength)
        for layer, matrix in zip(group, matrices, strict=True):
            even = (matrix * factor[:, None]).astype(np.float32)
            renamed[layer.name] = graph.add_constant(model, f"{layer.name}.even_weight", even)
        inverse = graph.add_constant(model, f"{activation}.inverse", 1 / factor)
        target = f"{activation}.even"
        additions[activation] = [
            helper.make_node("Mul", [activation, inverse], [target], name=target)
        ]
        after[target] = found[activation].divided(factor)
    for node in model.graph.node:
        if node.name in renamed:
            node.input[0] = f"{node.input[0]}.even"
            node.input[1] = renamed[node.name]
    graph.insert_after(model, additions)
    graph.drop_unused(model)
    return after


def _factor(found: Range, matrices: list[Array], strength: float) -> Float32s:
    weight = np.maximum(np.max([np.abs(m).max(axis=1) for m in matrices], axis=0), _TINY)
    # What calibration never saw at work may do so later: blown up by its tiny range it would drown the others.
    size = np.where(found.size < SEEN * found.median, found.median, found.size)
    factor = size**strength / weight ** (1 - strength)
    # Only the ratios between channels matter; around 1 neither side loses digits.
    return np.asarray(factor / np.exp(np.log(factor).mean()), dtype=np.float32)


def widened(known: Range | None, value: Array) -> Range:
    """Return ``known`` with what ``value`` adds to it, by the last axis; no row adds nothing."""
    flat = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    if not len(flat):
        zero = np.zeros(flat.shape[1], np.float32)
        return known or Range(zero, zero)
    low, high = flat.min(axis=0), flat.max(axis=0)
    if known is None:
        return Range(low, high)
    return Range(np.minimum(known.low, low), np.maximum(known.high, high))
