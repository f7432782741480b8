"""What a graph tells of its inputs: the axes it declares, and the tables that whole numbers point into."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deployer.optimization.hints import hints


def encoder() -> onnx.ModelProto:
    """Return an encoder of ids in a table of 30 words, whose segments lie in a table of 2, cast and reshaped before."""
    names = ("ids", "kinds")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"])
        for name in names
    ]
    tables = [
        numpy_helper.from_array(np.ones((size, 4), np.float32), name)
        for name, size in (("words", 30), ("segments", 2))
    ]
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["w"]),
        helper.make_node("Cast", ["kinds"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Identity", ["wide"], ["same"]),
        helper.make_node("Gather", ["segments", "same"], ["s"]),
        helper.make_node("Add", ["w", "s"], ["y"]),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 4])
    graph = helper.make_graph(nodes, "encoder", inputs, [out], tables)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_tables_and_axes_are_read_from_the_graph() -> None:
    found = hints(encoder())
    assert found.below == {"ids": 30, "kinds": 2}
    assert found.axes == {"ids": ("batch", "length"), "kinds": ("batch", "length")}


def test_weights_that_are_inputs_are_no_inputs() -> None:
    model = encoder()
    model.graph.input.append(helper.make_tensor_value_info("words", TensorProto.FLOAT, [30, 4]))
    assert set(hints(model).axes) == {"ids", "kinds"}
