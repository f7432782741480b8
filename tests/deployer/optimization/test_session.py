"""Models are timed and scored as they will be served: without denormals, and without a fusion that is slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session, denormals_flushed
from inference_code.contract import ONNXRUNTIME_WITHOUT

pytestmark = pytest.mark.optimize


def denormals_live() -> bool:
    return bool(np.float32(1e-40) * np.float32(1) > 0)


@pytest.fixture(autouse=True)
def as_usual() -> Iterator[None]:
    """A server's model that ran in this process may have flushed them for good."""
    before = denormals_live()
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(not before)


@pytest.fixture
def double(tmp_path: Path) -> Path:
    kind = onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["rows"]) for name in ("x", "y")]
    made = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    save(helper.make_model(made, opset_imports=opset, ir_version=10), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_model_sees_no_denormals_and_the_caller_keeps_them(double: Path) -> None:
    session = Session(double)
    x = {"x": np.array([1e-40, 1e-30], np.float32)}
    small, large = session.outputs_for(x, 2)
    assert denormals_live()
    assert small == 0.0
    assert large == pytest.approx(2e-30)


def test_a_caller_without_denormals_stays_so() -> None:
    torch.set_flush_denormal(True)
    try:
        with denormals_flushed():
            assert not denormals_live()
        assert not denormals_live()
    finally:
        torch.set_flush_denormal(False)
    assert denormals_live()


def test_denormals_come_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), denormals_flushed():
        _ = 1 / 0
    assert denormals_live()


def test_the_optimizer_left_out_is_the_one_that_fuses(tmp_path: Path) -> None:
    """Should ONNX Runtime name it otherwise one day, it would be left in without a word."""
    kind = onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["b", "l", 8]) for name in ("x", "y", "z")]
    nodes = [
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "bias"], ["z"]),
    ]
    ones = [numpy_helper.from_array(np.ones(8, np.float32), name) for name in ("scale", "bias")]
    made = helper.make_graph(nodes, "g", ends[:2], ends[2:], ones)
    opset = [helper.make_opsetid("", 20)]
    save(helper.make_model(made, opset_imports=opset, ir_version=10), tmp_path / "m.onnx")

    def operators(without: list[str]) -> set[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            str(tmp_path / "m.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=without,
        )
        model = onnx.load(str(tmp_path / "optimized.onnx"))
        return {node.op_type for node in model.graph.node}

    assert operators([]) == {"SkipLayerNormalization"}
    assert operators(ONNXRUNTIME_WITHOUT) == {"Add", "LayerNormalization"}
