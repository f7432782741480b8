"""Edge bundles: the .ort file answers as its source, keeps within its limits, and is the same bytes each time."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import deployer
from deployer.errors import ConditionFailed, InputError
from deployer.optimization import ortfile

pytestmark = pytest.mark.optimize
_spec = importlib.util.spec_from_file_location("edge_nets", Path(__file__).parent / "edge_nets.py")
assert _spec is not None
assert _spec.loader is not None
nets: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nets)
F, cnn, node, saved, simple = nets.F, nets.cnn, nets.node, nets.saved, nets.simple

FILES = {
    "README.md",
    "check.npz",
    "edge.json",
    "model.ort",
    "required_operators.config",
    "required_operators_and_types.config",
    "run.py",
}


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small net, made once."""
    folder = tmp_path_factory.mktemp("edge")
    deployer.edge(cnn(folder / "digits.onnx"), folder / "device")
    return folder / "device"


def answers(model: Path, feeds: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def ran(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own script where nothing of deployer is known."""
    command = [sys.executable, "-I", str(folder / "run.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_bundle_is_whole_and_its_script_runs_in_the_stock_runtime(device: Path) -> None:
    assert {path.name for path in device.iterdir()} == FILES
    assert [p.name for p in device.parent.iterdir() if p.name.startswith(".")] == []
    told = json.loads((device / "edge.json").read_text())
    assert told["size_bytes"] == (device / "model.ort").stat().st_size
    assert told["onnxruntime"] == onnxruntime.__version__
    assert told["measured"]["threads"] == 1
    took = told["measured"]["ort"]
    assert 0 < took["latency_low_ms"] <= took["latency_ms"] <= took["latency_high_ms"]
    assert 0 < took["memory_bytes"] < 200e6
    assert any(";FusedConv" in name or ";Conv" in name for name in told["operators"])
    assert not any("nchwc" in name for name in told["operators"])  # for this processor alone
    done = ran(device)
    assert done.returncode == 0, done.stderr
    assert "off by at most" in done.stdout


def test_the_script_fails_on_other_answers(device: Path, tmp_path: Path) -> None:
    other = shutil.copytree(device, tmp_path / "other")
    ortfile.convert(cnn(tmp_path / "other.onnx", seed=5), tmp_path, "amd64")
    shutil.copyfile(tmp_path / "model.ort", other / "model.ort")
    assert ran(other).returncode == 1


def test_the_required_operators_are_those_of_the_file(device: Path) -> None:
    lines = (device / "required_operators.config").read_text().splitlines()
    names = {name for line in lines[1:] for name in line.split(";")[2].split(",")}
    assert {"MatMul"} < names
    assert lines[0] == "# Operators of model.ort"  # no path of the machine that wrote it
    assert '"inputs"' in (device / "required_operators_and_types.config").read_text()


def test_equal_models_give_equal_bytes(device: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    deployer.edge(cnn(tmp_path / "digits.onnx"), again)
    same = FILES - {"edge.json"}  # which holds times
    assert {n for n in same if (device / n).read_bytes() == (again / n).read_bytes()} == same


def test_the_converters_own_order_is_undone(tmp_path: Path) -> None:
    """One of its tables lies by addresses: each conversion in a heap of another shape gives the same bytes."""
    model = nets.transformer(tmp_path / "t.onnx")
    made, ballast = set(), []
    for number in range(3):
        (folder := tmp_path / str(number)).mkdir()
        ballast.append([bytearray(1000 * number) for _ in range(50)])
        ortfile.convert(model, folder, "amd64")
        made.add((folder / "model.ort").read_bytes())
    (data,) = made
    assert ortfile.in_order(data) == data
    feeds = {"input_ids": np.arange(12).reshape(2, 6), "attention_mask": np.ones((2, 6), np.int64)}
    one, other = (answers(path, feeds)[0] for path in (model, tmp_path / "0/model.ort"))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_limits_that_do_not_hold_are_a_failed_condition_with_all_written(tmp_path: Path) -> None:
    limits = {"max_mb": 0.001, "max_memory_mb": 0.01, "max_latency_ms": 1e-6}
    with pytest.raises(ConditionFailed) as caught:
        deployer.edge(cnn(tmp_path / "m.onnx"), tmp_path / "out", **limits)
    for told in (
        "MB of file, more than the 0.001",
        "MB of memory, more than the 0.01",
        "more than the 1e-06",
    ):
        assert f"{told} allowed" in caught.value.message
    report = json.loads((tmp_path / "out/edge.json").read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert [gate["passed"] for gate in report["gates"].values()] == [False] * 3
    assert report["passed"] is False


def test_limits_that_hold_are_told(tmp_path: Path) -> None:
    model = nets.transformer(tmp_path / "m.onnx")
    found = deployer.edge(model, tmp_path / "out", max_mb=1, max_memory_mb=500, max_latency_ms=1000)
    assert found.passed
    assert set(found.gates) == {"file_mb", "memory_mb", "latency_ms"}
    assert found.difference <= 1e-5
    assert "--shape input_ids=" in found.requests  # the length was assumed


def with_branches(path: Path) -> Path:
    """One of two branches, by the sum of the input."""
    branches = [
        helper.make_graph(
            [node(kind, "x", kind)], kind, [], [helper.make_tensor_value_info(kind, F, ["n", 4])]
        )
        for kind in ("Relu", "Neg")
    ]
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "b"),
        node("If", "b", "y", then_branch=branches[0], else_branch=branches[1]),
    ]
    return saved(path, nodes, [("x", F, ["n", 4])], [("y", F, ["n", 4])], {"zero": np.float32(0)})


def outside(path: Path) -> Path:
    """A net whose weights lie in a file beside it."""
    model = onnx.load(str(cnn(path)))
    onnx.save(model, str(path), save_as_external_data=True, location="w.data", size_threshold=0)
    return path


def stateful(path: Path) -> Path:
    """A sum of states whose first axis is no row's."""
    nodes = [node("ReduceMean", "state", "s", axes=[0], keepdims=0), node("Add", "x s", "y")]
    given = [("x", F, [1, 4]), ("state", F, [2, 1, 4])]
    return saved(path, nodes, given, [("y", F, [1, 4])])


def two_answers(path: Path) -> Path:
    """Two outputs of different shapes, of two inputs with free axes of their own."""
    nodes = [node("MatMul", "a b", "y"), node("ReduceMax", "y", "most", axes=[2], keepdims=0)]
    given = [("a", F, ["n", "p", "q"]), ("b", F, ["n", "q", "r"])]
    return saved(path, nodes, given, [("y", F, ["n", "p", "r"]), ("most", F, ["n", "p"])])


@pytest.mark.parametrize(
    "make",
    [
        with_branches,
        outside,
        stateful,
        two_answers,
        lambda path: simple(path, "Sigmoid", dtype=TensorProto.FLOAT16),
        lambda path: simple(path, "Log"),  # NaN below zero
    ],
    ids=["if", "external", "state", "two", "half", "log"],
)
def test_odd_models_are_converted_and_answer_as_before(make: Any, tmp_path: Path) -> None:
    found = deployer.edge(make(tmp_path / "m.onnx"), tmp_path / "out")
    rtol, atol = found.tolerance
    assert found.difference <= rtol + atol
    with np.load(tmp_path / "out/check.npz") as check:
        assert all(np.isfinite(check[name]).all() for name in check.files)


def test_samples_are_rows_or_one_whole_request(tmp_path: Path) -> None:
    rows = {"image": np.random.default_rng(0).random((5, 1, 8, 8), np.float32)}
    found = deployer.edge(cnn(tmp_path / "m.onnx"), tmp_path / "rows", samples=rows)
    assert found.requests == "5 given requests"
    state = {"x": np.ones((1, 4), "f4"), "state": np.ones((2, 1, 4), "f4")}
    found = deployer.edge(stateful(tmp_path / "s.onnx"), tmp_path / "whole", samples=state)
    assert found.requests == "the request given"


OTHER = "arm64" if platform.machine() == "x86_64" else "amd64"


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (lambda p: p.with_suffix(".ort"), {}, "in ONNX Runtime's format already"),
        (lambda p: p.with_suffix(".pt2"), {}, "is no ONNX file"),
        (cnn, {"target": "riscv"}, "no target 'riscv'"),
        (cnn, {"target": OTHER, "max_latency_ms": 5}, f"says nothing of {OTHER}"),
        (cnn, {"shapes": {"image": (1, 3, 8, 8)}}, "--shape image=1,3,8,8: the model takes any,1,8,8"),
        (cnn, {"shapes": {"picture": (1, 1, 8, 8)}}, "the model has no input 'picture'"),
        (cnn, {"samples": {"image": np.zeros((2, 1, 8, 9), "f4")}}, "the model takes"),
        (lambda p: simple(p, "Identity", dtype=TensorProto.STRING), {}, "input 'x' takes texts"),
        (lambda p: simple(p, "Sqrt", ("n", "m")), {"shapes": {"x": (2, 4)}}, "its first axis is the rows"),
    ],
)  # fmt: skip
def test_wrong_input_is_named_and_nothing_is_written(
    make: Any, options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    model = make(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=told):
        deployer.edge(model, tmp_path / "out", **options)
    assert {path.name for path in tmp_path.iterdir()} <= {"m.onnx"}


def test_a_text_that_is_called_onnx_and_answers_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(InputError, match=r"m\.onnx"):
        deployer.edge(tmp_path / "m.onnx", tmp_path / "out")
    nothing = np.full((1,), np.nan, "f4")
    lost = saved(
        tmp_path / "nan.onnx",
        [node("Add", "x w", "y")],
        [("x", F, ["n", 1])],
        [("y", F, ["n", 1])],
        {"w": nothing},
    )
    with pytest.raises(InputError, match="answers with NaN in 'y'") as caught:
        deployer.edge(lost, tmp_path / "out")
    assert "--samples" in str(caught.value.hint)
    series = helper.make_tensor_sequence_value_info("y", F, None)
    given = helper.make_tensor_value_info("x", F, ["n", 2])
    graph = helper.make_graph([node("SequenceConstruct", "x x", "y")], "g", [given], [series])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    onnx.save(model, tmp_path / "s.onnx")
    with pytest.raises(InputError, match="output 'y' is a seq"):
        deployer.edge(tmp_path / "s.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("my own")
    with pytest.raises(InputError, match="holds files that are no edge bundle"):
        deployer.edge(cnn(tmp_path / "m.onnx"), tmp_path / "mine")
    assert (tmp_path / "mine/README.md").read_text() == "my own"


def test_a_file_that_answers_otherwise_is_refused_and_the_bundle_before_stays(
    device: Path, tmp_path: Path
) -> None:
    """A random net answers no question twice alike."""
    before = shutil.copytree(device, tmp_path / "out")
    nodes = [node("RandomNormalLike", "x", "r"), node("Add", "x r", "y")]
    model = saved(tmp_path / "m.onnx", nodes, [("x", F, ["n", 4])], [("y", F, ["n", 4])])
    with pytest.raises(ConditionFailed, match="does not answer as its source"):
        deployer.edge(model, before)
    assert (before / "model.ort").read_bytes() == (device / "model.ort").read_bytes()
