"""Tiny ONNX files made here, each with one trait that models in the wild have; opset 17, no weights but ramps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[Any] | None
F32, I64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def value(name: str, kind: int, shape: Shape) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 7 - 3) / 4


def model(nodes: Any, inputs: Any, outputs: Any, **constants: Any) -> bytes:
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString()


def identity(kind: int) -> bytes:
    ends = [value(name, kind, ["batch", 2]) for name in ("x", "y")]
    return model([node("Identity", ["x"], ["y"])], ends[:1], ends[1:])


def state_of_two_layers() -> bytes:
    """A batch of sequences, and the last state of each of two layers: (2, batch, 3)."""
    nodes = [
        node("ReduceSum", ["x", "time"], ["y"], keepdims=0),
        node("Neg", ["y"], ["z"]),
        node("Unsqueeze", ["y", "first"], ["one"]),
        node("Unsqueeze", ["z", "first"], ["two"]),
        node("Concat", ["one", "two"], ["state"], axis=0),
    ]
    outs = [value("y", F32, ["batch", 3]), value("state", F32, [2, "batch", 3])]
    return model(nodes, [value("x", F32, ["batch", "steps", 3])], outs,
                 time=np.array([1]), first=np.array([0]))  # fmt: skip


def scores_and_total() -> bytes:
    outs = [value("y", F32, ["batch", 2]), value("total", F32, [])]
    nodes = [node("Neg", ["x"], ["y"]), node("ReduceSum", ["x"], ["total"], keepdims=0)]
    return model(nodes, [value("x", F32, ["batch", 2])], outs)


def boxes_above_half() -> bytes:
    """Detections of all pictures in one list: those of (batch, 3, 2) whose first number is above 0.5."""
    nodes = [
        node("Gather", ["x", "zero"], ["score"], axis=2),
        node("Greater", ["score", "half"], ["kept"]),
        node("NonZero", ["kept"], ["found"]),
        node("Transpose", ["found"], ["places"], perm=[1, 0]),
        node("GatherND", ["x", "places"], ["boxes"]),
    ]
    return model(nodes, [value("x", F32, ["batch", 3, 2])], [value("boxes", F32, ["found", 2])],
                 zero=np.array(0), half=np.float32(0.5))  # fmt: skip


def time_first() -> bytes:
    """Pictures (batch, 2, width) in, (width, batch, 2) out, as text recognisers answer."""
    nodes = [node("Transpose", ["x"], ["y"], perm=[2, 0, 1])]
    return model(
        nodes, [value("x", F32, ["batch", 2, "width"])], [value("y", F32, ["width", "batch", 2])]
    )


def nodes_and_edges() -> bytes:
    nodes = [
        node("Gather", ["nodes", "edges"], ["ends"], axis=0),
        node("ReduceSum", ["ends", "one"], ["y"], keepdims=0),
    ]
    inputs = [value("nodes", F32, ["atoms", 2]), value("edges", I64, ["bonds", 2])]
    return model(nodes, inputs, [value("y", F32, ["bonds", 2])], one=np.array([1]))


def voice() -> bytes:
    """Sound, a state of two layers and a rate that is one number, as voice detectors take."""
    nodes = [
        node("Conv", ["chunks", "kernel"], ["c"], strides=[8]),
        node("ReduceMean", ["c"], ["loud"], axes=[1, 2], keepdims=0),
        node("Cast", ["rate"], ["r"], to=F32),
        node("Add", ["loud", "r"], ["y"]),
        node("Add", ["state", "r"], ["next"]),
        node("Unsqueeze", ["sound", "one"], ["chunks"]),
    ]
    order = [nodes[5], *nodes[:5]]
    inputs = [
        value("sound", F32, ["batch", "samples"]),
        value("state", F32, [2, "batch", 3]),
        value("rate", I64, []),
    ]
    outs = [value("y", F32, ["batch"]), value("next", F32, [2, "batch", 3])]
    return model(order, inputs, outs, kernel=ramp(2, 1, 16), one=np.array([1]))


def picture_net() -> bytes:
    """Takes pictures of 8 x 8 alone, though its axes are free."""
    nodes = [
        node("Conv", ["x", "kernel"], ["c"]),
        node("Flatten", ["c"], ["f"]),
        node("MatMul", ["f", "weights"], ["y"]),
    ]
    inputs = [value("x", F32, ["batch", 1, "height", "width"])]
    return model(nodes, inputs, [value("y", F32, ["batch", 2])],
                 kernel=ramp(1, 1, 3, 3), weights=ramp(36, 2))  # fmt: skip


def embedding() -> bytes:
    nodes = [
        node("Gather", ["table", "ids"], ["words"], axis=0),
        node("Cast", ["mask"], ["m"], to=F32),
        node("Unsqueeze", ["m", "last"], ["weights"]),
        node("Mul", ["words", "weights"], ["weighed"]),
        node("ReduceSum", ["weighed", "one"], ["y"], keepdims=0),
    ]
    inputs = [value("ids", I64, ["batch", "length"]), value("mask", I64, ["batch", "length"])]
    return model(nodes, inputs, [value("y", F32, ["batch", 4])],
                 table=ramp(10, 4), last=np.array([2]), one=np.array([1]))  # fmt: skip


def one_at_a_time(
    out: Sequence[Any], op: str = "Neg", shape: Sequence[Any] = (1, "steps")
) -> bytes:
    names = ["x", "axis"] if op in ("Squeeze", "ReduceSum") else ["x"]
    options = {"keepdims": 0} if op == "ReduceSum" else {}
    return model([node(op, names, ["y"], **options)], [value("x", F32, shape)],
                 [value("y", F32, out)], axis=np.array([0]))  # fmt: skip


def optional_input() -> bytes:
    """Its factor is an input with a default, so nobody need send it."""
    inputs = [value("x", F32, ["batch", 2]), value("factor", F32, [1])]
    return model([node("Mul", ["x", "factor"], ["y"])], inputs,
                 [value("y", F32, ["batch", 2])], factor=np.float32([2]))  # fmt: skip


def no_inputs() -> bytes:
    constant = numpy_helper.from_array(ramp(1, 2))
    return model([node("Constant", [], ["y"], value=constant)], [], [value("y", F32, [1, 2])])


def odd_names() -> bytes:
    ends = [
        value('serving_default_input:0/α "q"', F32, ["batch", 2]),
        value("out put", F32, ["batch", 2]),
    ]
    return model([node("Neg", [ends[0].name], [ends[1].name])], ends[:1], ends[1:])


def unknown_operator() -> bytes:
    ends = [value(name, F32, ["batch", 2]) for name in ("x", "y")]
    return model([node("Magic", ["x"], ["y"], domain="com.example")], ends[:1], ends[1:])


def answers_a_sequence() -> bytes:
    out = helper.make_tensor_sequence_value_info("y", F32, ["batch", 2])
    return model(
        [node("SequenceConstruct", ["x", "x"], ["y"])], [value("x", F32, ["batch", 2])], [out]
    )


def axis_of_nothing() -> bytes:
    ends = [value(name, F32, [0, 2]) for name in ("x", "y")]
    return model([node("Neg", ["x"], ["y"])], ends[:1], ends[1:])


def of_21_numbers() -> bytes:
    """Takes 21 numbers, which no size that is tried for its two axes makes."""
    ends = [value("x", F32, ["batch", "width"]), value("y", F32, ["rows", 3, 7])]
    return model(
        [node("Reshape", ["x", "shape"], ["y"])], ends[:1], ends[1:], shape=np.array([-1, 3, 7])
    )


def write(folder: Path, made: bytes) -> Path:
    """Make a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(made)
    return folder
