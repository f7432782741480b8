"""Models as they come from elsewhere: one batch size alone, infinite answers, branches, axes in another order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deployer.errors import InputError
from deployer.optimization import ladder
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize


@pytest.mark.parametrize("size", [1, 4])
def test_model_that_takes_one_batch_size_alone_climbs(
    size: int, classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    fixed = onnx.load(str(classifier))
    for end in (*fixed.graph.input, *fixed.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = size
    del fixed.graph.value_info[:]
    onnx.save(fixed, tmp_path / "fixed.onnx")
    rungs = ["int8-equalized-static", "int8-static-minmax", "int8-static-entropy"]
    odd = {"features": calibration["features"][:21]}
    report = ladder.climb(
        tmp_path / "fixed.onnx",
        calibration=odd,
        evaluation=evaluation,
        rungs=rungs,
        out=tmp_path / "out",
    )
    assert report.rungs[1].speedup is not None
    assert all(rung.accuracy and rung.accuracy.passed for rung in report.rungs[1:])
    assert set(report.rungs[1].speedup.candidate_ms) == {f"batch {size}"}


def made(nodes: list[Any], path: Path, *, wide: Any = ("n", 64)) -> Path:
    """Write a model of 64 features to 64, with matrices ``w`` and ``v`` and the row ``mask``."""
    rng = np.random.default_rng(0)
    known = {name: rng.normal(size=(64, 64)).astype("f4") / 8 for name in "wv"}
    known |= {"mask": np.array([-np.inf] + [0] * 63, "f4"), "zero": np.zeros((), "f4")}
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 64]), ("y", wide))
    ]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def cosine(model: Path, out: Path, **more: Any) -> Any:
    rows = np.random.default_rng(1).normal(size=(80, 64)).astype("f4")
    given = {"metric": "cosine", "rungs": ["int8-equalized-static"], "max_drop": 0.05} | more
    sets = {"calibration": {"x": rows[:20]}, "evaluation": {"x": rows[20:]}}
    return ladder.climb(model, out=out, **(sets | given))


NODE = onnx.helper.make_node
UNFIT = {
    "NaN": (NODE("Log", ["a"], ["y"]), "answers with NaN, first to evaluation row 0"),
    "rows last": (NODE("Transpose", ["a"], ["y"], perm=[1, 0]), r"shape \(64, 8\) for 8 rows"),
    "one number": (NODE("ReduceSum", ["a"], ["y"], keepdims=0), r"shape \(\) for 8 rows"),
}


@pytest.mark.parametrize("case", sorted(UNFIT))
def test_model_whose_answers_cannot_be_compared_by_row_is_refused(
    case: str, tmp_path: Path
) -> None:
    last, message = UNFIT[case]
    model = made([NODE("MatMul", ["x", "w"], ["a"]), last], tmp_path / "m.onnx", wide=None)
    with pytest.raises(InputError, match=message):
        cosine(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [model]


def test_class_that_the_model_masks_out_is_infinite_in_every_rung(tmp_path: Path) -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["a"]), NODE("Add", ["a", "mask"], ["y"])]
    model = made(nodes, tmp_path / "m.onnx")
    rows = np.random.default_rng(2).normal(size=(300, 64)).astype("f4")
    right = Session(model).run({"x": rows}).argmax(1)
    report = cosine(
        model,
        tmp_path / "out",
        evaluation={"x": rows, "label": right},
        metric="accuracy",
        max_drop=0.2,
    )
    assert report.rungs[1].accuracy.passed


def test_weights_that_only_a_branch_reads_stay(tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, ["n", 64])]
    yes = onnx.helper.make_graph([NODE("MatMul", ["x", "v"], ["o"])], "yes", [], ends)
    no = onnx.helper.make_graph([NODE("Add", ["x", "zero"], ["o"])], "no", [], ends)
    nodes = [
        NODE("ReduceSum", ["x"], ["s"], keepdims=0),
        NODE("Greater", ["s", "zero"], ["positive"]),
        NODE("If", ["positive"], ["b"], then_branch=yes, else_branch=no),
        NODE("MatMul", ["b", "w"], ["y"]),
    ]
    report = cosine(made(nodes, tmp_path / "m.onnx"), tmp_path / "out")
    assert report.rungs[1].status != "failed"
    assert report.rungs[1].accuracy.passed


def two_outputs(path: Path) -> Path:
    """Both outputs are the same product; the second goes through a channel thousands of times as large as the rest."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 64)).astype("f4") / 8
    scale = np.ones(64, "f4")
    scale[3] = 20000
    known = {"w": weight, "scale": scale, "v": weight / scale[:, None]}
    nodes = [
        NODE("MatMul", ["x", "w"], ["y"]),
        NODE("Mul", ["x", "scale"], ["s"]),
        NODE("MatMul", ["s", "v"], ["z"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 64])
        for name in ("x", "y", "z")
    ]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def test_second_output_that_a_rung_ruins_is_judged_and_named(tmp_path: Path) -> None:
    model = two_outputs(tmp_path / "m.onnx")
    rungs = ["int8-static-minmax", "fp32-optimized"]
    report = cosine(model, tmp_path / "out", rungs=rungs)
    ruined, same = report.rungs[1:3]
    assert ruined.status == "refused"
    assert ruined.reason.startswith("output 'z' channel 0: FP32 has 60 distinct values, this")
    assert ruined.accuracy.value < 0.05  # the metric sees the first output alone
    assert [one.value for one in ruined.outputs if one.name == "z"] == [1.0]
    assert same.accuracy.passed


def test_rung_without_the_second_output_is_refused(tmp_path: Path) -> None:
    model = two_outputs(tmp_path / "m.onnx")
    half = made([NODE("MatMul", ["x", "w"], ["y"])], tmp_path / "half.onnx")
    report = cosine(model, tmp_path / "out", rungs=["fp32-optimized"], alternatives={"half": half})
    found = {rung.name: rung for rung in report.rungs}
    assert found["half"].status == "failed"
    assert found["half"].reason == "it answers with y, the model with y, z"
