"""One network, saved in every way that people save it: one verdict, and no change that changes an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deployer.optimization import ladder
from deployer.optimization.normalise import normalise
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

NODE = onnx.helper.make_node
RUNGS = ["int8-static-minmax", "int8-equalized-static", "int8-dynamic-per-channel"]
CASES = ("batch 1", "batch 8")


def values(name: str, kind: int, shape: tuple[Any, ...]) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def cnn() -> tuple[list[Any], dict[str, np.ndarray], tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (16, 8, 3, 3), "b2": (16,), "b3": (10,)}
    known = {name: rng.normal(0, 0.2, shape) for name, shape in shapes.items()}
    known["w3"] = np.linalg.qr(rng.normal(size=(16, 16)))[0][:10]
    nodes = [
        NODE("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        NODE("Relu", ["c1"], ["r1"]),
        NODE("MaxPool", ["r1"], ["m1"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Conv", ["m1", "w2", "b2"], ["c2"], pads=[1] * 4),
        NODE("Relu", ["c2"], ["r2"]),
        NODE("GlobalAveragePool", ["r2"], ["p"]),
        NODE("Flatten", ["p"], ["f"]),
        NODE("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    return nodes, known, ("n", 3, 8, 8)


def mlp() -> tuple[list[Any], dict[str, np.ndarray], tuple[Any, ...]]:
    rng = np.random.default_rng(1)
    known = {"w1": rng.normal(size=(16, 64)) / 4, "w2": rng.normal(size=(64, 10)) / 8}
    known |= {"b1": rng.normal(size=64) / 4, "b2": rng.normal(size=10) / 4}
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"]),
        NODE("Add", ["a", "b1"], ["b"]),
        NODE("Relu", ["b"], ["c"]),
        NODE("Gemm", ["c", "w2", "b2"], ["y"]),
    ]
    return nodes, known, ("n", 16)


NETS = {"cnn": cnn, "mlp": mlp}
DROPS = {"cnn": 0.03, "mlp": 0.05}  # 94 of 100 rows are of one class to the cnn


def saved(
    net: str, path: Path, opset: int, ir: int, *, inputs: bool = False, half: bool = False
) -> Path:
    nodes, known, shape = NETS[net]()
    dtype = np.float16 if half else np.float32
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    weights = [onnx.numpy_helper.from_array(v.astype(dtype), k) for k, v in known.items()]
    own = [values("x", kind, shape)]
    own += [values(k, kind, v.shape) for k, v in known.items()] if inputs else []
    graph = onnx.helper.make_graph(nodes, net, own, [values("y", kind, ("n", 10))], weights)
    made = onnx.helper.make_opsetid("", opset)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[made], ir_version=ir), path)
    return path


FORMS: dict[str, dict[str, Any]] = {
    "opset 7, IR 3, weights as inputs": {"opset": 7, "ir": 3, "inputs": True},
    "opset 9, IR 3, weights as inputs": {"opset": 9, "ir": 3, "inputs": True},
    "opset 11, IR 6": {"opset": 11, "ir": 6},
    "opset 12, IR 7, weights as inputs": {"opset": 12, "ir": 7, "inputs": True},
    "opset 13, IR 8": {"opset": 13, "ir": 8},
    "opset 21, IR 10": {"opset": 21, "ir": 10},
    "half precision": {"opset": 17, "ir": 8, "half": True},
    "half precision, opset 11": {"opset": 11, "ir": 6, "half": True},
    "weights beside it": {"opset": 17, "ir": 8},
}


def record(path: Path) -> Path:
    """The speeds of a climb that is judged by its choice alone: each rung twice as fast as the one before."""
    rungs = {}
    for place, name in enumerate(("fp32-as-given", *RUNGS, "int8-static-minmax-mixed")):
        speed = 0.9 * 2.0**place
        times = {"fp32_ms": dict.fromkeys(CASES, 8.0)}
        times |= {"candidate_ms": dict.fromkeys(CASES, 8.0 / speed)}
        ends = {"median": speed, "low": speed, "high": speed, "rounds": 15}
        rungs[name] = ends | times
    path.write_text(json.dumps({"schema_version": 1, "rungs": rungs}))
    return path


def verdict(net: str, model: Path, folder: Path, *, half: bool = False) -> Any:
    """Return the best rung, and what became of each."""
    rng = np.random.default_rng(2)
    shape = NETS[net]()[2][1:]
    rows = rng.normal(size=(400, *shape)).astype(np.float16).astype("f4")
    right = Session(saved(net, folder / "reference.onnx", 17, 8)).run({"x": rows}).argmax(1)
    given = rows.astype("f2") if half else rows
    report = ladder.climb(
        model,
        calibration={"x": given[:32]},
        evaluation={"x": given[40:], "label": right[40:]},
        max_drop=DROPS[net],
        rungs=RUNGS,
        latencies=record(folder / "latencies.json"),
        out=folder / "out",
    )
    own = [rung for rung in report.rungs if rung.name != "fp32-as-given"]
    return report, (report.best.name, [(rung.name, rung.status) for rung in own])


@pytest.fixture(scope="module", params=sorted(NETS))
def wanted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network's name and the verdict on it as torch saves it today."""
    folder = tmp_path_factory.mktemp("wanted")
    net = str(request.param)
    report, found = verdict(net, saved(net, folder / "m.onnx", 18, 8), folder)
    assert report.details["normalised"]["changes"] == []
    assert "int8-static-minmax" in [r.name for r in report.rungs if r.status == "kept"]
    return net, found


