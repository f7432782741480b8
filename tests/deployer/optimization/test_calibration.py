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
    assert Session(target, 1).every_output_for({"x": rows}, 8)["y"].shape == rows.shape
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


def test_rows_that_do_not_fill_the_batch_together_with_256_are_left_out(tmp_path: Path) -> None:
    rows = nets.normal(63, 64, seed=1, scale=1.0)  # with a batch of 32 it would take 2,016
    fixed = model(tmp_path / "fixed.onnx", 32)
    free = model(tmp_path / "free.onnx", "n")
    assert scales(fixed, rows, "percentile") == pytest.approx(
        scales(free, rows[:60], "percentile"), rel=1e-5
    )
