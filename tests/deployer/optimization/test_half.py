"""Half precision: what has none stays float, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
from onnx.helper import make_node as node

from deployer.optimization import half, quantize
from deployer.optimization.graph import Unfit
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

BOX, SCORES = nets.ints(1, -1, 4), nets.ints(1, 4, -1)
PICTURE = node("Reshape", ["a", "shape"], ["p"])
FOUR = {"shape": nets.ints(-1, 2, 2, 2)}
ROI = {"corners": np.array([[0, 0, 1, 1]], np.float32), "which": nets.ints(0)}
LIMITS = {"most": nets.ints(2), "iou": np.array([0.5], np.float32)}

OPERATORS: dict[str, tuple[list[Any], dict[str, Any], str | None]] = {
    "Max": ([node("Max", ["a", "k", "a"], ["y"])], {}, "Max"),
    "Max of one": ([node("Max", ["a"], ["y"])], {}, "Max"),
    "two that share a value": (
        [
            node("Min", ["a", "k"], ["b"]),
            node("Max", ["a", "k"], ["c"]),
            node("Add", ["b", "c"], ["y"]),
        ],
        {},
        "Max, Min",
    ),
    "Celu": ([node("Celu", ["a"], ["y"])], {}, "Celu"),
    "IsInf": ([node("IsInf", ["a"], ["b"]), node("Where", ["b", "k", "a"], ["y"])], {}, "IsInf"),
    "TopK": ([node("TopK", ["a", "n"], ["y", "at"])], {"n": nets.ints(3)}, "TopK"),
    "CumSum": ([node("CumSum", ["a", "n"], ["y"])], {"n": nets.ints(1)[0]}, "CumSum"),
    "Range of floats": (
        [
            node("ReduceMax", ["a"], ["end"], keepdims=0),
            node("Range", ["zero", "end", "step"], ["r"]),
            node("ReduceSum", ["r"], ["s"]),
            node("Add", ["a", "s"], ["y"]),
        ],
        {"zero": np.float32(0), "step": np.float32(0.5)},
        "Range",
    ),
    "NonMaxSuppression": (
        [
            node("Reshape", ["a", "box"], ["b"]),
            node("Reshape", ["a", "scores"], ["c"]),
            node("NonMaxSuppression", ["b", "c", "most", "iou"], ["d"]),
            node("Cast", ["d"], ["y"], to=1),
        ],
        {"box": BOX, "scores": SCORES, **LIMITS},
        "NonMaxSuppression",
    ),
    "RoiAlign": (
        [PICTURE, node("RoiAlign", ["p", "corners", "which"], ["y"])],
        FOUR | ROI,
        "RoiAlign",
    ),
    "Resize by sizes that are computed": (
        [
            PICTURE,
            node("Shape", ["p"], ["s"]),
            node("Cast", ["s"], ["f"], to=1),
            node("Div", ["f", "f"], ["scales"]),
            node("Resize", ["p", "", "scales"], ["y"], mode="nearest"),
        ],
        FOUR,
        None,
    ),
    "Clip": ([node("Clip", ["a", "low", ""], ["y"])], {"low": np.float32(0)}, None),
    "Pad": (
        [node("Pad", ["a", "pads", "low"], ["y"])],
        {"pads": nets.ints(0, 1, 0, 1), "low": np.float32(7)},
        None,
    ),
    "ScatterND": (
        [node("ScatterND", ["a", "at", "new"], ["y"])],
        {"at": nets.ints([0, 0]), "new": np.array([3], np.float32)},
        None,
    ),
    "Sum and Mean": ([node("Sum", ["a", "k"], ["b"]), node("Mean", ["b", "a"], ["y"])], {}, None),
    "Cast": ([node("Cast", ["a"], ["b"], to=11), node("Cast", ["b"], ["y"], to=1)], {}, None),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_operator_is_run_in_half_precision_or_named_as_float(case: str, tmp_path: Path) -> None:
    nodes, constants, left = OPERATORS[case]
    known = {"w": nets.normal(8, 8), "k": nets.normal(8), **constants}
    multiply = node("MatMul", ["x", "w"], ["a"])
    source = nets.write(tmp_path / "net.onnx", [multiply, *nodes], known, {"x": ("n", 8)})
    with quantize.quiet():
        note = half.write(source, tmp_path / "half.onnx")
    assert note == (f"without half precision: {left}" if left else None)
    rows = {"x": nets.normal(4, 8, seed=1)}
    wanted, answer = (Session(path, 1).run(rows) for path in (source, tmp_path / "half.onnx"))
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, wanted, rtol=1e-2, atol=1e-2)


def test_branch_that_holds_an_operator_without_half_precision_is_named(tmp_path: Path) -> None:
    source = nets.branched(tmp_path / "net.onnx")
    quantize.prepare(source, tmp_path / "prepared.onnx")
    with pytest.raises(Unfit, match="If 'If_3' holds Max, which has no half precision"):
        half.write(tmp_path / "prepared.onnx", tmp_path / "half.onnx")