@pytest.mark.parametrize("form", sorted(FORMS))
def test_one_network_saved_in_any_way_gets_one_verdict(
    form: str, wanted: Any, tmp_path: Path
) -> None:
    net, expected = wanted
    model = saved(net, tmp_path / "m.onnx", **FORMS[form])
    if form == "weights beside it":
        onnx.save(
            onnx.load(model), model, save_as_external_data=True, location="w", size_threshold=0
        )
    report, found = verdict(net, model, tmp_path, half=FORMS[form].get("half", False))
    assert found == expected
    changed = report.details["normalised"]["changes"]
    assert (changed == []) == (form == "opset 21, IR 10")
    assert report.details["normalised"]["not_changed"] == []
    assert ("fp32-as-given" in [rung.name for rung in report.rungs]) == (changed != [])
    spec = Session(tmp_path / "out/best.onnx").inputs[0]
    assert spec.name == "x"
    assert spec.dtype == ("float16" if "half" in form else "float32")


def simple(nodes: list[Any], known: dict[str, np.ndarray], path: Path, opset: int = 17) -> Path:
    ends = [values(name, onnx.TensorProto.FLOAT, ("n", 64)) for name in "xy"]
    weights = [onnx.numpy_helper.from_array(v, k) for k, v in known.items()]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    made = onnx.helper.make_opsetid("", opset)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[made], ir_version=8), path)
    return path


ROWS = {"x": np.random.default_rng(3).normal(size=(20, 64)).astype("f4")}
MATRIX = np.random.default_rng(4).normal(size=(64, 64)).astype("f4")


def test_dead_and_equal_parts_go(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("MatMul", ["x", "v"], ["b"]),
        NODE("Relu", ["x"], ["nowhere"]),
        NODE("Add", ["a", "b"], ["c"]),
        NODE("Tanh", ["c"], ["y"]),
    ]
    known = {"w": MATRIX, "v": MATRIX.copy(), "unread": MATRIX + 1}
    model = simple(nodes, known, tmp_path / "m.onnx")
    found = normalise(model, tmp_path / "n.onnx", ROWS)
    made = onnx.load(tmp_path / "n.onnx").graph
    assert found.changes == (
        "1 dead nodes and 1 unused weights",
        "1 nodes and 1 weights that others equal",
    )
    assert [node.op_type for node in made.node] == ["MatMul", "Add", "Tanh"]
    assert [item.name for item in made.initializer] == ["w"]


def test_nodes_that_draw_at_random_are_not_taken_for_equal(tmp_path: Path) -> None:
    nodes = [
        NODE("RandomNormalLike", ["x"], ["a"]),
        NODE("RandomNormalLike", ["x"], ["b"]),
        NODE("Sub", ["a", "b"], ["y"]),
    ]
    model = simple(nodes, {}, tmp_path / "m.onnx")
    assert normalise(model, tmp_path / "n.onnx", ROWS).changes == ()


