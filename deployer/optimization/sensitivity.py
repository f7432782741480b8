"""Which layers cost the accuracy: the error at the model's output when one layer alone is in int8."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.optimization import graph
from deployer.optimization.answers import by_row
from deployer.optimization.integer import farthest
from deployer.optimization.onnxfile import copied, save
from deployer.optimization.session import Array, Arrays, Session
from deployer.optimization.smoothquant import Range, ranges

ROWS = 32
_STEPS = 255


def rank(source: Path, calibration: Arrays) -> list[tuple[str, float]]:
    """Return (layer, relative error of the worst output) of every layer with weights, the most costly first.

    Each layer in turn gets int8 weights (by output channel) and an int8 activation (one scale from the calibration
    rows); all else stays FP32.
    """
    model = onnx.load(str(source))
    names = set(graph.weighted_nodes(model))
    nodes = [node for node in model.graph.node if node.name in names]
    found = ranges(model, calibration, {node.input[0] for node in nodes})
    few = {name: value[:ROWS] for name, value in calibration.items()}
    reference = by_row(Session(source), few, ROWS)
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.onnx"
        for node in nodes:
            save(_one_in_int8(model, node, found[node.input[0]]), path)
            answers = by_row(Session(path), few, ROWS)
            costs.append((node.name, farthest(answers, reference)))
    return sorted(costs, key=lambda item: (-item[1], item[0]))


def _one_in_int8(model: onnx.ModelProto, node: onnx.NodeProto, found: Range) -> onnx.ModelProto:
    made = copied(model)
    chosen = next(item for item in made.graph.node if item.name == node.name)
    weight = numpy_helper.to_array(graph.weights(made)[node.input[1]])
    chosen.input[1] = graph.add_constant(made, f"{node.name}.rounded", _rounded(weight, node))
    x = chosen.input[0]
    low, high = min(0.0, float(found.low.min())), max(0.0, float(found.high.max()))
    step = max((high - low) / _STEPS, float(np.finfo(np.float32).tiny))
    scale = graph.add_constant(made, f"{node.name}.step", np.array(step, np.float32))
    zero = graph.add_constant(made, f"{node.name}.zero", np.array(round(-low / step), np.uint8))
    whole, back = f"{node.name}.whole", f"{node.name}.back"
    chosen.input[0] = back
    steps = [
        helper.make_node("QuantizeLinear", [x, scale, zero], [whole], name=whole),
        helper.make_node("DequantizeLinear", [whole, scale, zero], [back], name=back),
    ]
    graph.replace_nodes(made, {node.name: [*steps, chosen]})
    return made


def _rounded(weight: Array, node: onnx.NodeProto) -> Array:
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    channel = 0 if node.op_type == "Conv" or transposed else weight.ndim - 1
    others = tuple(axis for axis in range(weight.ndim) if axis != channel)
    scale = np.maximum(np.abs(weight).max(axis=others, keepdims=True) / 127, 1e-30)
    return np.asarray(np.round(weight / scale) * scale, dtype=np.float32)
