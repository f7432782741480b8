"""A bundle that was built and unpacked runs on its own copy of the serving code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from deployer.bundle.bundle import open_bundle

onnx = pytest.importorskip("onnx")
for package in ("onnxruntime", "orjson"):
    pytest.importorskip(package)
pytestmark = [pytest.mark.serve, pytest.mark.optimize]

FOLDER_HANDLER = """
import json
from pathlib import Path

def model_fn(folder):
    return float(Path(folder, "factor.txt").read_text())

def input_fn(body, content_type):
    return json.loads(body)

def predict_fn(number, factor):
    return number * factor

def output_fn(number, accept):
    return json.dumps(number)
"""


def checked(bundle: Path, folder: Path) -> dict[str, Any]:
    """Return what the bundle's own serving code answers to its samples."""
    unpack(bundle, folder)
    done = subprocess.run(
        [sys.executable, "-m", "inference_code", "check", "--model-dir", folder],
        capture_output=True,
        cwd=folder / "code",
        env={**os.environ, "PYTHONPATH": str(folder / "code"), "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    open_bundle(folder)  # serving left the folder as it was
    return answer


def test_an_onnx_model_answers_through_the_default_handler(tmp_path: Path) -> None:
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [info("x", 1, ["n", 2])], [info("y", 1, ["n", 2])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "sample.json").write_text('{"inputs": {"x": [[1, 2]]}}')
    bundle = build(
        tmp_path / "model.onnx", tmp_path / "out", name="d", samples=tmp_path / "sample.json"
    )
    answer = checked(bundle.path, tmp_path / "folder")
    assert answer["ok"], answer
    assert "[2.0,4.0]" in json.dumps(answer["answers"]).replace(" ", "")


def test_a_folder_with_a_handler_answers(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "factor.txt").write_text("3")
    (tmp_path / "h.py").write_text(FOLDER_HANDLER)
    (tmp_path / "sample.json").write_text("14")
    bundle = build(
        tmp_path / "m",
        tmp_path / "out",
        name="d",
        handler=tmp_path / "h.py",
        samples=tmp_path / "sample.json",
    )
    answer = checked(bundle.path, tmp_path / "folder")
    assert answer["ok"], answer
    assert "42.0" in json.dumps(answer["answers"])
