"""Bias correction against shifts worked out by hand: weights that all round the same way, inputs of a known mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from deployer.optimization import bias, nearness, quantize, recipe
from deployer.optimization.graph import Unfit
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

SIZE = 32
LOST = 0.4 * (SIZE - 1)
"""A column of one 127 and 31 times 0.4: at a scale of 1 each 0.4 rounds to 0, and the inputs' mean is 1."""


def skewed() -> np.ndarray:
    weight = np.full((SIZE, SIZE), 0.4, np.float32)
    np.fill_diagonal(weight, 127)
    return weight


def model(path: Path, weight: np.ndarray, *, with_bias: bool = True) -> Path:
    """Write x (n, 32) times ``weight`` plus a bias of 3."""
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", SIZE])
        for name in "xy"
    ]
    known = {"w": weight, "b": np.full(SIZE, 3, np.float32)}
    names = ["x", "w", "b"] if with_bias else ["x", "w"]
    nodes = [onnx.helper.make_node("Gemm", names, ["y"], name="layer")]
    tensors = [onnx.numpy_helper.from_array(known[name], name) for name in names[1:]]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def rows(count: int = 64) -> dict[str, np.ndarray]:
    """Return rows of 0 and 2, each column half of each: both are steps of the scale, and the mean is 1."""
    order = np.random.default_rng(0)
    columns = [order.permutation(np.repeat([0, 2], bias.ROWS // 2)) for _ in range(SIZE)]
    block = np.stack(columns, axis=1).astype(np.float32)
    return {"x": np.concatenate([block] * (count // bias.ROWS))}


KERNELS: dict[str, Callable[[], quantize.Build]] = {
    "integer": lambda: recipe.even(reduce_range=False),
    "qdq": lambda: quantize.static("minmax", reduce_range=False),
}


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_shift_that_rounding_made_is_added_to_the_bias(kernel: str, tmp_path: Path) -> None:
    source, made = model(tmp_path / "m.onnx", skewed()), tmp_path / "int8.onnx"
    KERNELS[kernel]()(source, rows(), made, frozenset())
    exact = Session(source).run(rows())
    before = Session(made).run(rows())
    step = 1.5 if kernel == "qdq" else 1e-3  # of its output's own scale in QDQ
    np.testing.assert_allclose((exact - before).mean(axis=0), LOST, atol=step)
    assert bias.correct(source, made, rows()) == 1
    after = Session(made).run(rows())
    np.testing.assert_allclose(after.mean(axis=0), exact.mean(axis=0), atol=step)
    np.testing.assert_allclose(after - before, LOST, atol=2 * step)


def test_layer_without_a_bias_gets_one_in_32_bits(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", skewed(), with_bias=False)
    made = tmp_path / "int8.onnx"
    KERNELS["qdq"]()(source, rows(), made, frozenset())
    assert bias.correct(source, made, rows()) == 1
    exact, after = Session(source).run(rows()), Session(made).run(rows())
    np.testing.assert_allclose(after.mean(axis=0), exact.mean(axis=0), atol=1.5)
    known = {t.name: t for t in onnx.load(str(made)).graph.initializer}
    whole, scale = (
        onnx.numpy_helper.to_array(known[f"layer.bias_{x}"]) for x in ("whole", "scale")
    )
    np.testing.assert_allclose(whole * scale, LOST, atol=1e-1)


def test_layer_without_a_bias_gets_one_on_the_integer_kernel(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", skewed(), with_bias=False)
    made = tmp_path / "int8.onnx"
    KERNELS["integer"]()(source, rows(), made, frozenset())
    assert bias.correct(source, made, rows()) == 1
    known = {t.name: t for t in onnx.load(str(made)).graph.initializer}
    np.testing.assert_allclose(onnx.numpy_helper.to_array(known["layer.bias"]), LOST, rtol=1e-5)


def test_correction_that_brings_nothing_is_none_and_leaves_the_file(tmp_path: Path) -> None:
    weight = skewed()
    for column in range(SIZE):  # what each column loses adds up to zero
        weight[np.arange(SIZE) != column, column] = [0.4, -0.4] * (SIZE // 2 - 1) + [0]
    source, made = model(tmp_path / "m.onnx", weight), tmp_path / "int8.onnx"
    KERNELS["integer"]()(source, rows(), made, frozenset())
    whole = made.read_bytes()
    with pytest.raises(Unfit, match="does not lower the error"):
        bias.correct(source, made, rows())
    assert made.read_bytes() == whole
    assert set(tmp_path.iterdir()) == {source, made}


def test_model_of_two_layers_is_corrected_from_the_input_on(tmp_path: Path) -> None:
    """The second layer's shift is measured behind the first one's correction: the mean of the answers is FP32's."""
    weight = skewed() / 127
    source, made = model(tmp_path / "m.onnx", weight), tmp_path / "int8.onnx"
    deep = onnx.load(str(source))
    deep.graph.node[0].output[0] = "h"
    deep.graph.node.append(onnx.helper.make_node("Gemm", ["h", "w", "b"], ["y"], name="second"))
    onnx.save(deep, source)
    KERNELS["integer"]()(source, rows(), made, frozenset())
    exact = Session(source).run(rows())
    before = Session(made).run(rows())
    assert bias.correct(source, made, rows()) == 2
    after = Session(made).run(rows())
    gap = np.abs((exact - before).mean(axis=0))
    assert (np.abs((exact - after).mean(axis=0)) < 0.05 * gap).all()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"y": np.array([3.0, 4.0])}, 0.0),
        ({"y": np.array([3.0, 9.0])}, 1.0),  # off by 5 of a size of 5
        ({"y": np.array([3.0, np.nan])}, np.inf),
        ({"y": np.array([3.0])}, np.inf),
        ({}, np.inf),
    ],
)
def test_error_is_the_distance_over_the_size(given: Any, error: float) -> None:
    assert nearness.error(given, {"y": np.array([3.0, 4.0])}) == pytest.approx(error)
