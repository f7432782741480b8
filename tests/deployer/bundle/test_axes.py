"""Where the batch lies in a graph, and where rows meet: by hand, one operator or one layout a line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployer.bundle.axes.graph import prove
from inference_code.contract import Batching

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.optimize

ROW = ["n", 6]


def proof(
    folder: Path,
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: tuple[str, ...] = ("y",),
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> Batching:
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"ids": TensorProto.INT64}
    ins = [
        helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s)
        for n, s in inputs.items()
    ]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", ins, outs, held)
    domains = [("", opset), ("com.microsoft", 1), ("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*d) for d in domains])
    onnx.save(model, str(folder / "m.onnx"))
    return prove(folder / "m.onnx", "d" * 64)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


FLOATS = {"W": np.ones((6, 3), np.float32), "k": np.ones(6, np.float32)}


@pytest.mark.parametrize(
    ("nodes", "shape", "axis", "out"),
    [
        ([node("Relu", "x")], ROW, 0, 0),
        ([node("Add", "x,k")], ROW, 0, 0),
        ([node("MatMul", "x,W")], ROW, 0, 0),
        ([node("Slice", "x,i0,most")], ROW, 0, 0),  # x[:], as tf2onnx writes it
        ([node("Transpose", "x")], ROW, 0, 1),
        ([node("ReduceMean", "x", axes=[1], keepdims=0)], ROW, 0, 0),
        ([node("Softmax", "x", axis=-1)], ROW, 0, 0),
        # Time first: what a mean is taken over is the first axis, so the batch is the second.
        ([node("ReduceMean", "x", axes=[0])], ["t", "n", 6], 1, 1),
        ([node("Flatten", "x")], ["n", 2, 3], 0, 0),
        ([node("GlobalAveragePool", "x")], ["n", 3, "h", "w"], 0, 0),
        # To (rows × heads, tokens, width) and back, as attention does.
        (
            [
                node("Shape", "x", "s"),
                node("Gather", "s,i0", "n"),
                node("Gather", "s,i1", "t"),
                node("Mul", "n,two", "nh"),
                node("Concat", "t,nh,three", "there", axis=0),
                node("Transpose", "x", "tf", perm=[1, 0, 2]),
                node("Reshape", "tf,there", "heads"),
                node("Softmax", "heads", "p", axis=-1),
                node("Concat", "t,n,six", "back", axis=0),
                node("Reshape", "p,back", "y"),
            ],
            ["n", "t", 6],
            0,
            1,
        ),
        # (n, a*b, 6) as (n, 1, b, 6), as readers of text have it: it fits where a is 1, and rows stay whole anyway.
        (
            [
                node("Shape", "x", "s"),
                node("Gather", "s,i0", "n"),
                node("Gather", "s,two", "b"),
                node("Reshape", "x,flat", "ab"),
                node("Concat", "n,i1,b,six", "wide", axis=0),
                node("Reshape", "ab,wide"),
            ],
            ["n", "a", "b", 6],
            0,
            0,
        ),
        # Nothing for each row, joined to what there is, as tf2onnx and torch pad.
        (
            [
                node("Shape", "x", "s"),
                node("Gather", "s,i0", "n"),
                node("Concat", "n,i0,six", "none", axis=0),
                node("ConstantOfShape", "none", "c"),
                node("Concat", "x,c", axis=1),
            ],
            ["n", "t", 6],
            0,
            0,
        ),
    ],
    ids=str,
)
def test_rows_that_stay_apart_are_found(
    tmp_path: Path, nodes: list[Any], shape: list[Any], axis: int, out: int
) -> None:
    numbers = {"i0": [0], "i1": [1], "two": [2], "three": [3], "six": [6], "most": [10**9],
               "flat": [0, -1, 6]}  # fmt: skip
    weights = {**FLOATS, **{name: np.array(v, np.int64) for name, v in numbers.items()}}
    found = proof(tmp_path, nodes, {"x": shape}, weights=weights)
    assert found == Batching({"x": axis}, {"y": out}, "rows", model_sha256="d" * 64)


@pytest.mark.parametrize(
    ("nodes", "shape", "reason"),
    [
        ([node("Softmax", "x", axis=0)], ROW, r"Softmax: it normalizes along the batch \(axis 0\)"),
        ([node("ReduceMean", "x", axes=[0])], ROW, "ReduceMean: it takes what it reckons over"),
        ([node("ReduceMean", "x")], ROW, "ReduceMean"),
        ([node("Transpose", "x", "t"), node("MatMul", "x,t")], ROW, "each row meets every other"),
        ([node("MatMul", "W,x")], ["n", 6], "MatMul: it sums over the batch"),
        ([node("NonZero", "x")], ROW, "NonZero: no rule says what it does to rows"),
        ([node("Gather", "x,i0", axis=0)], ROW, "Gather: it picks rows along the batch"),
        ([node("Concat", "x,x", axis=0)], ROW, "Concat: it joins tensors along the batch"),
        ([node("Squeeze", "x")], ["n", 1], "some lengths are not known"),
        ([node("Reshape", "x,flat")], ROW, "has more than one row for each row"),
        ([node("Add", "x,table")], ROW, "a constant of length 4 lies along the batch"),
        ([node("Slice", "x,i0,i1")], ROW, "Slice: it cuts the batch"),
        ([node("CumSum", "x,zero")], ROW, "CumSum: it adds up along the batch"),
        # The mean over the batch by another way: its sum over its size.
        (
            [node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("Gather", "f,zero", "n"),
             node("Div", "x,n")],
            ROW, "it reckons with the number of rows",
        ),
        ([node("Shape", "x")], ROW, "the output 'y' tells of the whole batch"),
        ([node("Mystery", "x")], ROW, "Mystery: no rule says"),
        # Two rows of time make one of batch: 7 steps were written into the file.
        ([node("Reshape", "x,seven")], ["t", "n", 6], "cannot be told"),
    ],
    ids=str,
)  # fmt: skip
def test_rows_that_meet_are_named_with_the_operator(
    tmp_path: Path, nodes: list[Any], shape: list[Any], reason: str
) -> None:
    numbers = {"i0": [0], "i1": [1], "flat": [-1], "zero": 0, "seven": [7, -1, 6]}
    weights = {**{name: np.array(v, np.int64) for name, v in numbers.items()}, **FLOATS}
    weights["W"] = np.ones((3, 5), np.float32)
    weights["table"] = np.ones((4, 6), np.float32)
    found = proof(tmp_path, nodes, {"x": shape}, weights=weights)
    assert not found.proven
    assert re.search(reason, found.reason)


def test_a_scale_of_the_whole_batch_ties_rows_and_is_no_answer(tmp_path: Path) -> None:
    dynamic = [
        node("DynamicQuantizeLinear", "x", "q,scale,zero"),
        node("MatMulInteger", "q,W,zero", "i"),
        node("Cast", "i", "f", to=1),
        node("Mul", "f,scale", "y"),
    ]
    weights = {"W": np.ones((6, 3), np.uint8)}
    found = proof(tmp_path, dynamic, {"x": ROW}, weights=weights)
    assert (found.kind, dict(found.outputs)) == ("scale", {"y": 0})
    for name in ("scale", "f"):
        found = proof(tmp_path, [*dynamic, node("Add", "f,scale", "z")], {"x": ROW}, (name, "z"),
                      weights)  # fmt: skip
        assert not found.proven


def test_recurrent_layers_take_the_second_axis_unless_told_otherwise(tmp_path: Path) -> None:
    weights = {"W": np.ones((1, 12, 6), np.float32), "R": np.ones((1, 12, 3), np.float32)}
    layer = {"hidden_size": 3}
    plain = [node("LSTM", "x,W,R", "y,h,c", **layer)]
    found = proof(tmp_path, plain, {"x": ["t", "n", 6]}, ("y", "h", "c"), weights)
    assert (dict(found.axes), dict(found.outputs)) == ({"x": 1}, {"y": 2, "h": 1, "c": 1})
    first = [node("LSTM", "x,W,R", "y,h,c", layout=1, **layer)]
    found = proof(tmp_path, first, {"x": ["n", "t", 6]}, ("y", "h", "c"), weights)
    assert (dict(found.axes), dict(found.outputs)) == ({"x": 0}, {"y": 0, "h": 0, "c": 0})
    # A state that was written into the file for a batch of one fits no other.
    fixed = [node("LSTM", "x,W,R,,,h0,c0", "y", **layer)]
    held = {**weights, "h0": np.zeros((1, 1, 3), np.float32), "c0": np.zeros((1, 1, 3), np.float32)}
    assert not proof(tmp_path, fixed, {"x": ["t", "n", 6]}, weights=held).proven


def test_axes_of_one_name_are_one_batch(tmp_path: Path) -> None:
    weights = {"W": np.ones((1, 9, 6), np.float32), "R": np.ones((1, 9, 3), np.float32)}
    nodes = [
        node("Transpose", "x", "tf", perm=[1, 0, 2]),
        node("GRU", "tf,W,R,,,state", "y,h", hidden_size=3),
    ]
    shapes = {"x": ["n", "t", 6], "state": [1, "n", 3]}
    found = proof(tmp_path, nodes, shapes, ("y", "h"), weights)
    assert dict(found.axes) == {"x": 0, "state": 1}
    assert dict(found.outputs) == {"y": 2, "h": 1}


def test_a_row_may_find_itself_by_its_number(tmp_path: Path) -> None:
    """The masks of Transformers 5: mask[row, token] by indices that count the rows."""
    numbers = {"i0": 0, "zero": 0, "one": 1, "col": [[2]], "minus": [-1], "axes": [1]}
    weights = {name: np.array(v, np.int64) for name, v in numbers.items()}
    count = [
        node("Shape", "x", "s"),
        node("Gather", "s,i0", "n"),
        node("Range", "zero,n,one", "own"),
        node("Unsqueeze", "own,axes", "own1"),
        node("Shape", "own1", "shape"),
        node("Expand", "col,shape", "cols"),
    ]
    right = [*count, node("Concat", "own1,cols", "at", axis=-1), node("GatherND", "x,at")]
    assert dict(proof(tmp_path, right, {"x": ROW}, weights=weights).outputs) == {"y": 0}
    turned = [*count, node("Concat", "cols,own1", "at", axis=-1), node("GatherND", "x,at")]
    assert "it picks rows by number" in proof(tmp_path, turned, {"x": ROW}, weights=weights).reason
    counted = [*count, node("Cast", "own1", "f", to=1), node("Add", "x,f")]
    assert "numbers of rows" in proof(tmp_path, counted, {"x": ROW}, weights=weights).reason


def test_an_output_that_no_row_changes_is_given_to_all(tmp_path: Path) -> None:
    nodes = [node("Relu", "x"), node("Neg", "k", "c")]
    found = proof(tmp_path, nodes, {"x": ROW}, ("y", "c"), FLOATS)
    assert dict(found.outputs) == {"y": 0, "c": None}


@pytest.mark.parametrize("shapes", [{"x": [1, "t"]}, {"x": ["n", 6], "k": []}, {"x": [2, 3]}])
def test_a_fixed_first_axis_or_a_scalar_leaves_nothing_to_join(
    tmp_path: Path, shapes: dict[str, list[Any]]
) -> None:
    found = proof(tmp_path, [node("Relu", "x")], shapes)
    assert found.reason == "no axis is free in every input"


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    # ONNX Runtime's converter to half precision puts its casts at the end, and its loader sorts them.
    found = proof(
        tmp_path, [node("MatMul", "a,W"), node("Relu", "x", "a")], {"x": ROW}, weights=FLOATS
    )
    assert dict(found.outputs) == {"y": 0}


def test_a_file_that_is_no_graph_is_not_proven(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a\xff")
    assert "cannot be followed" in prove(tmp_path / "m.onnx").reason
