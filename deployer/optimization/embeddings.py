"""Look-up tables (embeddings) as int8 with one scale per row, or int4 in blocks: a quarter or a fifth of the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.optimization import graph
from deployer.optimization.session import Array

MIN_TABLE = 4096
"""Tables with fewer numbers than this are not worth two more operators."""

BLOCK = 32
"""Neighbours of a row that share one scale in int4."""

_MIDDLE = 8  # what stands for zero in four bits


def shrink_tables(model: onnx.ModelProto, bits: int = 8) -> None:
    """Replace every look-up in a constant float table by one in ``bits`` (8 or 4) times its scale, in place.

    A table whose rows do not divide into blocks gets int8 whatever ``bits`` says.
    """
    known = graph.weights(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        table = known.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or axis != 0 or len(table.dims) != 2 or np.prod(table.dims) < MIN_TABLE:
            continue
        if table.data_type == onnx.TensorProto.FLOAT:
            whole = numpy_helper.to_array(table)
            shrink = _int4_nodes if bits == 4 and table.dims[1] % BLOCK == 0 else _table_nodes
            new[node.name] = shrink(model, node, whole)
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


def _int4_nodes(model: onnx.ModelProto, node: onnx.NodeProto, table: Array) -> list[onnx.NodeProto]:
    """Two numbers in a byte, a row's first half in the low bits; ONNX Runtime's own int4 look-up is slower."""
    blocks = table.reshape(len(table), -1, BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2, keepdims=True) / 7, np.finfo(np.float32).tiny)
    whole = (np.round(blocks / scales) + _MIDDLE).astype(np.uint8).reshape(table.shape)
    low, high = np.split(whole, 2, axis=1)
    constants = {
        "table": low | high << 4,
        "block_scale": scales.astype(np.float32),
        "four": np.array(4, np.uint8),
        "middle": np.array(_MIDDLE, np.float32),
        "blocks": np.array([-1, *blocks.shape[1:]], np.int64),
        "factors": np.array([-1, *scales.shape[1:]], np.int64),
    }
    name = node.name
    known = {key: graph.add_constant(model, f"{name}.{key}", v) for key, v in constants.items()}

    def step(kind: str, inputs: list[str], output: str, **settings: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name=output, **settings)

    def own(key: str) -> str:
        return f"{name}.{key}"

    return [
        step("Gather", [known["table"], node.input[1]], own("bytes")),
        step("BitShift", [own("bytes"), known["four"]], own("high"), direction="RIGHT"),
        step("BitShift", [own("bytes"), known["four"]], own("up"), direction="LEFT"),
        step("BitShift", [own("up"), known["four"]], own("low"), direction="RIGHT"),
        step("Concat", [own("low"), own("high")], own("rows"), axis=-1),
        step("Cast", [own("rows")], own("wide"), to=onnx.TensorProto.FLOAT),
        step("Sub", [own("wide"), known["middle"]], own("signed")),
        step("Reshape", [own("signed"), known["blocks"]], own("in_blocks")),
        step("Gather", [known["block_scale"], node.input[1]], own("found")),
        step("Reshape", [own("found"), known["factors"]], own("factor")),
        step("Mul", [own("in_blocks"), own("factor")], own("scaled")),
        step("Shape", [own("wide")], own("shape")),
        helper.make_node("Reshape", [own("scaled"), own("shape")], node.output, name=name),
    ]
