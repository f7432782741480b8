"""Small ONNX nets, each with one trait, for tests that need many of them quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def saved(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Any]],
    outputs: Sequence[tuple[str, int, Any]],
    weights: dict[str, Any] | None = None,
    domains: Sequence[tuple[str, int]] = (),
) -> Path:
    """Write a model of opset 17 to ``path``."""
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    ends = [[helper.make_tensor_value_info(*end) for end in side] for side in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), "g", *ends, held)
    opsets = [helper.make_opsetid(*each) for each in (("", 17), *domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Return a node whose inputs and outputs are words."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def cnn(path: Path, seed: int = 0) -> Path:
    """Pictures of 8 x 8, as the digits', to ten scores."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.normal(0, 0.3, (16, 1, 3, 3)).astype("f4"),
        "v": rng.normal(0, 0.3, (16, 10)).astype("f4"),
    }
    nodes = [
        node("Conv", "image w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f v", "scores"),
    ]
    ends = ("image", F, ["batch", 1, 8, 8]), ("scores", F, ["batch", 10])
    return saved(path, nodes, ends[:1], ends[1:], weights)


def transformer(path: Path, words: int = 50, width: int = 64) -> Path:
    """Ids and a mask to a vector: one layer of attention over a table of ``words``."""
    rng = np.random.default_rng(1)
    square = {k: rng.normal(0, 0.1, (width, width)).astype("f4") for k in "qkvo"}
    weights: dict[str, Any] = {f"W{k}": v for k, v in square.items()}
    weights |= {
        "table": rng.normal(0, 1, (words, width)).astype("f4"),
        "one": np.float32(1),
        "far": np.float32(-1e4),
        "middle": np.array([1], np.int64),
    }
    nodes = [
        node("Gather", "table input_ids", "e"),
        *(node("MatMul", f"e W{k}", k) for k in "qkv"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "s"),
        node("Cast", "attention_mask", "m", to=F),
        node("Sub", "one m", "hidden"),
        node("Mul", "hidden far", "bias"),
        node("Unsqueeze", "bias middle", "wide"),
        node("Add", "s wide", "masked"),
        node("Softmax", "masked", "p", axis=-1),
        node("MatMul", "p v", "a"),
        node("MatMul", "a Wo", "o"),
        node("ReduceMean", "o", "vector", axes=[1], keepdims=0),
    ]
    given = [(name, I64, ["batch", "seq"]) for name in ("input_ids", "attention_mask")]
    return saved(path, nodes, given, [("vector", F, ["batch", width])], weights)


def simple(path: Path, kind: str, shape: Any = ("n", 4), dtype: int = F) -> Path:
    """One operator from ``x`` to ``y`` of the same shape."""
    return saved(path, [node(kind, "x", "y")], [("x", dtype, shape)], [("y", dtype, shape)])
