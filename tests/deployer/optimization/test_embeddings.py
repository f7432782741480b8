"""Look-up tables in eight and four bits: nearly the same rows, far fewer bytes, indices of any rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deployer.optimization.embeddings import shrink_tables
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

ROWS, WIDTH = 300, 64


def lookup(rank: int, width: int = WIDTH) -> onnx.ModelProto:
    table = np.random.default_rng(0).normal(size=(ROWS, width)).astype(np.float32)
    axes = [f"n{axis}" for axis in range(rank)]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["y"], name="look")],
        "lookup",
        [helper.make_tensor_value_info("i", TensorProto.INT64, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*axes, width])],
        [numpy_helper.from_array(table, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def small(model: onnx.ModelProto, bits: int) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    shrink_tables(made, bits)
    kept = {name for node in made.graph.node for name in node.input}
    for item in [item for item in made.graph.initializer if item.name not in kept]:
        made.graph.initializer.remove(item)
    return made


@pytest.mark.parametrize(("bits", "error", "share"), [(8, 0.02, 0.3), (4, 0.3, 0.2)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rows_stay_near_in_a_fraction_of_the_bytes(
    bits: int, error: float, share: float, rank: int, tmp_path: Path
) -> None:
    model = lookup(rank)
    paths = tmp_path / "fp32.onnx", tmp_path / "small.onnx"
    save(model, paths[0])
    save(small(model, bits), paths[1])
    shape = (2, 3, 4)[:rank]
    index = np.random.default_rng(1).integers(0, ROWS, shape)
    wanted, given = (Session(path).run({"i": index}) for path in paths)
    assert given.shape == wanted.shape
    assert 0 < np.abs(given - wanted).max() < error
    assert paths[1].stat().st_size < share * paths[0].stat().st_size


def test_rows_that_do_not_divide_into_blocks_get_eight_bits() -> None:
    kinds = [node.op_type for node in small(lookup(2, width=50), 4).graph.node]
    assert kinds == [node.op_type for node in small(lookup(2, width=50), 8).graph.node]
