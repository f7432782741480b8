"""Optimising without labels, or without any rows: made rows, halves of one set, and the stricter rules for both."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import deployer
from deployer.errors import InputError
from deployer.optimization import quantize, rows, synthetic
from deployer.optimization.isolation import Isolation, Limits
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize
_spec = importlib.util.spec_from_file_location("edge_nets", Path(__file__).parent / "edge_nets.py")
assert _spec is not None
assert _spec.loader is not None
nets: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nets)
F, cnn, node, saved, simple = nets.F, nets.cnn, nets.node, nets.saved, nets.simple


def form(model: Path, **shapes: Any) -> Any:
    return synthetic.rows(Session(model), onnx.load(str(model)), shapes, 0)[0]


def pictures(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).random((count, 1, 8, 8), np.float32)}


@pytest.fixture
def isolation(tmp_path: Path) -> Isolation:
    (tmp_path / "climb").mkdir()
    return Isolation(tmp_path / "climb", tmp_path / "out", Limits())


def test_ids_lie_in_the_table_and_masks_hide_the_end(tmp_path: Path) -> None:
    made = form(nets.transformer(tmp_path / "m.onnx", words=50)).drawn(256, 0)
    ids, mask = made["input_ids"], made["attention_mask"]
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (256, 64)
    assert (ids.min(), ids.max()) == (0, 49)  # all of the table, nothing outside
    assert set(np.unique(mask)) == {0, 1}
    assert (np.diff(mask, axis=1) <= 0).all()
    assert mask[:, 0].all()


def test_pictures_are_of_a_usual_size_and_of_four_kinds(tmp_path: Path) -> None:
    made = form(simple(tmp_path / "m.onnx", "Relu", ("n", 3, "h", "w"))).drawn(8, 0)["x"]
    assert made.shape == (8, 3, 224, 224)
    assert [bool(((x >= 0) & (x <= 1)).all()) for x in made[:4]] == [False, True, False, True]
    steps = np.abs(np.diff(made, axis=3)).mean(axis=(1, 2, 3))
    assert (steps[2:4] < steps[:2] / 4).all()  # even patches, not noise


def test_real_numbers_come_at_three_scales_and_the_same_for_a_seed(tmp_path: Path) -> None:
    found = form(simple(tmp_path / "m.onnx", "Tanh", ("n", 1000)))
    made = found.drawn(6, 7)["x"]
    np.testing.assert_allclose(made.std(axis=1), [0.3, 1, 3, 0.3, 1, 3], rtol=0.1)
    np.testing.assert_array_equal(made, found.drawn(6, 7)["x"])
    assert (made != found.drawn(6, 8)["x"]).all()


def test_where_signs_give_nan_numbers_are_above_zero(tmp_path: Path) -> None:
    assert (form(simple(tmp_path / "m.onnx", "Log")).drawn(9, 0)["x"] >= 0).all()


def test_sizes_are_those_given(tmp_path: Path) -> None:
    model = simple(tmp_path / "m.onnx", "Relu", ("n", "a", "b"))
    assert form(model, x=(1, 5, 9)).drawn(3, 0)["x"].shape == (3, 5, 9)
    needs = saved(
        tmp_path / "n.onnx",
        [node("MatMul", "x w", "y")],
        [("x", F, ["n", "a", "b"])],
        [("y", F, ["n", "a", 2])],
        {"w": np.ones((13, 2), "f4")},
    )
    with pytest.raises(InputError, match="nor a size for the free axes of 'x'") as caught:
        form(needs)
    assert "--shape x=1,..." in str(caught.value.hint)
    assert form(needs, x=(1, 4, 13)).drawn(2, 0)["x"].shape == (2, 4, 13)


def test_half_of_the_calibration_rows_judge_and_none_does_both(
    isolation: Isolation, tmp_path: Path
) -> None:
    given = pictures(41)
    model = cnn(tmp_path / "m.onnx")
    found = rows.chosen(isolation, model, given, None, rows.Asked())
    one, other = found.calibration["image"], found.evaluation["image"]
    assert (len(one), len(other)) == (21, 20)
    both = {row.tobytes() for row in one} | {row.tobytes() for row in other}
    assert both == {row.tobytes() for row in given["image"]}
    again = rows.chosen(isolation, model, given, None, rows.Asked()).evaluation["image"]
    np.testing.assert_array_equal(other, again)
    assert found.judged_by == "fidelity to FP32 on 20 held-out calibration rows"
    assert (found.kind, found.max_drop) == ("calibration", 0.2)


def test_evaluation_rows_alone_calibrate_too_without_their_labels(
    isolation: Isolation, tmp_path: Path
) -> None:
    given = pictures(40) | {"label": np.arange(40)}
    found = rows.chosen(isolation, cnn(tmp_path / "m.onnx"), None, given, rows.Asked())
    assert list(found.calibration) == ["image"]
    assert len(found.calibration["image"]) == len(found.evaluation["label"]) == 20
    np.testing.assert_array_equal(
        given["image"][found.evaluation["label"]], found.evaluation["image"]
    )
    assert (found.metric.name, found.max_drop, found.caveat) == ("accuracy", 0.01, "")


def test_made_rows_may_lose_less_and_fix_no_scale(isolation: Isolation, tmp_path: Path) -> None:
    found = rows.chosen(isolation, cnn(tmp_path / "m.onnx"), None, None, rows.Asked())
    assert found.judged_by == "fidelity to FP32 on 256 synthetic rows"
    assert found.max_drop == 0.15
    refused = {r.name for r in quantize.rungs(reduce_range=False) if found.refused(r)}
    assert refused >= {"int8-static-minmax", "int8-equalized-static", "int8-int4-tables"}
    free = {"fp32-fused", "int8-dynamic", "int8-weights", "int4-weights", "fp16"}
    assert not refused & free
    held = rows.chosen(isolation, cnn(tmp_path / "m.onnx"), pictures(40), None, rows.Asked())
    assert [r.name for r in quantize.rungs(reduce_range=False) if held.refused(r)] == []


def test_a_climb_without_rows_says_so_in_all_that_it_writes(tmp_path: Path) -> None:
    said: list[str] = []
    model, out = nets.transformer(tmp_path / "m.onnx"), tmp_path / "out"
    rungs = ["int8-equalized-static", "int8-weights"]
    report = deployer.optimize(model, out=out, rungs=rungs, batch_sizes=(1,), say=said.append)
    judged = "fidelity to FP32 on 256 synthetic rows"
    static = next(r for r in report.rungs if r.name == "int8-equalized-static")
    assert static.status == "refused"
    assert "fixed scales need --calibration" in static.reason
    assert any(judged in line for line in said)
    assert any("--shape input_ids=" in line for line in said)
    document = json.loads((out / "ladder.json").read_text())
    assert (document["judged_by"], document["data"]) == (judged, "synthetic")
    assert document["conclusion"].endswith(f"; judged by {judged}")
    page = (out / "ladder.html").read_text()
    assert f"Judged by {judged}: no label was seen." in page
    bundle = deployer.package(out / "best.onnx", tmp_path / "dist", name="tiny")
    assert bundle.manifest.lineage == {"judged_by": judged}
    labels = {"label": np.arange(60) % 10} | pictures(60)
    given = deployer.optimize(
        cnn(tmp_path / "c.onnx"),
        calibration=pictures(20, seed=1),
        evaluation=labels,
        metric="fidelity",
        rungs=["fp16"],
        batch_sizes=(1,),
        out=out,
    )
    assert (given.data, given.judged_by) == ("given", "fidelity to FP32 on 60 given rows")
    assert not (out / "lineage.json").exists()  # the note of the climb before is not this one's


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metric": "accuracy"}, "the metric accuracy needs labels"),
        ({"metric": "top5", "calibration": pictures(9)}, "the metric top5 needs labels"),
        ({"calibration": pictures(1)}, "1 row cannot both calibrate and judge"),
        ({"calibration": {"x": np.zeros((9, 1), "f4")}}, "calibration: the model has no input 'x'"),
        ({"calibration": pictures(9), "shapes": {"image": (1, 1, 8, 8)}}, "rows were given"),
        ({"shapes": {"image": (1, 1, 9, 9)}}, "--shape image=1,1,9,9: the model takes any,1,8,8"),
        ({"training": pictures(9)}, "cannot be judged without --eval"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=told):
        deployer.optimize(cnn(tmp_path / "m.onnx"), out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_texts_and_other_files_than_onnx_need_rows(tmp_path: Path) -> None:
    text = simple(tmp_path / "m.onnx", "Identity", dtype=TensorProto.STRING)
    with pytest.raises(InputError, match="input 'x' takes texts"):
        deployer.optimize(text, out=tmp_path / "out")
    (tmp_path / "m.pt2").write_bytes(b"")
    with pytest.raises(InputError, match="only an ONNX file can be optimised without rows"):
        deployer.optimize(tmp_path / "m.pt2", out=tmp_path / "out")
