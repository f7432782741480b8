"""Whatever the rules prove holds under ONNX Runtime: rows together are what each is alone, operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployer.bundle.axes.graph import RULES, _Graph
from deployer.bundle.axes.values import MixedError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.optimize

#: Lengths of the axes but for the batch; all differ from one another and from the three rows.
LENGTHS = (4, 2, 6, 5)
ROWS = 3
I64, F32 = np.int64, np.float32


def ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(F32)


W: dict[str, Any] = {"w": floats(6, 5), "k": floats(6), "one": floats(1)}
UNARY = (
    "Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Softplus", "Erf", "Floor", "Sign", "Identity", "Elu", "LeakyRelu",
    "HardSigmoid",
)  # fmt: skip
#: Operator, inputs after x, ranks of x, attributes.
CASES: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    *((op, "", (2,), {}) for op in UNARY),
    *((op, "k", (2, 3), {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "PRelu")),
    *((op, "x", (2, 3), {}) for op in ("Add", "MatMul", "Greater")),
    *((op, "", (2, 3), {"axis": a}) for op in ("Softmax", "LogSoftmax", "ArgMax", "LpNormalization") for a in (0, 1)),
    *((op, "", (3,), {"axes": a, "keepdims": keep}) for op in ("ReduceMean", "ReduceMax", "ReduceL2")
      for a in ([0], [1, 2], [-1]) for keep in (0, 1)),
    *(("Transpose", "", (3,), {"perm": p}) for p in ([1, 0, 2], [2, 0, 1], [0, 2, 1])),
    *(("Flatten", "", (3,), {"axis": a}) for a in (0, 1, 2, 3)),
    *(("Concat", "x", (3,), {"axis": a}) for a in (0, 1, -1)),
    *(("Split", "", (3,), {"axis": a}) for a in (0, 1)),
    *(("Unsqueeze", name, (2,), {}) for name in ("ax0", "ax1")),
    *(("Reshape", name, (3,), {}) for name in ("to_a", "to_b", "to_c", "to_d", "to_e")),
    *(("Expand", name, (3,), {}) for name in ("ex_a", "ex_b")),
    *(("Tile", name, (3,), {}) for name in ("tile_a", "tile_b")),
    *(("Slice", f"zero,two,{a}", (3,), {}) for a in ("ax0", "ax1", "ax2")),
    *(("Gather", "pick", (3,), {"axis": a}) for a in (0, 1, 2)),
    *(("GatherElements", "pick3", (3,), {"axis": a}) for a in (0, 1)),
    *(("CumSum", a, (3,), {}) for a in ("s0", "s1")),
    *(("TopK", "two", (3,), {"axis": a}) for a in (0, 1)),
    *(("Pad", p, (3,), {}) for p in ("pad_a", "pad_b")),
    ("Trilu", "", (2, 3), {}),
    ("MatMul", "w", (2, 3), {}),
    ("Gemm", "w", (2,), {}),
    ("Gemm", "w,row", (2,), {}),
    ("Gemm", "w", (2,), {"transA": 1}),
    *(("Einsum", "x", (3,), {"equation": e}) for e in ("abc,abc->ac", "abc,abd->acd", "abc,dbc->ad")),
    ("Einsum", "w", (3,), {"equation": "abc,cd->abd"}),
    ("Conv", "conv", (4,), {"pads": [1, 1, 1, 1]}),
    ("ConvTranspose", "convt", (4,), {}),
    *((op, "", (4,), {"kernel_shape": [2, 2], "strides": [2, 1]}) for op in ("MaxPool", "AveragePool")),
    ("GlobalAveragePool", "", (4,), {}),
    ("LRN", "", (4,), {"size": 3}),
    ("InstanceNormalization", "g2,g2", (4,), {}),
    ("BatchNormalization", "g2,g2,g2,g2p", (2, 3, 4), {}),
    *(("LayerNormalization", "k", (3,), {"axis": a}) for a in (-1, 1)),
    ("DepthToSpace", "", (4,), {"blocksize": 2}),
    ("SpaceToDepth", "", (4,), {"blocksize": 2}),
    ("Resize", ",scales", (4,), {"mode": "nearest"}),
    *((op, names, (3,), {"hidden_size": 3}) for op, names in (("LSTM", "lw,lr"), ("GRU", "gw,gr"), ("RNN", "rw,rr"))),
    ("Shape", "", (2,), {}),
    ("Size", "", (2,), {}),
    ("NonZero", "", (2,), {}),
    ("Dropout", "", (2,), {}),
]  # fmt: skip
HELD: dict[str, Any] = {
    **W, "row": floats(5), "ax0": ints(0), "ax1": ints(1), "ax2": ints(2), "zero": ints(0), "two": ints(2),
    "to_a": ints(0, 0, 2, -1), "to_b": ints(-1, 6), "to_c": ints(0, -1), "to_d": ints(-1, 2, 3), "to_e": ints(2, -1),
    "ex_a": ints(1, 1, 1), "ex_b": ints(2, 1, 1, 1), "tile_a": ints(1, 2, 1), "tile_b": ints(2, 1, 1),
    "pick": ints(1, 0, 1), "pick3": np.zeros((1, 1, 1), I64), "s0": np.array(0, I64), "s1": np.array(1, I64),
    "pad_a": ints(0, 1, 0, 0, 0, 2), "pad_b": ints(1, 0, 0, 0, 0, 0),
    "conv": floats(3, 2, 3, 3), "convt": floats(2, 3, 2, 2), "g2": floats(2), "g2p": np.abs(floats(2)) + 1,
    "scales": np.array([1, 1, 2, 2], F32), "lw": floats(1, 12, 6), "lr": floats(1, 12, 3),
    "gw": floats(1, 9, 6), "gr": floats(1, 9, 3), "rw": floats(1, 3, 6), "rr": floats(1, 3, 3),

}  # fmt: skip


def model(op: str, more: str, rank: int, attributes: dict[str, Any], opset: int) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    names = ["x", *(more.split(",") if more else [])]
    used = {name for name in names if name in HELD}
    outputs = {
        "TopK": ["y", "i"],
        "Split": ["y", "z"],
        "LSTM": ["y", "h", "c"],
        "GRU": ["y", "h"],
    }.get(op, ["y"])
    node = helper.make_node(op, names, outputs, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"d{axis}" for axis in range(rank)])
    ys = [helper.make_empty_tensor_value_info(name) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(HELD[name]), name) for name in sorted(used)]
    graph = helper.make_graph([node], "g", [x], ys, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def run(made: Any, x: np.ndarray) -> list[np.ndarray] | None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(made.SerializeToString(), options)
        found: list[np.ndarray] = session.run(None, {"x": x})
    except Exception:
        return None
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_proven_of_an_operator_holds(
    case: tuple[str, str, tuple[int, ...], dict[str, Any]],
) -> None:
    op, more, ranks, attributes = case
    for opset in (11, 17):
        for rank in ranks:
            made = model(op, more, rank, attributes, opset)
            for axis in range(rank):
                _holds(made, rank, axis)


def _holds(made: Any, rank: int, axis: int) -> None:
    try:
        outputs, _ = _Graph(onnx, made).follow({"x": axis})
    except MixedError:
        return
    for lengths in (LENGTHS, (2, 2, 6, 6), (4, 4, 6, 6), (6, 6, 6, 6)):
        shape = [*lengths[:axis], ROWS, *lengths[axis + 1 : rank]]
        x = np.random.default_rng(3).random(shape).astype(F32) + 0.1
        whole = run(made, x)
        if whole is None:
            continue
        for row in range(ROWS):
            alone = run(made, np.take(x, [row], axis))
            assert alone is not None
            for name, one, all_ in zip(outputs, alone, whole, strict=True):
                out = outputs[name]
                mine = all_ if out is None else np.take(all_, [row], out)
                np.testing.assert_allclose(
                    mine, one, rtol=1e-4, atol=1e-5, err_msg=f"{shape} {name}"
                )


def test_the_cases_are_operators_that_rules_know() -> None:
    assert {case[0] for case in CASES} - RULES.by_op.keys() == {"NonZero"}
