"""The float tail: behind the last layers with weights a scale may have to serve two meanings, and serves neither.

A detector joins boxes (0 to 640) and scores (0 to 1) in one Concat: 255 steps over 640 leave a score two values. What
lies between the last layers with weights and the outputs costs next to nothing in float, so it stays float wherever
the calibration rows show that it joins values of different ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from deployer.optimization import graph
from deployer.optimization.searches import Store
from deployer.optimization.session import Array, Arrays
from deployer.optimization.smoothquant import Range, measured, widened

FACTOR = 4.0
"""Values joined in one scale may differ in range by this much: it costs the smaller two of its eight bits."""

LAYER_FACTOR = 16.0
"""The same for the channels of a last layer, which in float costs its whole product: four of eight bits."""

SMALL = 64
"""A layer of so few weights is part of the decoding of answers, as the expectation over 16 bins of a box's side is."""

ROWS = 64
JOINS = ("Concat", "Where", "Pad", "ScatterND", "ScatterElements", "Scatter")
_WEIGHTED = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_RECURRENT = ("LSTM", "GRU", "RNN")
_DEAD = 1e-6  # of the largest channel: says nothing about a range
_SHOWN = 3


@dataclass(frozen=True)
class Tail:
    """Names of the nodes that stay float, by kind, and the sentence that says why; both empty where none does."""

    kinds: Mapping[str, str]
    reasons: tuple[str, ...] = ()

    def within(self, operators: Iterable[str] | None) -> frozenset[str]:
        """Return the names of those nodes that a quantizer of ``operators`` (None is all) would turn to int8."""
        wanted = None if operators is None else set(operators)
        return frozenset(n for n, kind in self.kinds.items() if wanted is None or kind in wanted)

    def note(self, names: frozenset[str]) -> str | None:
        """Return what is told of a rung in which ``names`` stay float."""
        if not names:
            return None
        more = len(self.reasons) - _SHOWN
        shown = "; ".join(self.reasons[:_SHOWN]) + (f"; {more} more" if more > 0 else "")
        return f"{len(names)} nodes before the outputs stay float: {shown}"


def find(source: Path, calibration: Arrays, store: Store | None = None) -> Tail:
    """Return the tail of ``source`` that has to stay float, by the ranges that the calibration rows show."""
    model = onnx.load(str(source))
    end, last = _end(model)
    joins = [node for node in model.graph.node if node.name in end and node.op_type in JOINS]
    known = graph.weights(model)
    wanted = {name for node in joins for name in node.input if name and name not in known}
    few = {name: value[:ROWS] for name, value in calibration.items()}
    found = (store or Store(None)).ranges(
        f"tail of {source.name}", lambda: _ranges(model, few, wanted, last)
    )
    reasons: dict[str, str] = {}
    for node in joins:
        spans = [_span(name, found, known) for name in node.input if name]
        if told := _apart(spans, FACTOR):
            reasons[node.name] = f"{node.op_type} {node.name!r} joins {told}"
    layers = {node.name for node in last if node.output[0] in found}
    for node in last:
        held = found.get(node.output[0])
        if held is not None and (told := _apart(_channels(held), LAYER_FACTOR)):
            reasons[node.name] = f"{node.op_type} {node.name!r} has channels of {told}"
    nodes = {node.name: node for node in model.graph.node}
    kinds = {name: nodes[name].op_type for name in _joined(model, end, set(reasons))}
    kinds |= {name: nodes[name].op_type for name in reasons if name in layers}
    return Tail(kinds, tuple(reasons.values()))


def with_followers(source: Path, layers: frozenset[str]) -> frozenset[str]:
    """Return ``layers`` and what is computed from them alone up to the next layers with weights.

    A layer left in float gains little while its activation function, in int8, rounds its answer again.
    """
    model = onnx.load(str(source), load_external_data=False)
    known = graph.weights(model)
    held: set[str] = set()
    found = set(layers)
    for node in model.graph.node:
        read = graph.reads(node) - {"", *known}
        follows = bool(read) and read <= held and not _is_layer(node, known)
        if node.name in layers or follows:
            found.add(node.name)
            held |= set(node.output)
    return frozenset(found)


def _end(model: onnx.ModelProto) -> tuple[set[str], list[onnx.NodeProto]]:
    """Return the names of the nodes behind the last layers with weights, and those layers."""
    known = graph.weights(model)
    before: set[str] = set()  # values that a layer with weights still depends on
    for node in reversed(model.graph.node):
        if _is_layer(node, known) or any(name in before for name in node.output):
            before |= graph.reads(node)
    end, last = set(), []
    for node in model.graph.node:
        if any(name in before for name in node.output):
            continue
        if _is_layer(node, known):
            last.append(node)
        else:
            end.add(node.name)
    return end, last


def _is_layer(node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type in _RECURRENT:
        return True
    weight = known.get(node.input[1]) if len(node.input) > 1 else None
    return node.op_type in _WEIGHTED and weight is not None and np.prod(weight.dims) > SMALL


def _ranges(
    model: onnx.ModelProto, calibration: Arrays, wanted: set[str], last: list[onnx.NodeProto]
) -> dict[str, Range]:
    """Return the ranges of the float values among ``wanted``, as one, and of the layers' answers by channel."""
    axes = {
        node.output[0]: 1 if node.op_type.startswith("Conv") else -1
        for node in last
        if node.op_type in _WEIGHTED
    }
    found: dict[str, Range] = {}
    if not wanted and not axes:
        return found
    for values in measured(model, calibration, {*wanted, *axes}):
        for name, value in values.items():
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                continue
            by_channel = name in axes and value.ndim > 1
            flat = np.moveaxis(value, axes[name], -1) if by_channel else value.reshape(-1, 1)
            found[name] = widened(found.get(name), flat)
    return found


def _channels(found: Range) -> list[float]:
    spans = np.maximum(found.high, 0) - np.minimum(found.low, 0)
    return [float(span) for span in spans]


def _span(name: str, found: Mapping[str, Range], known: Mapping[str, onnx.TensorProto]) -> float:
    """Return the range of a joined value, zero included; 0 of one that is not float."""
    if name in found:
        return found[name].span
    if name not in known or known[name].data_type != onnx.TensorProto.FLOAT:
        return 0.0
    value: Array = numpy_helper.to_array(known[name])
    return widened(None, value.reshape(-1, 1)).span if value.size else 0.0


def _apart(spans: list[float], factor: float) -> str | None:
    """Say between what the ranges lie where they differ by more than ``factor``; None where they do not."""
    largest = max(spans, default=0.0)
    live = [span for span in spans if span > _DEAD * largest] if np.isfinite(largest) else spans
    least = min((span for span in live if span > 0), default=0.0)
    if not least or largest <= factor * least:
        return None
    return f"ranges from {least:.3g} to {largest:.3g}"


def _joined(model: onnx.ModelProto, end: set[str], seeds: set[str]) -> set[str]:
    """Return the nodes of ``end`` that are tied to a seed by values, through nodes of ``end`` alone."""
    nodes = [node for node in model.graph.node if node.name in end or node.name in seeds]
    made = {name: node.name for node in nodes for name in node.output}
    ties: dict[str, set[str]] = {node.name: set() for node in nodes}
    for node in nodes:
        for name in graph.reads(node):
            if name in made and node.name in end:
                ties[node.name].add(made[name])
                ties[made[name]].add(node.name)
    reached, left = set(), [name for name in ties if name in seeds]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += ties[name]
    return reached & end
