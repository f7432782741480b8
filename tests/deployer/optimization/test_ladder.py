from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deployer.errors import ConditionFailed, DeployerError, InputError
from deployer.optimization import ladder, quantize
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

RIGHT = ["int8-equalized-static", "int8-dynamic-per-channel"]


def noise(rows: int, seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(rows, 512)).astype(np.float32)}


def test_outlier_channel_fails_plain_int8_and_one_fp32_layer_repairs_it(
    outlier_model: Path, tmp_path: Path
) -> None:
    report = ladder.climb(
        outlier_model,
        calibration=noise(64, 1),
        evaluation=noise(200, 2),
        metric="cosine",
        max_drop=0.01,
        out=tmp_path / "out",
        rungs=["int8-static-minmax"],
    )
    plain, mixed = report.rungs[1:]
    assert plain.status == "refused"
    assert plain.accuracy is not None
    assert plain.accuracy.value > 0.05
    assert plain.speedup is not None  # told, though it is refused
    assert plain.speedup.brief
    assert report.to_json()["rungs"][1]["latency_ms"].keys() == {"batch 1", "batch 8"}
    assert report.table()[1]["speed"].endswith("x in 5 rounds")
    assert mixed.status == "kept"
    assert len(mixed.fp32_layers) == 1  # of twelve
    assert mixed.fp32_layers[0] in mixed.reason
    assert report.best.name == mixed.name
    assert report.speedup > 1


def test_equalisation_needs_no_fp32_layer_for_the_same_outlier(
    outlier_model: Path, tmp_path: Path
) -> None:
    report = ladder.climb(
        outlier_model,
        calibration=noise(64, 1),
        evaluation=noise(200, 2),
        metric="cosine",
        max_drop=0.01,
        out=tmp_path / "out",
        rungs=["int8-equalized-static"],
    )
    assert report.best.name == "int8-equalized-static"
    assert report.best.size_bytes < 0.3 * report.fp32.size_bytes


