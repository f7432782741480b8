"""Tiny nets, one for each kind of graph that a rung may meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.helper import make_node as node

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
PICTURE = ("n", 3, 8, 8)


def write(
    path: Path,
    nodes: Sequence[Any],
    constants: dict[str, np.ndarray],
    ends: dict[str, Sequence[Any]],
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    dtype: int = FLOAT,
) -> Path:
    """Write a model with the inputs ``ends`` (name to shape) and outputs of unstated shape."""
    inputs = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in ends.items()]
    answers = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(list(nodes), "net", inputs, answers, weights)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), str(path))
    return path


def normal(*shape: int, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    """Return normal numbers as float32."""
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def ints(*values: Any) -> np.ndarray:
    """Return whole numbers as int64."""
    return np.array(values, np.int64)


def cnn(path: Path, opset: int) -> Path:
    """Convolution, batch norm, pooling, two kinds of joining, a dense layer; with Dropout as old exports have it."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("Conv", ["d", "w2"], ["e"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "e"], ["f"]),
        node("MaxPool", ["f"], ["h"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["h", "h"], ["i"], axis=1),
        node("GlobalAveragePool", ["i"], ["j"]),
        node("Flatten", ["j"], ["k"]),
        node("Gemm", ["k", "w3", "b3"], ["y"], transB=1),
    ]
    constants = {
        "w1": normal(8, 3, 3, 3),
        "b1": normal(8),
        "w2": normal(8, 8, 3, 3),
        "w3": normal(5, 16),
        "b3": normal(5),
        **{name: np.ones(8, np.float32) for name in "gv"},
        **{name: np.zeros(8, np.float32) for name in "bm"},
    }
    return write(path, nodes, constants, {"x": PICTURE}, opset=opset)


def grouped(path: Path) -> Path:
    """Grouped, depthwise and transposed convolution, up-sampled, with padding."""
    nodes = [
        node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "w1"], ["a"]),
        node("HardSwish", ["a"], ["b"]),
        node("Conv", ["b", "w2"], ["c"], group=2, pads=[1, 1, 1, 1]),
        node("Conv", ["c", "w3"], ["d"], group=8, pads=[1, 1, 1, 1]),
        node("Clip", ["d", "low", "high"], ["e"]),
        node("ConvTranspose", ["e", "w4"], ["f"], strides=[2, 2]),
        node("Resize", ["f", "", "scales"], ["g"], mode="nearest"),
        node("ReduceMean", ["g"], ["y"], axes=[2, 3]),
    ]
    constants = {
        "pads": ints(0, 0, 1, 1, 0, 0, 1, 1),
        "w1": normal(8, 3, 3, 3),
        "w2": normal(8, 4, 3, 3),
        "w3": normal(8, 1, 3, 3),
        "w4": normal(8, 4, 2, 2),
        "low": np.float32(0),
        "high": np.float32(6),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    return write(path, nodes, constants, {"x": PICTURE})


BIASES = {"row": (1, 16), "one": (1,), "scalar": (), "vector": (16,), "column": (1, 1)}


def mlp(path: Path, bias: tuple[int, ...]) -> Path:
    """Gemm and MatMul, both with a bias of the given shape, alpha and beta."""
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["a"], alpha=0.5, beta=2.0, transB=1),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "w2"], ["c"]),
        node("Add", ["b1", "c"], ["d"]),
        node("Gemm", ["d", "w3"], ["y"]),
    ]
    constants = {
        "w1": normal(16, 12),
        "b1": normal(*bias),
        "w2": normal(16, 16),
        "w3": normal(16, 4),
    }
    return write(path, nodes, constants, {"x": ("n", 12)})


def attention(path: Path) -> Path:
    """Look-up, one head of attention with a mask, layer norm, Gelu by Erf; the first position answers."""
    project = [node("MatMul", ["e", f"w{name}"], [name]) for name in "qkv"]
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        *project,
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Equal", ["x", "zero"], ["masked"]),
        node("Unsqueeze", ["masked", "one"], ["mask"]),
        node("Where", ["mask", "low", "s"], ["s2"]),
        node("Softmax", ["s2"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["o"]),
        node("Add", ["e", "o"], ["r"]),
        node("LayerNormalization", ["r", "g", "b"], ["l"], axis=-1),
        node("MatMul", ["l", "wf"], ["f"]),
        node("Add", ["f", "bf"], ["f2"]),
        node("Erf", ["f2"], ["f3"]),
        node("Mul", ["f3", "f2"], ["f4"]),
        node("Gather", ["f4", "first"], ["y"], axis=1),
    ]
    constants = {
        "table": normal(300, 16),
        **{f"w{name}": normal(16, 16, seed=place) for place, name in enumerate("qkv")},
        "wf": normal(16, 24),
        "bf": normal(1, 1, 24),
        "g": np.ones(16, np.float32),
        "b": np.zeros(16, np.float32),
        "low": np.float32(-1e9),
        "zero": ints(0)[0],
        "one": ints(1),
        "first": ints(0)[0],
    }
    return write(path, nodes, constants, {"x": ("n", 6)}, dtype=INT64)


