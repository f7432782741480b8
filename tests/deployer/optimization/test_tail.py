"""Boxes and scores in one output: each keeps its own precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import pytest
from onnx.helper import make_node as node
from onnxruntime import quantization

from deployer.optimization import ladder, quantize, tail
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize


class Once:
    """Hands out one batch."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self._left = [rows]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def pictures(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"x": nets.normal(count, 3, 8, 8, seed=seed, scale=1.0)}


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    quantize.prepare(nets.detector(tmp_path / "net.onnx"), tmp_path / "prepared.onnx")
    return tmp_path / "prepared.onnx"


def scores(model: Path, rows: dict[str, np.ndarray]) -> np.ndarray:
    return Session(model, 1).run(rows)[:, 4:]


def test_static_int8_keeps_the_scores_that_one_scale_with_boxes_would_lose(
    detector: Path, tmp_path: Path
) -> None:
    rows = pictures(24, 2)
    wanted = scores(detector, rows)
    by_one_scale = tmp_path / "one.onnx"
    with quantize.quiet():
        quantization.quantize_static(str(detector), str(by_one_scale), Once(pictures(24, 1)))
    assert len(np.unique(scores(by_one_scale, rows))) <= 2
    assert len(np.unique(wanted)) > 1000
    for rung in quantize.rungs(reduce_range=False):
        if not rung.name.startswith("int8-static"):
            continue
        note = rung.build(detector, pictures(24, 1), tmp_path / "out.onnx", frozenset())
        assert note is not None
        assert "Concat 'Concat_16' joins ranges from" in note
        given = scores(tmp_path / "out.onnx", rows)
        assert len(np.unique(given)) > 100
        assert np.abs(given - wanted).mean() < 0.02
        sure = wanted > 0.6
        assert sure.any()
        assert ((given > 0.5) & sure).sum() >= 0.98 * sure.sum()


def test_tail_ends_at_the_last_layers_with_weights_worth_the_name(detector: Path) -> None:
    found = tail.find(detector, pictures(16, 1))
    kinds = sorted(found.kinds.values())
    assert kinds.count("Conv") == 1  # the expectation over bins: four numbers
    assert kinds.count("Sigmoid") == 1
    assert "Relu" not in kinds
    assert found.within(["MatMul"]) == frozenset()


def test_rung_tells_what_stays_float_and_why(tmp_path: Path) -> None:
    report = ladder.climb(
        nets.detector(tmp_path / "net.onnx"),
        calibration=pictures(16, 1),
        evaluation=pictures(60, 2),
        metric="fidelity",
        max_drop=0.4,
        out=tmp_path / "out",
        rungs=["int8-static-minmax"],
        batch_sizes=(1,),
    )
    rung = report.to_json()["rungs"][1]
    assert rung["note"].startswith("13 nodes before the outputs stay float: Concat 'Concat_16'")
    assert rung["note"] in report.table()[1]["reason"]


def joined(path: Path, kind: str, ratio: float) -> Path:
    """Two products of the given ratio of sizes, joined after a convolution."""
    last: dict[str, list[Any]] = {
        "Concat": [node("Concat", ["c", "d"], ["y"], axis=1)],
        "Where": [node("Less", ["c", "d"], ["q"]), node("Where", ["q", "c", "d"], ["y"])],
        "Pad": [node("Pad", ["c", "pads", "far"], ["y"])],
        "Add": [node("Add", ["c", "d"], ["y"])],
    }
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("GlobalAveragePool", ["a"], ["b"]),
        node("Flatten", ["b"], ["f"]),
        node("Sigmoid", ["f"], ["c"]),
        node("Mul", ["c", "far"], ["d"]),
    ]
    known = {"w": nets.normal(8, 3, 3, 3), "far": np.float32(ratio), "pads": nets.ints(0, 0, 0, 1)}
    return nets.write(path, [*nodes, *last[kind]], known, {"x": nets.PICTURE})


@pytest.mark.parametrize("kind", ["Concat", "Where", "Pad"])
@pytest.mark.parametrize(("ratio", "count"), [(2.0, 0), (20.0, 1)])
def test_join_stays_float_only_where_its_ranges_lie_apart(
    kind: str, ratio: float, count: int, tmp_path: Path
) -> None:
    quantize.prepare(joined(tmp_path / "n.onnx", kind, ratio), tmp_path / "p.onnx")
    found = tail.find(tmp_path / "p.onnx", pictures(8, 1))
    assert len(found.reasons) == count
    if count:
        assert found.reasons[0].startswith(f"{kind} '{kind}_")
        assert set(found.kinds.values()) >= {kind, "Sigmoid", "GlobalAveragePool"}


def test_sum_of_different_ranges_is_one_value_and_no_join(tmp_path: Path) -> None:
    quantize.prepare(joined(tmp_path / "n.onnx", "Add", 20.0), tmp_path / "p.onnx")
    assert tail.find(tmp_path / "p.onnx", pictures(8, 1)).kinds == {}


@pytest.mark.parametrize(("factor", "kinds"), [(3.0, []), (300.0, ["Gemm"])])
def test_last_layer_whose_channels_lie_apart_stays_float(
    factor: float, kinds: list[str], tmp_path: Path
) -> None:
    weight = nets.normal(16, 5)
    weight[:, :4] *= factor  # four sides of a box and a score
    nodes = [node("Relu", ["x"], ["r"]), node("Gemm", ["r", "w"], ["y"])]
    model = nets.write(tmp_path / "n.onnx", nodes, {"w": weight}, {"x": ("n", 16)})
    quantize.prepare(model, tmp_path / "p.onnx")
    found = tail.find(tmp_path / "p.onnx", {"x": nets.normal(32, 16, seed=1)})
    assert sorted(found.kinds.values()) == kinds


def test_layer_left_in_float_takes_along_what_is_computed_from_it_alone(tmp_path: Path) -> None:
    """Its activation function, but no sum with a branch that is in int8, and no next layer."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Sigmoid", ["a"], ["s"], name="gate"),
        node("Mul", ["a", "s"], ["b"], name="silu"),
        node("Conv", ["b", "v"], ["c"], name="second", pads=[1, 1, 1, 1]),
        node("Add", ["b", "c"], ["y"], name="residual"),
    ]
    known = {"w": nets.normal(8, 3, 3, 3), "v": nets.normal(8, 8, 3, 3)}
    model = nets.write(tmp_path / "n.onnx", nodes, known, {"x": nets.PICTURE})
    chosen = frozenset({"first"})
    assert tail.with_followers(model, chosen) == {"first", "gate", "silu"}
    both = frozenset({"first", "second"})
    assert tail.with_followers(model, both) == {"first", "gate", "silu", "second", "residual"}
    quantize.prepare(model, tmp_path / "p.onnx")
    rung = next(r for r in quantize.rungs(reduce_range=False) if r.name == "int8-static-minmax")
    rung.build(tmp_path / "p.onnx", pictures(8, 1), tmp_path / "o.onnx", chosen)
    made = onnx.load(str(tmp_path / "o.onnx")).graph
    quantized = {name for n in made.node if n.op_type == "QuantizeLinear" for name in n.input}
    assert not {"x", "a", "s"} & quantized
    assert "b" in quantized
