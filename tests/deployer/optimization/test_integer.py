from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deployer.optimization import graph, integer, quantize, sensitivity
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session
from deployer.optimization.smoothquant import equalize, ranges

pytestmark = pytest.mark.optimize


@pytest.fixture
def prepared(classifier: Path, tmp_path: Path) -> Path:
    quantize.prepare(classifier, tmp_path / "prepared.onnx")
    return tmp_path / "prepared.onnx"


def table_model(path: Path) -> Path:
    """Ids -> rows of a table -> a product with a bias; the table's rows differ in size by thousands."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(256, 32)).astype(np.float32) * np.logspace(-2, 2, 256)[:, None]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="look"),
        helper.make_node("MatMul", ["rows", "weight"], ["product"], name="multiply"),
        helper.make_node("Add", ["bias", "product"], ["answer"], name="add"),
    ]
    made = helper.make_graph(
        nodes,
        "tables",
        [helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(table.astype(np.float32), "table"),
            numpy_helper.from_array(rng.normal(size=(32, 8)).astype(np.float32), "weight"),
            numpy_helper.from_array(rng.normal(size=8).astype(np.float32), "bias"),
        ],
    )
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_equalising_alone_changes_no_answer(
    prepared: Path, calibration: Any, tmp_path: Path
) -> None:
    model = onnx.load(str(prepared))
    graph.gemm_to_matmul(model)
    found = ranges(model, calibration, {layer.activation for layer in graph.layers(model)})
    before = {name: value.size.copy() for name, value in found.items()}
    after = equalize(model, found, 0.8)
    save(model, tmp_path / "even.onnx")
    np.testing.assert_allclose(
        Session(tmp_path / "even.onnx").run(calibration),
        Session(prepared).run(calibration),
        atol=1e-4,
    )
    for name, size in before.items():
        assert np.ptp(np.log(after[f"{name}.even"].size)) <= np.ptp(np.log(size)) + 1e-5


@pytest.mark.parametrize("static", [True, False])
def test_int8_of_a_table_and_a_product_stays_within_a_fortieth(
    static: bool, tmp_path: Path
) -> None:
    source = table_model(tmp_path / "model.onnx")
    ids = {"ids": np.arange(256)}
    integer.build(
        source, ids, tmp_path / "out.onnx", frozenset(), static=static, reduce_range=False
    )
    made = onnx.load(str(tmp_path / "out.onnx"))
    kinds = [node.op_type for node in made.graph.node]
    assert "MatMulIntegerToFloat" in kinds
    assert "MatMul" not in kinds
    assert "Add" not in kinds  # the bias went into the integer product
    wanted, given = Session(source).run(ids), Session(tmp_path / "out.onnx").run(ids)
    assert integer.distance(given, wanted) < 0.025
    assert (tmp_path / "out.onnx").stat().st_size < 0.6 * source.stat().st_size


def test_static_answer_does_not_depend_on_its_batchmates(tmp_path: Path) -> None:
    source = table_model(tmp_path / "model.onnx")
    ids = {"ids": np.arange(256)}
    for static in (True, False):
        path = tmp_path / f"{static}.onnx"
        integer.build(source, ids, path, frozenset(), static=static, reduce_range=False)
    alone = {"ids": np.array([0])}
    crowd = {"ids": np.array([0, 255])}  # the second row is ten thousand times as large
    gaps = {
        static: np.abs(
            Session(tmp_path / f"{static}.onnx").run(alone)[0]
            - Session(tmp_path / f"{static}.onnx").run(crowd)[0]
        ).max()
        for static in (True, False)
    }
    assert gaps[True] == 0
    assert gaps[False] > 0


def test_excluded_layer_stays_float(prepared: Path, calibration: Any, tmp_path: Path) -> None:
    names = graph.weighted_nodes(onnx.load(str(prepared)))
    assert len(names) == 2
    integer.build(
        prepared,
        calibration,
        tmp_path / "out.onnx",
        frozenset(names[:1]),
        static=True,
        reduce_range=False,
    )
    kinds = {node.name: node.op_type for node in onnx.load(str(tmp_path / "out.onnx")).graph.node}
    assert kinds[names[0]] == "MatMul"
    assert kinds[names[1]] == "MatMulIntegerToFloat"


def test_reduced_range_keeps_weights_to_seven_bits(tmp_path: Path) -> None:
    source = table_model(tmp_path / "model.onnx")
    ids = {"ids": np.arange(256)}
    integer.build(source, ids, tmp_path / "o.onnx", frozenset(), static=True, reduce_range=True)
    known = graph.weights(onnx.load(str(tmp_path / "o.onnx")))
    weight = numpy_helper.to_array(known["multiply.int8"])
    assert np.abs(weight.astype(int)).max() == 63


def test_model_without_products_is_a_plain_error(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    tensors = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 4])] for name in "xy"
    ]
    made = helper.make_graph([node], "relu", *tensors)
    path = tmp_path / "relu.onnx"
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(ValueError, match="no matrix products"):
        integer.build(
            path,
            {"x": np.ones((4, 4), np.float32)},
            tmp_path / "out.onnx",
            frozenset(),
            static=True,
            reduce_range=False,
        )


def test_most_sensitive_layer_is_the_one_with_the_outlier(
    outlier_model: Path, tmp_path: Path
) -> None:
    quantize.prepare(outlier_model, tmp_path / "prepared.onnx")
    rows = np.random.default_rng(5).normal(size=(32, 512)).astype(np.float32)
    ranking = sensitivity.rank(tmp_path / "prepared.onnx", {"x": rows})
    assert len(ranking) == 12
    # Everything before and after it is even: the outlier alone stands out.
    assert ranking[0][1] > 5 * ranking[1][1]


def test_gemm_becomes_a_product_with_the_same_answer(classifier: Path, tmp_path: Path) -> None:
    model = onnx.load(str(classifier))
    assert "Gemm" in {node.op_type for node in model.graph.node}
    graph.name_nodes(model)
    graph.gemm_to_matmul(model)
    assert "Gemm" not in {node.op_type for node in model.graph.node}
    save(model, tmp_path / "made.onnx")
    feeds = {"features": np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)}
    np.testing.assert_allclose(
        Session(tmp_path / "made.onnx").run(feeds), Session(classifier).run(feeds), atol=1e-5
    )


def chain(path: Path, depth: int = 4, width: int = 64) -> Path:
    """Products in a row; what the second reads has a channel a thousand times as large as the rest."""
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(width, width)).astype(np.float32) / 8 for _ in range(depth)]
    matrices[0][:, 3] *= 1000
    matrices[1][3] /= 1000
    nodes = [
        helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"m{i}")
        for i in range(depth)
    ]
    ends = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width])]
        for name in ("x0", f"x{depth}")
    ]
    constants = [numpy_helper.from_array(matrix, f"w{i}") for i, matrix in enumerate(matrices)]
    made = helper.make_graph(nodes, "chain", *ends, constants)
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_slack_spares_even_activations_and_leaves_the_outlier_its_multiplication(
    tmp_path: Path,
) -> None:
    source = chain(tmp_path / "chain.onnx")
    rows = {"x0": np.random.default_rng(5).normal(size=(32, 64)).astype(np.float32)}
    recipes = integer.Recipes()
    evened = {}
    for slack in (1.0, integer.LEAN):
        path = tmp_path / f"{slack}.onnx"
        given: dict[str, Any] = {"static": True, "reduce_range": False, "recipes": recipes}
        integer.build(source, rows, path, frozenset(), slack=slack, **given)
        nodes = onnx.load(str(path)).graph.node
        evened[slack] = {node.name for node in nodes if node.name.endswith(".even")}
        assert integer.distance(Session(path).run(rows), Session(source).run(rows)) < 0.05
    assert evened[integer.LEAN] == {"x1.even"}
    assert evened[1.0] >= evened[integer.LEAN]


def product(path: Path, weight: np.ndarray, bias: np.ndarray | None = None) -> Path:
    """A product, with a bias where there is one."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if bias is None else "p"], name="m")]
    known = {"w": weight.astype(np.float32)}
    if bias is not None:
        nodes.append(helper.make_node("Add", ["p", "b"], ["y"], name="a"))
        known["b"] = bias
    return nets.write(path, nodes, known, {"x": ("n", len(weight))})