def test_int8_that_is_slower_keeps_fp32_and_says_so(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    report = climb(classifier, calibration, evaluation, tmp_path / "out", ["int8-dynamic"])
    assert report.best.name == "fp32"
    assert report.best_quantized is not None
    assert report.conclusion.startswith("FP32 stays")
    assert (tmp_path / "out/best.onnx").read_bytes() == classifier.read_bytes()


def test_required_speedup_that_is_missed_is_a_failed_condition_with_the_report_written(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConditionFailed, match=r"1\.2x is required") as caught:
        climb(classifier, calibration, evaluation, out, ["int8-dynamic"], require_speedup=1.2)
    assert caught.value.exit_code == 1
    assert json.loads((out / "ladder.json").read_text())["best"] == "fp32"


def test_same_inputs_and_recorded_latencies_give_the_same_bytes_and_the_same_choice(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    climb(classifier, calibration, evaluation, first)
    recorded = first / "latencies.json"
    again = [tmp_path / "a", tmp_path / "b"]
    reports = [climb(classifier, calibration, evaluation, out, latencies=recorded) for out in again]
    assert reports[0].dumps() == reports[1].dumps()
    for file in sorted(again[0].rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (again[1] / file.relative_to(again[0])).read_bytes()
    rungs = {r["name"]: r for r in json.loads((first / "ladder.json").read_text())["rungs"]}
    for rung in reports[0].rungs:
        if rung.variant:
            assert rung.variant.sha256 == rungs[rung.name]["variant"]["sha256"]


def test_recorded_latencies_decide_the_choice(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    climb(classifier, calibration, evaluation, tmp_path / "a", RIGHT)
    document = json.loads((tmp_path / "a/latencies.json").read_text())
    for name, median in zip(RIGHT, (1.5, 3.0), strict=True):
        document["rungs"][name] |= {"median": median, "low": median - 0.1, "high": median + 0.1}
    recorded = tmp_path / "recorded.json"
    recorded.write_text(json.dumps(document))
    report = climb(classifier, calibration, evaluation, tmp_path / "b", RIGHT, latencies=recorded)
    assert report.best.name == "int8-dynamic-per-channel"
    assert report.speedup == 3.0


FIXED, DYNAMIC = RIGHT
CHOICES = [  # of fixed scales, of dynamic scales, the least gain, the choice
    (2.0, 2.04, None, FIXED),
    (2.0, 2.08, None, FIXED),  # 1.04 times as fast: not worth answers that depend on batchmates
    (2.0, 2.12, None, DYNAMIC),
    (2.0, 2.12, 1.1, FIXED),
    (2.0, 2.04, 1.0, FIXED),  # equally fast, within what timing tells
    (1.03, 1.04, None, "fp32"),
    (1.03, 1.06, None, DYNAMIC),
    (1.03, 1.04, 1.0, FIXED),
]


def test_least_gain_decides_what_is_kept_and_whether_dynamic_scales_are_worth_it(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    climb(classifier, calibration, evaluation, tmp_path / "a", RIGHT)
    document = json.loads((tmp_path / "a/latencies.json").read_text())
    recorded = tmp_path / "recorded.json"
    for fixed, dynamic, least, choice in CHOICES:
        for name, median in zip(RIGHT, (fixed, dynamic), strict=True):
            document["rungs"][name] |= {"median": median, "low": 1.01, "high": 2.2}
        recorded.write_text(json.dumps(document))
        more = {} if least is None else {"least_gain": least}
        report = climb(
            classifier, calibration, evaluation, tmp_path / "b", RIGHT, latencies=recorded, **more
        )
        assert report.best.name == choice, (fixed, dynamic, least)
        small = fixed < (least or 1.05)
        told = report.rungs[1].reason
        assert told.endswith("less than the least gain of 1.05x") is small


def test_cost_gate_refuses_what_costs_more_than_fp32(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    climb(classifier, calibration, evaluation, tmp_path / "a", RIGHT[:1])
    document = json.loads((tmp_path / "a/latencies.json").read_text())
    times = {
        "fp32_ms": {"batch 1": 2.0, "batch 8": 8.0},
        "candidate_ms": {"batch 1": 1.0, "batch 8": 4.0},
    }
    document["rungs"][RIGHT[0]] |= {"median": 2.0, "low": 1.9, "high": 2.1} | times
    recorded = tmp_path / "recorded.json"
    recorded.write_text(json.dumps(document))

    def climb_at(name: str, usd: Any) -> Any:
        out = tmp_path / name
        return climb(
            classifier,
            calibration,
            evaluation,
            out,
            RIGHT[:1],
            latencies=recorded,
            usd_per_thousand=usd,
        )

    dear = climb_at("dear", lambda s: Decimal(1) / Decimal(str(s)))
    assert dear.best.name == "fp32"
    assert "more than FP32's" in dear.rungs[1].reason
    cheap = climb_at("cheap", lambda s: Decimal(str(s)))
    assert cheap.rungs[1].usd_per_thousand == Decimal("0.0005")  # 4 ms for 8 rows
    assert cheap.rungs[0].usd_per_thousand == Decimal("0.001")
    assert cheap.best.name == RIGHT[0]


def test_report_rows_carry_what_a_plot_of_accuracy_latency_and_size_needs(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    report = climb(classifier, calibration, evaluation, tmp_path / "out", RIGHT[:1])
    document = json.loads((tmp_path / "out/ladder.json").read_text())
    assert document == report.to_json()
    assert document["hardware"]["cpu"]
    for rung in document["rungs"]:
        assert rung["variant"]["score"] == pytest.approx(1.0, abs=0.01)
        assert rung["variant"]["size_bytes"] > 0
        assert set(rung["latency_ms"]) == {"batch 1", "batch 8"}
    assert [row["rung"] for row in report.table()] == ["fp32", RIGHT[0]]


def test_alternative_model_is_a_rung_as_it_is_and_in_int8(
    classifier: Path, outlier_model: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    other = {"smaller": classifier}
    report = climb(classifier, calibration, evaluation, tmp_path / "out", [], alternatives=other)
    assert [rung.name for rung in report.rungs] == ["fp32", "smaller", "smaller-int8"]
    assert all(rung.accuracy and rung.accuracy.passed for rung in report.rungs[1:])
    with pytest.raises(InputError, match="alternative 'deep' takes"):
        climb(
            classifier,
            calibration,
            evaluation,
            tmp_path / "other",
            [],
            alternatives={"deep": outlier_model},
        )


def features(**change: Any) -> dict[str, np.ndarray]:
    base = np.zeros((8, 16), np.float32)
    return {"features": base, **change}


BAD = {
    "wrong name": ({"pixels": np.zeros((8, 16), "f4")}, "no input 'pixels'"),
    "missing input": ({}, "no array for the model's input 'features'"),
    "wrong dtype": (features(features=np.zeros((8, 16))), "dtype float64, the model takes float32"),
    "wrong shape": (features(features=np.zeros((8, 15), "f4")), r"shape \(8, 15\)"),
    "wrong rank": (features(features=np.zeros(8, "f4")), r"shape \(8,\)"),
    "empty": (features(features=np.zeros((0, 16), "f4")), "is empty"),
    "nan": (features(features=np.full((8, 16), np.nan, "f4")), "NaN or infinity, first in row 0"),
    "unequal rows": (features(label=np.zeros(7, int)), "differ in rows"),
}


@pytest.mark.parametrize("role", ["calibration", "evaluation"])
@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_data_is_named_and_nothing_is_written(
    role: str, case: str, classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    data, message = BAD[case]
    sets = {"calibration": calibration, "evaluation": evaluation, role: data}
    with pytest.raises(InputError, match=message) as caught:
        ladder.climb(classifier, out=tmp_path / "out", **sets)
    assert role in caught.value.message
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "metric without labels": ({"evaluation": features()}, "needs an array 'label'"),
    "unknown metric": ({"metric": "beauty"}, "unknown metric 'beauty'"),
    "metric that cannot be imported": ({"metric": "no_such:thing"}, "cannot be imported"),
    "metric that raises": ({"metric": "math:sqrt"}, "metric 'math:sqrt' raised TypeError"),
    "too many classes": ({"metric": "top11"}, "top11 needs 11 classes"),
    "unknown rung": ({"rungs": ["int3"]}, "no rung 'int3'"),
    "negative drop": ({"max_drop": -1.0}, "max_drop must be"),
    "nan drop": ({"max_drop": float("nan")}, "max_drop must be"),
    "gain below one": ({"least_gain": 0.9}, "least_gain must be a number from 1 up"),
    "no threads": ({"threads": 0}, "threads must be"),
    "no batch sizes": ({"batch_sizes": ()}, "batch_sizes must be"),
    "no latencies": ({"latencies": Path("/no/such/file")}, "cannot read '/no/such/file'"),
    "two kinds of labels": (
        {"evaluation": features(label=np.zeros(8, int), target=np.zeros(8, int))},
        "both 'label' and 'target'",
    ),
    "labels that are no classes": (
        {"evaluation": features(label=np.zeros(8))},
        "one whole number per row",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_arguments_are_named_and_nothing_is_written(
    case: str, classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    change, message = WRONG[case]
    arguments: dict[str, Any] = {"calibration": calibration, "evaluation": evaluation, **change}
    with pytest.raises(DeployerError, match=message):
        ladder.climb(classifier, out=tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_file_that_is_no_model_is_refused(
    content: bytes, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(InputError, match="cannot open"):
        climb(model, calibration, evaluation, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [model]


def climb(
    model: Path,
    calibration: Any,
    evaluation: Any,
    out: Path,
    rungs: list[str] | None = None,
    **more: Any,
) -> Any:
    return ladder.climb(
        model, calibration=calibration, evaluation=evaluation, out=out, rungs=rungs, **more
    )


def test_too_few_rows_are_said_before_the_climb_and_after_it(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    few = {name: value[:40] for name, value in evaluation.items()}
    said: list[str] = []
    report = climb(classifier, calibration, few, tmp_path / "out", RIGHT, progress=said.append)
    assert "warning: 40 evaluation rows are too few to tell a drop of 0.01" in "\n".join(said)
    assert report.conclusion.startswith("FP32 stays: 40 evaluation rows are too few")
    assert [rung.name for rung in report.rungs] == [
        "fp32",
        *RIGHT,
    ]  # no fallback: no layer is to blame


def test_onnx_runtime_still_lacks_bfloat16_as_the_ladder_says(tmp_path: Path) -> None:
    """The day this fails, bf16 becomes a rung and ``NO_BF16`` goes."""
    half = onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [2, 2], bytes(8), raw=True)
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BFLOAT16, ["n", 2])
        for name in "xy"
    ]
    product = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([product], "half", ends[:1], ends[1:], [half])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "m.onnx"
    )
    with pytest.raises(InputError, match="Could not find an implementation for MatMul") as caught:
        Session(tmp_path / "m.onnx")
    assert "replace the operator" in (caught.value.hint or "")


def test_timing_leaves_the_floating_point_mode_of_the_process_alone(
    classifier: Path, calibration: dict[str, np.ndarray]
) -> None:
    """Smallest numbers stay numbers: a session that flushes them to zero does so for the whole thread."""
    Session(classifier, threads=1).run(calibration)
    assert float.fromhex("0x1p-1074") * 1.0 > 0


def test_model_with_its_weights_beside_it_climbs_every_rung(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    beside = tmp_path / "in/model.onnx"
    beside.parent.mkdir()
    whole = onnx.load(str(classifier))
    onnx.save(
        whole, str(beside), save_as_external_data=True, location="model.data", size_threshold=0
    )
    names = [rung.name for rung in quantize.rungs(reduce_range=False)]
    out = tmp_path / "out"
    report = climb(beside, calibration, evaluation, out, names, alternatives={"other": beside})
    failed = {rung.name: rung.reason for rung in report.rungs if rung.status == "failed"}
    # The classifier has no table to look up and no attention; nothing else may fail.
    assert list(failed) == ["fp32-fused", "int8-int4-tables"]
    assert "no attention to fuse" in failed["fp32-fused"]
    assert "no look-up tables" in failed["int8-int4-tables"]
    for rung in report.rungs:
        if rung.variant is not None:
            assert Session(rung.variant.path).run({"features": evaluation["features"][:2]}).size
    assert (out / "best.onnx").is_file()
