"""ONNX models that cannot be served: the check shows the runtime's own reason and what to do."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from deployer import api, conformance

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

_path = Path(__file__).parents[2] / "inference_code" / "traits.py"
_spec = importlib.util.spec_from_file_location("traits", _path)
assert _spec is not None
assert _spec.loader is not None
traits: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(traits)

pytestmark = [pytest.mark.serve, pytest.mark.optimize]


def test_an_operator_that_the_runtime_lacks_is_named(tmp_path: Path) -> None:
    model = traits.write(tmp_path, traits.unknown_operator()) / "model.onnx"
    bundle = api.package(model, tmp_path / "dist", name="odd")
    report = conformance.check(bundle.path, startup_s=20)
    assert len(report.broken) == 2
    for rule in report.broken:  # the check's own, and the start
        assert "com.example:Magic" in rule.seen
        assert "package --handler inference.py" in rule.seen


def test_a_sample_that_its_model_refuses_is_told_with_the_input(tmp_path: Path) -> None:
    model = traits.write(tmp_path, traits.embedding()) / "model.onnx"
    (tmp_path / "one.json").write_text(json.dumps({"inputs": {"ids": [[10]], "mask": [[1]]}}))
    # Of a handler of one's own: with the one that comes by itself, packaging refuses the sample.
    (tmp_path / "own.py").write_text(
        "from inference_code.handlers.onnx import Handler as Ours\n\n\nclass Handler(Ours):\n    pass\n"
    )
    given = {"samples": tmp_path / "one.json", "handler": tmp_path / "own.py"}
    bundle = api.package(model, tmp_path / "dist", name="words", **given)
    seen = {rule.rule: rule.seen for rule in conformance.check(bundle.path, startup_s=20).broken}
    assert "sample one.json is answered 400" in seen["handler loads and answers its samples"]
    for words in seen.values():
        assert "input 'ids': the model refuses its values" in words
        assert "idx=10" in words
