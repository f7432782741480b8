"""A detector whose one output holds boxes in pixels beside scores: one int8 scale for both is never kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deployer.errors import InputError
from deployer.optimization import ladder, metrics
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

SIDE, CELLS, CLASSES = 128, 8, 3
NODE = helper.make_node


def detector(path: Path, *, whole: bool = True) -> Path:
    """Colour means object: one convolution per cell gives centre and size in pixels, and a sigmoid score per class."""
    step = SIDE // CELLS
    rng = np.random.default_rng(0)
    pixels = np.zeros((CLASSES, 3, step, step), "f4")
    for one in range(CLASSES):
        pixels[one, one] = 12 / step**2
    size = rng.normal(0, 30 / step**2, (4, 3, step, step)).astype("f4")
    grid = (np.arange(CELLS) + 0.5) * step
    centre = np.stack([*np.meshgrid(grid, grid), *np.full((2, CELLS, CELLS), 24.0)])[None]
    known = {
        "scores_w": pixels,
        "scores_b": np.full(CLASSES, -6, "f4"),
        "boxes_w": size,
        "centre": centre.astype("f4"),
        "flat": np.array([0, 0, -1], np.int64),
    }
    strides = {"strides": [step, step]}
    nodes = [
        NODE("Conv", ["picture", "boxes_w"], ["offset"], **strides),
        NODE("Add", ["offset", "centre"], ["boxes"]),
        NODE("Conv", ["picture", "scores_w", "scores_b"], ["logits"], **strides),
        NODE("Sigmoid", ["logits"], ["scores"]),
        NODE("Concat", ["boxes", "scores"], ["both"], axis=1),
        NODE("Reshape", ["both", "flat"], ["output0"]),
    ]
    ends = [
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]),
        helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 4 + CLASSES, CELLS**2]),
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def pictures(count: int, seed: int) -> dict[str, np.ndarray]:
    """Grey pictures with a square of one colour in some cells, more or less bright."""
    rng = np.random.default_rng(seed)
    step = SIDE // CELLS
    made = rng.uniform(0, 0.3, (count, 3, SIDE, SIDE)).astype("f4")
    for picture in made:
        for _ in range(3):
            x, y, colour = *rng.integers(0, CELLS, 2), rng.integers(0, CLASSES)
            square = np.s_[colour, y * step : (y + 1) * step, x * step : (x + 1) * step]
            picture[square] += rng.uniform(0.1, 0.6)
    return {"picture": made}


def one_scale(source: Path, path: Path) -> Path:
    """Write the detector with its output in int8 by one scale, as quantization of the whole graph leaves it."""
    model = onnx.load(str(source))
    model.graph.node[-1].output[0] = "raw"
    step = np.float32(SIDE / 255)
    for name, value in (("step", step), ("nothing", np.uint8(0))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    model.graph.node.extend(
        [
            NODE("QuantizeLinear", ["raw", "step", "nothing"], ["bytes"]),
            NODE("DequantizeLinear", ["bytes", "step", "nothing"], ["output0"]),
        ]
    )
    save(model, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("detector")
    fp32 = detector(folder / "fp32.onnx")
    return fp32, one_scale(fp32, folder / "whole.onnx")


@pytest.mark.parametrize("metric", ["fidelity", "recall50", "map50"])
def test_scores_in_one_scale_with_boxes_are_refused(
    metric: str, models: tuple[Path, Path], tmp_path: Path
) -> None:
    fp32, whole = models
    report = climbed(fp32, tmp_path, metric=metric, alternatives={"whole": whole})
    found = {rung.name: rung for rung in report.rungs}
    assert found["whole"].status == "refused"
    assert found["whole"].reason.startswith("output 'output0' channel 4: FP32 has ")
    assert found["whole"].reason.endswith("distinct values, this rung 3")  # 0, 0.5 and 1
    assert found["fp32-optimized"].accuracy.passed  # the control: what changes nothing passes
    record = found["whole"].to_json()["outputs"]
    assert [one["name"] for one in record] == ["output0", "output0"]
    assert record[1]["measure"] == "collapse"
    assert not record[1]["passed"]


def test_cosine_is_blind_here_and_refused_before_a_rung_is_built(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    """The boxes outweigh the scores: by cosine the mean answer to every picture is as good, and so is the rung."""
    rows = pictures(20, 3)
    before, after = (Session(path).run(rows) for path in models)
    assert metrics.resolve("cosine").score(after, before, None) > 0.999
    with pytest.raises(InputError, match="cosine cannot tell the model from its mean answer") as e:
        climbed(models[0], tmp_path, metric="cosine")
    assert e.value.hint == "--metric fidelity, or a smaller --max-drop"
    assert list(tmp_path.iterdir()) == []


def climbed(model: Path, folder: Path, **more: Any) -> Any:
    given = {"rungs": ["fp32-optimized"], "max_drop": 0.05} | more
    sets = {"calibration": pictures(8, 1), "evaluation": pictures(40, 2)}
    return ladder.climb(model, out=folder / "out", **sets, **given)
