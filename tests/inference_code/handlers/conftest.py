"""Small ONNX files in a model folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from inference_code.contract import Manifest, Member
from inference_code.handler import Context


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a model of nodes (operator, inputs, outputs, attributes), and JSON files beside it."""
    onnx = pytest.importorskip("onnx")

    def write(
        nodes, inputs, outputs, weights=(), files: Mapping[str, object] | None = None
    ) -> Path:
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node(op, ins, outs, **kw) for op, ins, outs, kw in nodes],
            "g",
            [info(*each) for each in inputs],
            [info(*each) for each in outputs],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.save(model, tmp_path / "model.onnx")
        for name, value in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        return tmp_path

    return write


@pytest.fixture
def proved() -> Callable[[Path], Context]:
    """What packaging hands on for a folder's model: its manifest, with the proof that requests may be joined."""
    from deployer.bundle.axes.graph import prove

    def make(folder: Path) -> Context:
        path = folder / "model.onnx"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        member = Member(path.name, "644", path.stat().st_size, digest)
        manifest = Manifest("m", path.name, "fp32", (member,), batching=prove(path, digest))
        return Context(folder, manifest=manifest)

    return make
