"""Calibration sets of any number of rows, for models of any batch size."""

from __future__ import annotations

from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.helper import make_node as node

from deployer.optimization import quantize
from deployer.optimization.answers import by_row
from deployer.optimization.graph import Unfit
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

METHODS = ("minmax", "entropy", "percentile")


def model(path: Path, batch: int | str) -> Path:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    drawn = nets.write(path, nodes, {"w": nets.normal(64, 64)}, {"x": (batch, 64)})
    quantize.prepare(drawn, path)
    return path


def scales(source: Path, rows: np.ndarray, method: str) -> dict[str, float]:
    """Return the scales of the activations in static int8 by ``method``."""
    rungs = {rung.name: rung for rung in quantize.rungs(reduce_range=False)}
    target = source.with_name("out.onnx")
    rungs[f"int8-static-{method}"].build(source, {"x": rows}, target, frozenset())
    assert by_row(Session(target, 1), {"x": rows}, 8)["y"].shape == rows.shape
    found = onnx.load(str(target)).graph.initializer
    return {
        item.name: float(numpy_helper.to_array(item))
        for item in found
        if item.name.endswith("_scale") and not item.dims
    }


@pytest.mark.parametrize("count", [1, 7, 8, 9, 13])
def test_each_row_counts_as_often_as_the_next_whatever_the_batch(
    count: int, tmp_path: Path
) -> None:
    # The last row alone is large: counted twice or not at all, it would move a percentile.
    rows = nets.normal(count, 64, seed=1, scale=1.0)
    rows[-1] *= 10
    free = model(tmp_path / "free.onnx", "n")
    fixed = model(tmp_path / "fixed.onnx", 4)
    for method in METHODS:
        wanted = scales(free, rows, method)
        assert len(wanted) >= 2
        assert scales(fixed, rows, method) == pytest.approx(wanted, rel=1e-5)


def test_value_that_no_histogram_holds_is_a_plain_reason(tmp_path: Path) -> None:
    rows = {"x": nets.normal(24, 8, seed=1)}
    known = {"w": nets.normal(8, 8), "mask": np.array([-np.inf] + 7 * [0], np.float32)}
    product, masked = node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "mask"], ["b"])
    infinite = [product, masked, node("Softmax", ["b"], ["c"]), node("MatMul", ["b", "w"], ["y"])]
    found = [
        product,
        node("Relu", ["a"], ["r"]),  # how many are above zero differs from row to row
        node("NonZero", ["r"], ["places"]),
        node("Cast", ["places"], ["p"], to=1),
        node("Transpose", ["p"], ["q"], perm=[1, 0]),
        node("MatMul", ["q", "v"], ["z"]),
        node("Identity", ["a"], ["y"]),
    ]
    rungs = {rung.name: rung for rung in quantize.rungs(reduce_range=False)}
    cases = [(infinite, ("y",), "infinite"), (found, ("y", "z"), "depends on the rows")]
    for nodes, outputs, why in cases:
        constants = known | {"v": nets.normal(2, 4)}
        source = nets.write(tmp_path / "m.onnx", nodes, constants, {"x": ("n", 8)}, outputs=outputs)
        quantize.prepare(source, tmp_path / "p.onnx")
        for method in ("entropy", "percentile"):
            with pytest.raises(Unfit, match=why):
                rungs[f"int8-static-{method}"].build(
                    tmp_path / "p.onnx", rows, tmp_path / "o.onnx", frozenset()
                )


def test_rows_that_do_not_fill_the_batch_together_with_256_are_left_out(tmp_path: Path) -> None:
    rows = nets.normal(63, 64, seed=1, scale=1.0)  # with a batch of 32 it would take 2,016
    fixed = model(tmp_path / "fixed.onnx", 32)
    free = model(tmp_path / "free.onnx", "n")
    assert scales(fixed, rows, "percentile") == pytest.approx(
        scales(free, rows[:60], "percentile"), rel=1e-5
    )
