"""Numbers too small to matter are zero while a model runs, as where it will serve, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session, denormals_flushed

pytestmark = pytest.mark.optimize


def denormals_live() -> bool:
    return bool(np.float32(1e-40) * np.float32(1) > 0)


@pytest.fixture
def double(tmp_path: Path) -> Path:
    kind = onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["rows"]) for name in ("x", "y")]
    made = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    save(helper.make_model(made, opset_imports=opset, ir_version=10), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_model_sees_no_denormals_and_the_caller_keeps_them(double: Path) -> None:
    assert denormals_live()
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