@pytest.mark.parametrize("static", [True, False])
def test_channel_that_calibration_never_saw_does_not_drown_the_others(
    static: bool, tmp_path: Path
) -> None:
    source = product(tmp_path / "m.onnx", nets.normal(64, 32))
    seen = nets.normal(64, 64, seed=1, scale=1.0)
    seen[:, :8] = 0
    integer.build(
        source, {"x": seen}, tmp_path / "o.onnx", frozenset(), static=static, reduce_range=False
    )
    later = {"x": nets.normal(64, 64, seed=2, scale=1.0)}  # all channels work
    wanted, given = (Session(path).run(later) for path in (source, tmp_path / "o.onnx"))
    assert integer.distance(given, wanted) < 0.05


def test_layer_that_saw_zeros_alone_stays_float(tmp_path: Path) -> None:
    source = product(tmp_path / "m.onnx", nets.normal(16, 8))
    nothing = {"x": np.zeros((8, 16), np.float32)}
    given: dict[str, Any] = {"static": True, "reduce_range": False}
    integer.build(source, nothing, tmp_path / "o.onnx", frozenset(), **given)
    rows = {"x": nets.normal(8, 16, seed=1)}
    wanted, answer = (Session(path).run(rows) for path in (source, tmp_path / "o.onnx"))
    np.testing.assert_allclose(answer, wanted, rtol=1e-5, atol=1e-6)


