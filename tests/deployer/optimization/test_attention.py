"""Attention is rewritten to copy less, and only where that changes no answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deployer.optimization import attention, graph, integer
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

WIDTH, HEADS = 16, 2
RNG = np.random.default_rng(0)
ROWS = {"x": RNG.normal(size=(40, 7, WIDTH)).astype(np.float32)}


def block(path: Path, sizes: list[int] | None) -> Path:
    """Self-attention as it is exported; the shape of heads is fixed, or put together from that of the input."""
    nodes = [
        helper.make_node("Shape", ["x"], ["two"], start=0, end=2),
        helper.make_node("Concat", ["two", "rest"], ["from_input"], axis=0),
        helper.make_node("Shape", ["x"], ["b"], start=0, end=1),
        helper.make_node("Shape", ["x"], ["l"], start=1, end=2),
        helper.make_node("Concat", ["b", "l", "heads", "left"], ["sizes"], axis=0),
    ]
    constants = {
        "rest": np.array([WIDTH]),
        "heads": np.array([HEADS]),
        "left": np.array([-1]),
        "scale": np.array(0.3, np.float32),
        "fixed": np.array(sizes or [0]),
    }
    for name in ("q", "k", "v"):
        constants |= {f"{name}.w": RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 4}
        constants |= {f"{name}.b": RNG.normal(size=WIDTH).astype(np.float32)}
        shape = "fixed" if sizes else "sizes"
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [
            helper.make_node("MatMul", ["x", f"{name}.w"], [f"{name}.p"]),
            helper.make_node("Add", [f"{name}.p", f"{name}.b"], [f"{name}.a"]),
            helper.make_node("Reshape", [f"{name}.a", shape], [f"{name}.s"]),
            helper.make_node("Transpose", [f"{name}.s"], [name], perm=perm),
        ]
    constants["out.w"] = RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["together"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["together", "from_input"], ["joined"]),
        helper.make_node("MatMul", ["joined", "out.w"], ["y"]),
    ]
    kind = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", kind, ["b", "l", WIDTH])],
        [helper.make_tensor_value_info("y", kind, ["b", "l", WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    graph.name_nodes(model)
    save(model, path)
    return path


def built(source: Path, path: Path, *, static: bool = True) -> onnx.ModelProto:
    integer.build(source, ROWS, path, frozenset(), static=static, reduce_range=False)
    return onnx.load(str(path))


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("sizes", [None, [0, -1, HEADS, WIDTH // HEADS]])
@pytest.mark.parametrize("static", [True, False])
def test_heads_are_read_where_they_lie(tmp_path: Path, sizes: Any, static: bool) -> None:
    source = block(tmp_path / "fp32.onnx", sizes)
    made = built(source, tmp_path / "int8.onnx", static=static)
    assert kinds(made)["FusedMatMul"] == 2
    assert kinds(made)["Transpose"] == 2, "the activation, in bytes, and the answers of the heads"
    recipe = integer.Recipes().of(
        source, ROWS, frozenset(), reduce_range=False, slack=integer.CAREFUL
    )
    plain = integer.quantize(onnx.load(str(source)), recipe, static=static, reduce_range=False)
    save(plain, tmp_path / "plain.onnx")
    new, old = Session(tmp_path / "int8.onnx"), Session(tmp_path / "plain.onnx")
    for batch, length in ((1, 1), (1, 9), (3, 5), (5, 3)):
        x = {"x": RNG.normal(size=(batch, length, WIDTH)).astype(np.float32)}
        np.testing.assert_allclose(new.run(x), old.run(x), rtol=1e-4, atol=1e-4)


def test_heads_that_are_no_rows_of_the_sequence_are_left_alone(tmp_path: Path) -> None:
    """A Reshape that parts the sequence looks alike and means something else: only its answers tell."""
    part = [-1, 1, HEADS, WIDTH // HEADS]
    source = block(tmp_path / "fp32.onnx", part)
    made = built(source, tmp_path / "int8.onnx")
    assert kinds(made)["FusedMatMul"] == 0
    session, reference = Session(tmp_path / "int8.onnx"), Session(source)
    few = {"x": ROWS["x"][:3]}
    assert integer.distance(session.run(few), reference.run(few)) < 0.05


def test_a_model_without_attention_has_nothing_to_lighten(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    kind = onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["b", 4]) for name in "xy"]
    made = helper.make_graph([node], "relu", ends[:1], ends[1:])
    assert attention.lighten(helper.make_model(made)) is None