def recurrent(path: Path, kind: str) -> Path:
    """GRU or LSTM, time first inside, with a dense layer on its last state."""
    gates = {"GRU": 3, "LSTM": 4}[kind]
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node(kind, ["t", "w", "r", "b"], ["", "h"], hidden_size=8),
        node("Squeeze", ["h", "zero"], ["s"]),
        node("MatMul", ["s", "d"], ["y"]),
    ]
    constants = {
        "w": normal(1, gates * 8, 6),
        "r": normal(1, gates * 8, 8),
        "b": normal(1, gates * 16),
        "d": normal(8, 4),
        "zero": ints(0),
    }
    return write(path, nodes, constants, {"x": ("n", 5, 6)})


def odd(path: Path) -> Path:
    """Operators of which half precision or a scale is not had: Max, Min of three, Range, TopK, CumSum, IsInf."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Max", ["a", "k", "a"], ["b"]),
        node("Min", ["b", "k"], ["b2"]),
        node("ReduceSum", ["b2"], ["s"], keepdims=0),
        node("Mul", ["s", "nothing"], ["start"]),
        node("Range", ["start", "eight", "step"], ["r"]),
        node("Add", ["b2", "r"], ["c"]),
        node("CumSum", ["c", "axis"], ["d"]),
        node("IsInf", ["d"], ["e"]),
        node("Where", ["e", "k", "d"], ["f"]),
        node("TopK", ["f", "three"], ["y", "places"]),
    ]
    constants = {
        "w": normal(8, 8),
        "k": normal(8),
        "nothing": np.float32(0),
        "eight": np.float32(8),
        "step": np.float32(1),
        "axis": ints(1)[0],
        "three": ints(3),
    }
    return write(path, nodes, constants, {"x": ("n", 8)})


def branched(path: Path) -> Path:
    """A condition whose branches hold a product, and Max, which has no half precision."""
    end = [helper.make_tensor_value_info("o", FLOAT, None)]
    yes = helper.make_graph([node("MatMul", ["a", "v"], ["o"])], "yes", [], end)
    no = helper.make_graph([node("Max", ["a", "k"], ["o"])], "no", [], end)
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("ReduceSum", ["a"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["b"], then_branch=yes, else_branch=no),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    constants = {"w": normal(8, 8), "v": normal(8, 8), "k": normal(8), "zero": np.float32(0)}
    return write(path, nodes, constants, {"x": ("n", 8)})


def detector(path: Path, *, size: int = 8, classes: int = 6, bins: int = 4) -> Path:
    """A head as YOLO's: sides as an expectation over bins, times a stride, joined with the classes' scores.

    Scores come of a matched filter, so that there are sure and unsure ones: of 0 to 1, beside boxes of 0 to 640.
    """
    cells = size * size
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), 0).reshape(1, 2, cells)
    nodes = [
        node("Conv", ["x", "stem"], ["s"], pads=[1, 1, 1, 1]),
        node("Relu", ["s"], ["t"]),
        node("Conv", ["t", "box"], ["b"]),
        node("Conv", ["t", "class", "bias"], ["c"]),
        node("Reshape", ["b", "sides"], ["b2"]),
        node("Softmax", ["b2"], ["b3"], axis=2),
        node("Transpose", ["b3"], ["b4"], perm=[0, 2, 1, 3]),
        node("Conv", ["b4", "expect"], ["b5"]),
        node("Squeeze", ["b5", "axis"], ["b6"]),
        node("Split", ["b6", "halves"], ["near", "far"], axis=1),
        node("Sub", ["grid", "near"], ["low"]),
        node("Add", ["grid", "far"], ["high"]),
        node("Concat", ["low", "high"], ["corners"], axis=1),
        node("Mul", ["corners", "stride"], ["boxes"]),
        node("Reshape", ["c", "flat"], ["c2"]),
        node("Sigmoid", ["c2"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]
    constants = {
        "stem": normal(16, 3, 3, 3),
        "box": normal(4 * bins, 16, 1, 1),
        "class": normal(classes, 16, 1, 1, scale=2.0),
        "bias": np.full(classes, -2, np.float32),
        "sides": ints(0, 4, bins, cells),
        "expect": np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1),
        "axis": ints(1),
        "halves": ints(2, 2),
        "grid": grid.astype(np.float32),
        "stride": np.float32(640 / size),
        "flat": ints(0, classes, cells),
    }
    return write(path, nodes, constants, {"x": ("n", 3, size, size)})
