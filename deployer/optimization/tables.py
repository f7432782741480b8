"""Look-up tables (embeddings) as int8 with one scale per row: a quarter of the bytes, four digits kept."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.optimization import graph
from deployer.optimization.session import Array

MIN_TABLE = 4096
"""Tables with fewer numbers than this are not worth two more operators."""


def shrink_tables(model: onnx.ModelProto) -> None:
    """Replace every look-up in a constant float table by int8 rows times their scale, in place."""
    known = graph.weights(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        table = known.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or axis != 0 or len(table.dims) != 2 or np.prod(table.dims) < MIN_TABLE:
            continue
        if table.data_type == onnx.TensorProto.FLOAT:
            new[node.name] = _table_nodes(model, node, numpy_helper.to_array(table))
    graph.replace_nodes(model, new)


def _table_nodes(
    model: onnx.ModelProto, node: onnx.NodeProto, table: Array
) -> list[onnx.NodeProto]:
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    whole = np.clip(np.round(table / scales), -127, 127).astype(np.int8)
    name = node.name
    int8 = graph.add_constant(model, f"{name}.table", whole)
    scale = graph.add_constant(model, f"{name}.row_scale", scales.astype(np.float32))
    rows, factor, wide = f"{name}.rows", f"{name}.factor", f"{name}.wide"
    return [
        helper.make_node("Gather", [int8, node.input[1]], [rows], name=rows),
        helper.make_node("Gather", [scale, node.input[1]], [factor], name=factor),
        helper.make_node("Cast", [rows], [wide], name=wide, to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [wide, factor], node.output, name=name),
    ]
