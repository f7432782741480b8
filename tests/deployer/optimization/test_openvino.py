"""The optional engine: told when it is missing, its rungs judged as any other where it is installed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization import ladder, openvino
from inference_code.contract import ENGINE_KEY

pytestmark = pytest.mark.optimize
without = pytest.mark.skipif(openvino.missing() is None, reason="OpenVINO is installed")


def noise(rows: int, seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(rows, 512)).astype(np.float32)}


def climb(model: Path, out: Path, rungs: list[str] | None, **more: Any) -> Any:
    sets = {"calibration": noise(32, 1), "evaluation": noise(100, 2)}
    return ladder.climb(model, **sets, metric="cosine", out=out, rungs=rungs, **more)


@without
def test_rungs_that_lack_their_packages_are_named_with_the_reason(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    sets = {"calibration": calibration, "evaluation": evaluation}
    ladder.climb(classifier, **sets, out=tmp_path / "out", progress=said.append)
    document = json.loads((tmp_path / "out/ladder.json").read_text())
    assert set(document["details"]["not_tried"]) == {"bf16", *openvino.NAMES}
    for name in openvino.NAMES:
        assert any(line.startswith(f"{name}: not tried") and "pip install" in line for line in said)


@without
def test_rung_that_is_asked_for_without_its_packages_is_an_error(
    outlier_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentProblem, match="'openvino-int8' cannot be tried"):
        climb(outlier_model, tmp_path / "out", ["openvino-int8"])
    assert not list(tmp_path.iterdir())


@pytest.mark.openvino
class TestInstalled:
    def test_its_rungs_are_onnx_files_that_name_the_engine(
        self, outlier_model: Path, tmp_path: Path
    ) -> None:
        report = climb(outlier_model, tmp_path / "out", list(openvino.NAMES), max_drop=0.05)
        plain, int8 = report.rungs[1:]
        assert plain.accuracy is not None
        assert plain.accuracy.value < 1e-3
        assert int8.variant.size_bytes < 0.3 * report.fp32.size_bytes
        for rung in (plain, int8):
            assert rung.speedup is not None or rung.status == "refused"
            assert rung.variant.engine == "openvino"
            notes = onnx.load(str(rung.variant.path), load_external_data=False).metadata_props
            assert {note.key: note.value for note in notes} == {ENGINE_KEY: "openvino"}

    def test_same_inputs_give_the_same_bytes(self, outlier_model: Path, tmp_path: Path) -> None:
        digests = set()
        for name in ("a", "b"):
            report = climb(outlier_model, tmp_path / name, ["openvino-int8"], max_drop=2.0)
            digests.add(report.rungs[1].variant.sha256)
        assert len(digests) == 1

    def test_layers_that_stay_fp32_repair_its_int8(
        self, outlier_model: Path, tmp_path: Path
    ) -> None:
        report = climb(outlier_model, tmp_path / "out", ["openvino-int8"], max_drop=0.01)
        plain, mixed = report.rungs[1:]
        assert plain.status == "refused"
        assert mixed.fp32_layers
        assert mixed.accuracy.passed

    def test_one_thread_means_the_callers(self, outlier_model: Path) -> None:
        """Else the thread's own clock, which times the rungs, would see nothing."""
        session = openvino.OpenVinoSession(outlier_model, threads=1)
        rows = noise(2000, 3)
        session.run(rows)
        own, everyone = time.thread_time(), time.process_time()
        for _ in range(5):
            session.run(rows)
        own, everyone = time.thread_time() - own, time.process_time() - everyone
        assert own > 0.8 * everyone

    def test_file_that_is_no_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"no model")
        with pytest.raises(InputError, match="OpenVINO cannot open"):
            openvino.OpenVinoSession(tmp_path / "m.onnx")
