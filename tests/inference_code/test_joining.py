"""Requests are joined by the proof in the manifest alone, and each gets the rows that are its own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from inference_code.contract import (
    MANIFEST_PATH,
    Batching,
    ContractError,
    Manifest,
    Member,
    ServingConfig,
    TensorSpec,
)
from inference_code.engine.company import Apart
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.engine.together import refused
from inference_code.errors import HandlerFailed
from inference_code.handlers.joining import Joining

SHA = "a" * 64
PROOF = Batching({"x": 1}, {"y": 1, "c": None}, model_sha256=SHA, runtime="onnxruntime 1")
INPUTS = (TensorSpec("x", "float32", (None, None, 2)),)
OUTPUTS = (TensorSpec("y", "float32", (None, None)), TensorSpec("c", "float32", (2,)))


def manifest(proof=PROOF, sha=SHA):
    members = (Member("m.onnx", "0644", 1, sha),)
    return Manifest("m", "m.onnx", "fp32", members, INPUTS, OUTPUTS, batching=proof)


def test_rows_are_cut_along_the_axis_that_carries_them():
    joining = Joining(manifest(), INPUTS, OUTPUTS)
    # Three steps of time; one request has one row, the other two.
    items = [{"x": np.full((3, rows, 2), rows, np.float32)} for rows in (1, 2)]
    assert joining.fit(items)
    joined = joining.joined(items)["x"]
    assert joined.shape == (3, 3, 2)
    constant = np.array([7.0, 8.0])
    one, two = joining.parts(items, [joined.sum(2), constant])
    np.testing.assert_array_equal(one["y"], [[2], [2], [2]])
    np.testing.assert_array_equal(two["y"], [[4, 4], [4, 4], [4, 4]])
    assert one["c"] is two["c"] is constant


def test_other_lengths_of_time_are_not_joined():
    joining = Joining(manifest(), INPUTS, OUTPUTS)
    assert not joining.fit([{"x": np.zeros((steps, 1, 2), np.float32)} for steps in (3, 4)])


def test_an_output_of_another_number_of_rows_fails_the_batch():
    joining = Joining(manifest(), INPUTS, OUTPUTS)
    items = [{"x": np.zeros((3, 1, 2), np.float32)}] * 2
    with pytest.raises(HandlerFailed, match="'y' has not one row per input row"):
        joining.parts(items, [np.zeros((3, 5)), np.zeros(2)])


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "no manifest proves"),
        (manifest(None), "older than the proof"),
        (manifest(sha="b" * 64), "about another model file"),
        (manifest(Batching(reason="Loop: no rule")), "Loop: no rule"),
        (manifest(replace(PROOF, axes={"z": 0})), "names other inputs"),
        (manifest(replace(PROOF, axes={"x": 3})), "'x' has an axis 3"),
        (manifest(replace(PROOF, axes={"x": 2})), "the number of rows is fixed"),
    ],
)
def test_without_a_proof_of_this_model_nothing_is_joined(found, reason):
    joining = Joining(found, INPUTS, OUTPUTS)
    assert reason in joining.refusal
    assert not joining.fit([{"x": np.zeros((3, 1, 2), np.float32)}] * 2)


def test_the_proof_travels_in_the_manifest_and_is_unsaid_without_one():
    assert Manifest.from_json(manifest().to_json()) == manifest()
    old = manifest(None)
    assert "batching" not in old.to_json()
    assert Manifest.from_json(old.to_json()) == old


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "some"}, "batching.kind is 'some'"),
        ({"axes": {"x": -1}}, "batching.axes: 'x' has the axis -1"),
        ({"axes": {"x": None}}, "batching.axes: 'x' has the axis None"),
        ({"moved": float("nan")}, "batching.moved"),
    ],
)
def test_a_proof_that_is_none_is_refused(change, message):
    with pytest.raises(ContractError, match=message):
        replace(PROOF, **change)


SCALE = replace(PROOF, kind="scale", moved=0.02)
MOVED = Apart(0.03, False)


@pytest.mark.parametrize(
    ("proof", "exact", "found", "says"),
    [
        (PROOF, False, None, ""),
        (PROOF, False, Apart(1e-5, True), ""),
        (PROOF, False, MOVED, "answers differ by 0.03 of the largest number"),
        (SCALE, False, MOVED, ""),  # 1.5 times what was recorded
        (SCALE, False, Apart(0.031, False), "0.03 is what a shared scale explains"),
        (replace(SCALE, runtime="", moved=0.0), False, MOVED, ""),  # nobody measured yet
        (None, False, MOVED, "answers differ"),
        (PROOF, True, Apart(), ""),
        (PROOF, True, None, "there are no two samples"),
        (PROOF, True, MOVED, "a batch moves answers by 0.03"),
        (SCALE, True, Apart(), "the rows of this model share a scale"),
        (replace(SCALE, moved=0.0), True, Apart(), ""),
    ],
)
def test_what_a_batch_may_move(proof, exact, found, says):
    reason = refused(proof, ServingConfig(exact=exact), found)
    assert (says in reason) if says else reason == ""


@pytest.fixture
def served(tmp_path):
    """A model whose proof is claimed, true or not."""
    onnx = pytest.importorskip("onnx")

    def make(op, runtime, **attributes):
        import hashlib

        from onnx import TensorProto, helper

        value = helper.make_tensor_value_info
        x, y = (value(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], **attributes)], "g", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.save(model, str(tmp_path / "m.onnx"))
        sha = hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
        proof = Batching({"x": 0}, {"y": 0}, model_sha256=sha, runtime=runtime)
        members = (Member("m.onnx", "0644", 1, sha),)
        told = Manifest("m", "m.onnx", "fp32", members, batching=proof)
        (tmp_path / "code").mkdir()
        (tmp_path / MANIFEST_PATH).write_text(told.to_json())
        found = ServedModel(read_settings(tmp_path))
        found.warm_up()
        return found

    return make


def test_another_runtime_tries_again_and_may_refute(served):
    """A softmax over the batch, with a proof that claims otherwise and was tried elsewhere."""
    model = served("Softmax", "onnxruntime 0.1", axis=0)
    assert model.max_batch == 1
    assert "answers differ" in model.unbatched


def test_a_proof_of_this_runtime_is_taken_at_its_word(served):
    import onnxruntime

    model = served("Neg", f"onnxruntime {onnxruntime.__version__}")
    assert model.batch_effect is None
    items = [
        model.decode(json.dumps([[n] * 4] * n).encode(), "application/json", "") for n in (1, 2)
    ]
    answers = [output[1]["y"].tolist() for output in model.handler.predict(items)]
    assert answers == [[[-1] * 4], [[-2] * 4] * 2]
