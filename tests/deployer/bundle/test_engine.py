"""Which engine a bundle asks for, where that comes from, and what it must then have installed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from deployer.bundle.build import build
from deployer.bundle.bundle import Bundle, open_bundle
from deployer.errors import InputError
from inference_code.contract import ENGINE_KEY, ENGINES, REQUIREMENTS_PATH


def requirements(bundle: Bundle) -> list[str]:
    with tarfile.open(bundle.path) as archive:
        file = archive.extractfile(REQUIREMENTS_PATH)
        assert file is not None
        return file.read().decode().splitlines()


def noted(model: Path, engine: str) -> None:
    """Append metadata to an ONNX file: a later field of a message is one more of its kind."""
    pair = b"".join(
        bytes([tag, len(text)]) + text.encode()
        for tag, text in ((0x0A, ENGINE_KEY), (0x12, engine))
    )
    model.write_bytes(model.read_bytes() + bytes([14 << 3 | 2, len(pair)]) + pair)


def test_model_file_that_names_an_engine_gets_it(model: Path, out: Path) -> None:
    plain = build(model, out, name="d")
    noted(model, "openvino")
    bundle = open_bundle(build(model, out, name="d").path)
    assert bundle.manifest.engine == "openvino"
    added = set(requirements(bundle)) - set(requirements(plain))
    assert added == set(ENGINES["openvino"])


def test_engine_that_is_asked_for_wins(model: Path, out: Path) -> None:
    assert build(model, out, name="d").manifest.engine == "onnxruntime"
    assert build(model, out, name="d", engine="openvino").manifest.engine == "openvino"
    noted(model, "openvino")
    assert build(model, out, name="d", engine="onnxruntime").manifest.engine == "onnxruntime"


def test_unknown_engine_is_named_and_nothing_is_written(model: Path, out: Path) -> None:
    noted(model, "abacus")
    with pytest.raises(InputError, match="no engine 'abacus'"):
        build(model, out, name="d")
    assert not list(out.glob("*"))