def test_model_that_is_as_it_should_be_keeps_its_bytes(classifier: Path, tmp_path: Path) -> None:
    rows = {"features": np.ones((4, 16), "f4")}
    assert normalise(classifier, tmp_path / "n.onnx", rows).changes == ()
    assert (tmp_path / "n.onnx").read_bytes() == classifier.read_bytes()


def test_change_that_cannot_be_proven_is_not_made_and_says_why(tmp_path: Path) -> None:
    """Hardmax counted all axes from ``axis`` on before opset 13; onnx's converter forgets it."""
    nodes = [
        NODE("Reshape", ["x", "shape"], ["a"]),
        NODE("Hardmax", ["a"], ["b"], axis=1),
        NODE("Flatten", ["b"], ["y"]),
    ]
    known = {"shape": np.array([0, 8, 8], np.int64), "unread": MATRIX}
    model = simple(nodes, known, tmp_path / "m.onnx", opset=12)
    found = normalise(model, tmp_path / "n.onnx", ROWS)
    assert found.changes == ("0 dead nodes and 1 unused weights",)
    assert [reason.split(": ")[0] for reason in found.not_changed] == ["opset 17", "opset 13"]
    assert "output 'y' is off by 1 where the largest value is 1" in found.not_changed[0]
    assert onnx.load(tmp_path / "n.onnx").opset_import[0].version == 12


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_resize_of_before_opset_11_means_what_it_meant(mode: str, tmp_path: Path) -> None:
    nodes = [
        NODE("Reshape", ["x", "shape"], ["a"]),
        NODE("Resize", ["a", "scales"], ["b"], mode=mode),
        NODE("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Flatten", ["c"], ["y"]),
    ]
    known = {"shape": np.array([0, 1, 8, 8], np.int64), "scales": np.array([1, 1, 2, 2], "f4")}
    model = simple(nodes, known, tmp_path / "m.onnx", opset=10)
    found = normalise(model, tmp_path / "n.onnx", ROWS)
    assert found.changes == ("opset 10 raised to 17",), found.not_changed


def test_operators_of_another_domain_come_through_a_raised_opset(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Gelu", ["a"], ["y"], domain="com.microsoft"),
    ]
    model = onnx.load(simple(nodes, {"w": MATRIX}, tmp_path / "m.onnx", opset=11))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "m.onnx")
    found = normalise(tmp_path / "m.onnx", tmp_path / "n.onnx", ROWS)
    assert found.changes == ("opset 11 raised to 17",), found.not_changed


def test_branch_of_an_old_opset_is_raised_too_or_the_file_stays(tmp_path: Path) -> None:
    """In a branch a Squeeze of opset 11 has its axes as an attribute, which 13 no longer knows."""
    end = [values("o", onnx.TensorProto.FLOAT, ("n", 64))]
    steps = [NODE("Unsqueeze", ["x"], ["u"], axes=[0]), NODE("Squeeze", ["u"], ["o"], axes=[0])]
    yes = onnx.helper.make_graph(steps, "yes", [], end)
    no = onnx.helper.make_graph([NODE("Neg", ["x"], ["o"])], "no", [], end)
    nodes = [
        NODE("ReduceSum", ["x"], ["s"], keepdims=0),
        NODE("Greater", ["s", "zero"], ["c"]),
        NODE("If", ["c"], ["y"], then_branch=yes, else_branch=no),
    ]
    known = {"zero": np.zeros((), "f4"), "unread": MATRIX}
    model = simple(nodes, known, tmp_path / "m.onnx", opset=11)
    found = normalise(model, tmp_path / "n.onnx", ROWS)
    assert "0 dead nodes and 1 unused weights" in found.changes
    given, made = (Session(tmp_path / name) for name in ("m.onnx", "n.onnx"))
    for rows in (ROWS["x"], -ROWS["x"]):
        np.testing.assert_array_equal(made.run({"x": rows}), given.run({"x": rows}))
