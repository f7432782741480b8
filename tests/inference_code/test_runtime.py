"""The same ONNX file on both engines; OpenVINO's own tests run where it is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inference_code.contract import (
    MANIFEST_PATH,
    ContractError,
    Manifest,
    Member,
    openvino_settings,
)
from inference_code.errors import HandlerInvalid
from inference_code.runtime import Model

onnx = pytest.importorskip("onnx")
HERE = importlib.util.find_spec("openvino") is not None


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """y = 2x + 1 for any number of rows of three."""
    return write(tmp_path / "model.onnx")


def write(path: Path) -> Path:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["double"]),
        helper.make_node("Add", ["double", "one"], ["y"]),
    ]
    constants = [
        helper.make_tensor("two", kind, [], [2.0]),
        helper.make_tensor("one", kind, [], [1.0]),
    ]
    ends = [helper.make_tensor_value_info(name, kind, ["rows", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return path


def manifest(engine: str) -> Manifest:
    return Manifest(
        "m", "model.onnx", "fp32", (Member("model.onnx", "644", 1, "0" * 64),), engine=engine
    )


def put_manifest(folder: Path, engine: str) -> None:
    (folder / MANIFEST_PATH).parent.mkdir(exist_ok=True)
    (folder / MANIFEST_PATH).write_text(manifest(engine).to_json())


def test_model_runs_on_onnx_runtime_unless_its_bundle_says_otherwise(linear: Path) -> None:
    assert Model(linear).engine == "onnxruntime"
    put_manifest(linear.parent, "onnxruntime")
    assert Model(linear).engine == "onnxruntime"


def test_unknown_engine_is_refused_by_name(linear: Path) -> None:
    with pytest.raises(HandlerInvalid, match="no engine 'abacus'"):
        Model(linear, engine="abacus")
    with pytest.raises(ContractError, match="engine is 'abacus'"):
        manifest("abacus")


def test_usual_engine_is_unsaid_so_that_older_digests_hold() -> None:
    assert "engine" not in json.loads(manifest("onnxruntime").to_json())
    other = manifest("openvino")
    assert Manifest.from_json(other.to_json()) == other


@pytest.mark.skipif(HERE, reason="OpenVINO is installed")
def test_missing_openvino_is_one_clear_error(linear: Path) -> None:
    put_manifest(linear.parent, "openvino")
    with pytest.raises(HandlerInvalid, match="not installed: pip install openvino=="):
        Model(linear)


@pytest.mark.openvino
class TestOpenVino:
    def test_bundle_that_names_it_runs_on_it_with_the_same_names_and_answers(
        self, linear: Path
    ) -> None:
        plain = Model(linear)
        put_manifest(linear.parent, "openvino")
        other = Model(linear)
        assert other.engine == "openvino"
        assert (other.inputs, other.outputs) == (plain.inputs, plain.outputs)
        for rows in (1, 5):
            x = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
            # bfloat16, where the processor has it, keeps eight bits.
            np.testing.assert_allclose(other.run({"x": x})[0], plain.run({"x": x})[0], atol=0.05)

    def test_answers_outlive_the_next_run(self, linear: Path) -> None:
        model = Model(linear, engine="openvino")
        first = model.run({"x": np.zeros((1, 3), np.float32)})[0]
        model.run({"x": np.ones((1, 3), np.float32)})
        np.testing.assert_array_equal(first, [[1, 1, 1]])

    def test_file_that_is_no_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"no model")
        with pytest.raises(HandlerInvalid, match=r"model\.onnx: OpenVINO"):
            Model(tmp_path / "model.onnx", engine="openvino")

    def test_nothing_is_reported_to_anyone(self, linear: Path) -> None:
        Model(linear, engine="openvino")
        import sys

        reporter = sys.modules.get("openvino.tools.ovc.telemetry_utils", SimpleNamespace(tm=None))
        assert reporter.tm is not None
        assert reporter.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ({"avx512_bf16"}, "f32"),  # without matrix units bfloat16 is the slower one
        ({"avx512_bf16", "amx_bf16"}, None),
        ({"avx2"}, None),
    ],
)
def test_openvino_computes_in_bfloat16_only_with_matrix_units(
    flags: set[str], precision: str | None
) -> None:
    settings = openvino_settings(3, flags)
    assert settings["INFERENCE_NUM_THREADS"] == 3
    assert settings.get("INFERENCE_PRECISION_HINT") == precision


def test_numbers_too_small_to_matter_are_zero(tmp_path: Path) -> None:
    """In a process of its own, as a worker is: ONNX Runtime decides it once, with the first session."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(tmp_path / "m.onnx"))
    code = """
import sys, numpy as np
from pathlib import Path
from inference_code.runtime import Model
x = np.array([1e-40, 1e-30], np.float32)
print(Model(Path(sys.argv[1])).run({"x": x})[0].tolist())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.onnx"],
        capture_output=True,
        text=True,
        check=True,
    )
    small, large = json.loads(ran.stdout)
    assert small == 0.0
    assert large == pytest.approx(2e-30)
    assert ran.stderr == ""
