"""The gate sees every output or says which it does not, and a metric that sees nothing is refused first."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from deployer.errors import InputError
from deployer.optimization import blind, ladder, metrics
from deployer.optimization.onnxfile import save

pytestmark = pytest.mark.optimize

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(400, 4)).astype("f4")
OFTEN = np.array([9, 0, 0, 0], "f4")
SKEWED = LOGITS[:40] + OFTEN / 4
RIGHT = LOGITS.argmax(1)
NODE = helper.make_node


def check(metric: str, reference: Any, labels: Any = None, max_drop: float = 0.01) -> None:
    blind.check(metrics.resolve(metric), reference, labels, max_drop=max_drop, seed=0)


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("users_metrics")
    monkeypatch.setitem(sys.modules, "users_metrics", module)
    return module


SEEING: dict[str, tuple[str, Any, Any]] = {
    "accuracy": ("accuracy", LOGITS, RIGHT),
    "top2": ("top2", LOGITS, RIGHT),
    "f1": ("f1", LOGITS, RIGHT),
    "auc": ("auc", LOGITS, RIGHT),
    "cosine of embeddings": ("cosine", LOGITS, None),
    "fidelity": ("fidelity", {"y": LOGITS, "z": LOGITS[:, :1]}, None),
    "spearman": ("spearman", LOGITS[:, :1], LOGITS[:, 0]),
    "few rows": ("accuracy", LOGITS[:12], RIGHT[:12]),
}


@pytest.mark.parametrize("case", sorted(SEEING))
def test_metric_that_tells_the_model_from_a_constant_is_taken(case: str) -> None:
    metric, reference, labels = SEEING[case]
    check(metric, reference, labels)


BLIND: dict[str, tuple[str, Any, Any, float, str, str]] = {
    "labels of one class": (
        "accuracy", LOGITS + OFTEN, np.zeros(400, int), 0.01,
        "accuracy cannot tell the model from its mean answer to every row: 1 and 1", "one class",
    ),
    "labels of other rows": (
        "accuracy", LOGITS, np.roll(RIGHT, 7), 0.01, "accuracy cannot tell", "labels that are right",
    ),
    "large common mean": (
        "cosine", LOGITS + 50, None, 0.01, "cosine cannot tell the model from its mean answer",
        "--metric fidelity",
    ),
    "any drop allowed": (
        "accuracy", LOGITS, RIGHT, 1.0, "where 1 is allowed", "smaller --max-drop",
    ),
    "too few rows to tell": (
        "accuracy", SKEWED, SKEWED.argmax(1), 0.1,
        "accuracy cannot tell", "more evaluation rows",
    ),
    "a constant model": (
        "fidelity", {"y": np.ones((50, 3), "f4")}, None, 0.01, "fidelity cannot tell",
        "answers differently",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BLIND))
def test_blind_metric_is_refused_with_both_scores_and_the_fix(case: str) -> None:
    metric, reference, labels, max_drop, message, hint = BLIND[case]
    with pytest.raises(InputError, match=message) as caught:
        check(metric, reference, labels, max_drop)
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


def test_users_metric_is_held_to_the_same(users: Any) -> None:
    users.always = lambda outputs, labels: 1.0
    users.same_for_all = lambda outputs, labels: float(outputs.mean())
    users.undefined = lambda outputs, labels: float(
        "nan" if np.ptp(outputs, axis=0).max() == 0 else 1.0
    )
    users.right = lambda outputs, labels: float((outputs.argmax(1) == labels).mean())
    check("users_metrics:right", {"y": LOGITS}, RIGHT)
    with pytest.raises(InputError, match="from its mean answer"):
        check("users_metrics:always", {"y": LOGITS}, RIGHT)
    with pytest.raises(InputError, match="cannot tell"):
        check("users_metrics:same_for_all", {"y": LOGITS}, RIGHT)
    with pytest.raises(InputError, match="from its answers to other rows"):
        check("users_metrics:undefined", {"y": LOGITS}, RIGHT)


def test_users_metric_is_given_one_array_or_all_outputs_by_name(users: Any) -> None:
    seen: list[Any] = []
    users.look = lambda outputs, labels: float(len(seen.append((outputs, labels)) or "x"))
    metric = metrics.resolve("users_metrics:look")
    metric.score({"y": LOGITS}, {"y": LOGITS}, RIGHT)
    metric.score({"y": LOGITS, "z": RIGHT}, {"y": LOGITS, "z": RIGHT}, None)
    assert seen[0][0] is LOGITS
    assert seen[0][1] is RIGHT
    assert list(seen[1][0]) == ["y", "z"]


def test_cosine_of_one_number_is_refused_with_what_to_use() -> None:
    with pytest.raises(InputError, match="cosine of one number per row is its sign") as caught:
        check("cosine", LOGITS[:, :1])
    assert caught.value.hint == "--metric fidelity, or spearman with labels"


KNOWN = {
    "w": RNG.normal(size=(16, 4)).astype("f4"),
    "one": np.ones((), "f4"),
    "tenth": np.full((), 1.1, "f4"),
    "nan": np.full((), np.nan, "f4"),
    "zero": np.zeros((), "f4"),
}
Y = NODE("MatMul", ["x", "w"], ["y"])
OUTPUTS: dict[str, tuple[list[Any], list[Any], int, str]] = {
    # what FP32 answers, what the candidate does in its place, the type, and why that is refused
    "number": (
        [NODE("ReduceSum", ["y", "axis"], ["z"], keepdims=0)],
        [NODE("ReduceSum", ["y", "axis"], ["s"], keepdims=0), NODE("Mul", ["s", "tenth"], ["z"])],
        TensorProto.FLOAT,
        "output 'z' the error is 0.1 of FP32's spread; at most 0.05 of error is allowed",
    ),
    "time first": (
        [NODE("Transpose", ["y"], ["z"], perm=[1, 0])],
        [NODE("Mul", ["y", "zero"], ["s"]), NODE("Transpose", ["s"], ["z"], perm=[1, 0])],
        TensorProto.FLOAT,
        "output 'z' channel 0: FP32 has 60 distinct values, this rung 1",
    ),
    "no batch": (
        [NODE("ReduceMax", ["y"], ["z"], keepdims=0)],
        [NODE("ReduceMin", ["y"], ["z"], keepdims=0)],
        TensorProto.FLOAT,
        "output 'z' ",
    ),
    "detections": (
        [NODE("Greater", ["y", "one"], ["g"]), NODE("NonZero", ["g"], ["z"])],
        [NODE("Less", ["y", "one"], ["g"]), NODE("NonZero", ["g"], ["z"])],
        TensorProto.INT64,
        "of rows have another shape than FP32's",
    ),
    "truth": (
        [NODE("Greater", ["y", "one"], ["z"])],
        [NODE("Less", ["y", "one"], ["z"])],
        TensorProto.BOOL,
        "100.0% of its values are not FP32's, first in row 0",
    ),
}


def model(path: Path, nodes: list[Any], kind: int = TensorProto.FLOAT) -> Path:
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("z", kind, None),
    ]
    known = KNOWN | {"axis": np.array([1], np.int64)}
    weights = [numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph([Y, *nodes], "g", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def climbed(source: Path, folder: Path, **more: Any) -> Any:
    rows = np.random.default_rng(1).normal(size=(68, 16)).astype("f4")
    sets = {"calibration": {"x": rows[:8]}, "evaluation": {"x": rows[8:]}}
    given = {"metric": "cosine", "max_drop": 0.01, "rungs": ["fp32-optimized"]} | more
    return ladder.climb(source, out=folder / "out", **(sets | given))


@pytest.mark.parametrize("case", sorted(OUTPUTS))
def test_second_output_of_any_form_is_judged(case: str, tmp_path: Path) -> None:
    right, wrong, kind, told = OUTPUTS[case]
    other = model(tmp_path / "other.onnx", wrong, kind)
    source = model(tmp_path / "m.onnx", right, kind)
    report = climbed(source, tmp_path, alternatives={"other": other})
    found = {rung.name: rung for rung in report.rungs}
    assert found["fp32-optimized"].accuracy.passed, found["fp32-optimized"].reason
    assert found["other"].status == "refused"
    assert told in found["other"].reason
    record = {one["name"]: one for one in found["other"].to_json()["outputs"]}
    assert record["z"]["passed"] is False
    assert record["z"]["value"] > record["z"]["limit"]


def test_ignored_output_is_not_judged_and_told(tmp_path: Path) -> None:
    right, wrong, kind, _ = OUTPUTS["number"]
    said: list[str] = []
    report = climbed(
        model(tmp_path / "m.onnx", right, kind),
        tmp_path,
        alternatives={"other": model(tmp_path / "other.onnx", wrong, kind)},
        ignore_outputs=["z"],
        progress=said.append,
    )
    found = {rung.name: rung for rung in report.rungs}
    assert found["other"].accuracy.passed
    assert "warning: not judged, as told to: z" in said
    document = json.loads((tmp_path / "out/ladder.json").read_text())
    assert document["details"]["outputs_not_judged"] == ["z"]


def test_output_that_nothing_can_judge_must_be_named(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", [NODE("Mul", ["y", "nan"], ["z"])])
    with pytest.raises(InputError, match=r"nothing can judge output 'z': .* NaN alone") as caught:
        climbed(source, tmp_path)
    assert caught.value.hint == "--ignore-output z leaves it out"
    climbed(source, tmp_path, ignore_outputs=["z"])
    for names, message in ((["v"], "no output 'v' to ignore"), (["y", "z"], "every output is")):
        with pytest.raises(InputError, match=message):
            climbed(source, tmp_path, ignore_outputs=names)


def test_first_output_that_is_ignored_leaves_the_metric_to_the_next(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", [NODE("Relu", ["y"], ["z"])])
    report = climbed(source, tmp_path, ignore_outputs=["y"])
    assert {one.name for one in report.rungs[1].outputs} == {"z"}


def test_first_output_that_is_not_by_row_is_judged_by_fidelity(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", [NODE("Transpose", ["y"], ["z"], perm=[1, 0])])
    with pytest.raises(InputError, match=r"first output has shape \(4, 8\) for 8 rows") as caught:
        climbed(source, tmp_path, ignore_outputs=["y"])
    assert "--metric fidelity" in (caught.value.hint or "")
    report = climbed(source, tmp_path, metric="fidelity", ignore_outputs=["y"])
    assert report.rungs[1].accuracy.passed
