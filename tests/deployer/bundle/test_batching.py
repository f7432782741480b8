"""What a trial in the handler's process makes of a proof, and what is written down without one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.bundle.axes.graph import prove
from deployer.bundle.batching import judged
from inference_code.contract import Batching

ROWS = Batching({"x": 0}, {"y": 0}, model_sha256="a" * 64)
SCALE = replace(ROWS, kind="scale")
RUNTIME = "onnxruntime 1.31.1"


def seen(**changes: Any) -> dict[str, Any]:
    return {"tried": True, "same": True, "moved": 0.0, "runtime": RUNTIME, **changes}


def test_a_trial_that_shows_nothing_leaves_the_start_to_try() -> None:
    assert judged(ROWS, seen(tried=False)) == ROWS


def test_equal_answers_confirm_the_proof_for_this_runtime() -> None:
    assert judged(ROWS, seen()) == replace(ROWS, runtime=RUNTIME)


def test_a_shared_scale_is_written_down_with_what_it_moved() -> None:
    found = judged(SCALE, seen(same=False, moved=0.02))
    assert (found.proven, found.moved) == (True, 0.02)
    assert found.allowed == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("proof", "moved", "words"),
    [
        (ROWS, 0.02, "tried: a batch changed answers by 0.02 of the largest number"),
        (ROWS, None, "tried: a batch changed answers in more than numbers"),
        (SCALE, None, "tried: a batch changed answers in more than numbers"),
    ],
)
def test_what_was_tried_refutes_a_proof(proof: Batching, moved: float | None, words: str) -> None:
    found = judged(proof, seen(same=False, moved=moved))
    assert (found.proven, found.reason, found.runtime) == (False, words, RUNTIME)


def test_without_onnx_nothing_is_proven_and_the_reason_says_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = prove(model, "a" * 64)
    assert not found.proven
    assert found.reason == "not proven: install onnx, then package again"
