"""The handler without code, on models made here."""

import json

import numpy as np
import pytest

from inference_code.codecs import npy
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.errors import HandlerInvalid

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.optimize


@pytest.fixture
def served(tmp_path):
    def make(shape, out_shape=None, op="Neg"):
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape or shape)
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.save(model, str(tmp_path / "model.onnx"))
        loaded = ServedModel(read_settings(tmp_path))
        loaded.warm_up()
        return loaded

    return make


def ask(model, value):
    status, _, body = model.answer(json.dumps(value).encode(), "application/json")
    return status, json.loads(body)


def test_any_onnx_file_answers_in_the_form_of_the_request(served):
    model = served(["batch", 2])
    assert ask(model, {"instances": [[1, 2]]}) == (200, {"predictions": [[-1, -2]]})
    assert ask(model, {"inputs": [[1, 2]]}) == (200, {"outputs": [[-1, -2]]})
    assert model.answer(b"1,2\n", "text/csv", "text/csv")[2] == b"-1.0,-2.0\n"
    reply = model.answer(
        npy.write(np.ones((1, 2), np.float32)), "application/x-npy", "application/x-npy"
    )
    np.testing.assert_array_equal(npy.read(reply[2]), [[-1, -1]])


def test_a_batch_gives_each_request_its_own_rows(served):
    model = served(["batch", 1])
    bodies = [{"instances": [[1]]}, {"instances": [[2], [3]]}, {"instances": [[4]]}]
    items = [model.decode(json.dumps(b).encode(), "application/json", "") for b in bodies]
    answers = [json.loads(model.encode(o, "")[2])["predictions"] for o in model.predict(items)]
    assert answers == [[[-1]], [[-2], [-3]], [[-4]]]


def test_requests_of_different_lengths_are_not_joined(served):
    model = served(["batch", "length"])
    items = [model.decode(json.dumps([[1] * n]).encode(), "application/json", "") for n in (2, 3)]
    answers = [json.loads(model.encode(o, "")[2])["predictions"] for o in model.predict(items)]
    assert answers == [[[-1, -1]], [[-1, -1, -1]]]


def test_a_fixed_batch_of_one_is_fed_row_by_row(served):
    model = served([1, 2])
    assert model.max_batch == 1
    assert ask(model, {"instances": [[1, 2], [3, 4]]}) == (
        200,
        {"predictions": [[-1, -2], [-3, -4]]},
    )


def test_a_fixed_batch_of_two_takes_even_rows_only(served):
    model = served([2, 1])
    assert ask(model, [[1], [2], [3], [4]])[0] == 200
    status, answer = ask(model, [[1], [2], [3]])
    assert status == 400
    assert "exactly 2 rows" in answer["message"]


def test_an_output_without_the_batch_axis_is_not_batched(served):
    model = served(["batch", 2], [1, 1], op="ReduceSum")
    assert model.max_batch == 1
    # Two examples, one sum of both: no prediction for each, so the whole tensor.
    assert ask(model, [[1, 2], [3, 4]]) == (200, {"outputs": [[10]]})


def test_a_folder_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(HandlerInvalid, match=r"must hold one .onnx file \(found: none\)"):
        ServedModel(read_settings(tmp_path))


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"junk")
    with pytest.raises(HandlerInvalid, match=r"model.onnx: ONNX Runtime .* cannot load it"):
        ServedModel(read_settings(tmp_path))
