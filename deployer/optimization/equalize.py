"""Move the difficulty of quantization from activations to weights, where per-channel scales absorb it.

A few activation channels of a transformer are tens of times as large as the rest and eat the 256 steps of an
int8 scale. Each channel is divided by a factor and the matching row of the weights multiplied by it: the
product is the same, the activations become even. Source: Xiao et al. 2023 (SmoothQuant), equation 4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
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
    def unevenness(self) -> float:
        """How many times as large as the median channel the largest is."""
        return float(self.size.max() / max(float(np.median(self.size)), _TINY))

    def divided(self, factor: Float32s) -> Range:
        """Return the range of the activation over ``factor`` (positive, by channel)."""
        return Range(self.low / factor, self.high / factor)


def ranges(
    model: onnx.ModelProto, calibration: Arrays, activations: Iterable[str]
) -> dict[str, Range]:
    """Run the calibration rows and return the range of each named activation, by its last axis."""
    wanted = sorted(set(activations))
    found: dict[str, Range] = {}
    probe = copied(model)
    inner = {item.name for item in probe.graph.output}
    probe.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in wanted if name not in inner
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        save(probe, path)
        session = Session(path)
        fixed = session.fixed_batch
        for feeds in batches(calibration, fixed or BATCH, fixed=fixed is not None):
            for name, value in zip(wanted, session.run_all(feeds, wanted), strict=True):
                found[name] = _widen(found.get(name), value)
    return found


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
    factor = np.maximum(found.size, _TINY) ** strength / weight ** (1 - strength)
    # Only the ratios between channels matter; around 1 neither side loses digits.
    return np.asarray(factor / np.exp(np.log(factor).mean()), dtype=np.float32)


def _widen(known: Range | None, value: Array) -> Range:
    flat = value.reshape(-1, value.shape[-1])
    low, high = flat.min(axis=0), flat.max(axis=0)
    if known is None:
        return Range(low, high)
    return Range(np.minimum(known.low, low), np.maximum(known.high, high))