def test_column_of_zeros_answers_with_zeros(tmp_path: Path) -> None:
    weight = nets.normal(16, 8)
    weight[:, 3] = 0
    source = product(tmp_path / "m.onnx", weight)
    rows = {"x": nets.normal(32, 16, seed=1)}
    for static in (True, False):
        integer.build(
            source, rows, tmp_path / "o.onnx", frozenset(), static=static, reduce_range=False
        )
        scale = graph.weights(onnx.load(str(tmp_path / "o.onnx")))["m.scale"]
        assert (numpy_helper.to_array(scale) > 1e-6).all()
        answer = Session(tmp_path / "o.onnx").run(rows)
        assert (answer[:, 3] == 0).all()
        assert integer.distance(answer, Session(source).run(rows)) < 0.03


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1,), (), (1, 1)])
def test_bias_of_any_shape_goes_into_the_integer_product(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    source = product(tmp_path / "m.onnx", nets.normal(16, 8), nets.normal(*shape, scale=3.0))
    rows = {"x": nets.normal(32, 16, seed=1)}
    quantize.prepare(source, tmp_path / "p.onnx")
    given: dict[str, Any] = {"static": True, "reduce_range": False}
    integer.build(tmp_path / "p.onnx", rows, tmp_path / "o.onnx", frozenset(), **given)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "o.onnx")).graph.node]
    assert "Add" not in kinds
    answer, wanted = Session(tmp_path / "o.onnx").run(rows), Session(source).run(rows)
    assert np.abs(answer - wanted).max() < 0.05 * np.abs(wanted).max()


def test_bias_by_row_stays_an_addition(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["y"], name="g", beta=2.0)]
    known = {"w": nets.normal(16, 8), "c": nets.normal(4, 8, scale=3.0)}
    source = nets.write(tmp_path / "m.onnx", nodes, known, {"x": (4, 16)})
    rows = {"x": nets.normal(4, 16, seed=1)}
    quantize.prepare(source, tmp_path / "p.onnx")
    wanted = Session(source).run(rows)
    np.testing.assert_allclose(Session(tmp_path / "p.onnx").run(rows), wanted, atol=1e-5)
    for rung in quantize.rungs(reduce_range=False):
        if rung.name in ("int8-static-minmax", "int8-equalized-static"):
            rung.build(tmp_path / "p.onnx", rows, tmp_path / "o.onnx", frozenset())
            answer = Session(tmp_path / "o.onnx").run(rows)
            assert np.abs(answer - wanted).max() < 0.05 * np.abs(wanted).max()


def test_searches_see_the_output_and_the_channel_that_is_farthest() -> None:
    good = {"a": np.full((4, 6), 100.0), "b": np.arange(8.0).reshape(4, 2), "c": np.array([1, 2])}
    assert integer.farthest(good, good) == 0
    second = {**good, "b": good["b"] * 1.5}
    assert integer.farthest(second, good) == pytest.approx(0.5)
    assert integer.farthest({**good, "c": good["c"] + 1}, good) == 0  # whole numbers: the gate's
    assert integer.farthest({"a": good["a"]}, good) == float("inf")
    mixed = np.repeat([[300.0, 300.0, 300.0, 0.5, 0.4, 0.3]], 4, axis=0)
    lost = mixed.copy()
    lost[:, 3:] = 0
    assert integer.distance(lost, mixed) < 2e-3
    assert integer.farthest({"y": lost}, {"y": mixed}) == pytest.approx(0.5**0.5)
