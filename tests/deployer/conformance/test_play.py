"""SageMaker's rules against real servers: one that keeps them all, and handlers that break one each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer import api, conformance
from deployer.bundle.bundle import open_bundle
from deployer.errors import ConditionFailed, InputError
from inference_code.contract import ServingConfig

pytestmark = pytest.mark.serve

HANDLER = """
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        self.folder = context.model_dir
        {load}

    def predict(self, items):
        {predict}
        return [item for item in items]
"""


def handler(load: str = "pass", predict: str = "pass") -> str:
    return HANDLER.format(load=load, predict=predict)


def test_a_plain_bundle_keeps_every_rule(echo_bundle: Callable[..., Path]) -> None:
    told: list[str] = []
    report = conformance.check(echo_bundle(), say=told.append)
    assert report.ok
    assert [(rule.rule, rule.outcome) for rule in report.rules if rule.outcome != "passed"] == []
    assert len(report.rules) == 21
    assert len(told) == 22
    assert report.require() is report


def broken(bundle: Path, **options: float) -> dict[str, str]:
    report = conformance.check(bundle, **options)
    assert not report.ok
    with pytest.raises(ConditionFailed, match="breaks"):
        report.require()
    return {rule.rule: rule.seen for rule in report.broken}


def test_a_handler_that_writes_into_the_model_folder_is_caught(
    echo_bundle: Callable[..., Path],
) -> None:
    # Tests may run as root, whom a read-only folder does not stop: the check looks at what changed.
    source = handler(load='(self.folder / "cache.bin").write_bytes(b"x")')
    found = broken(echo_bundle(handler=source), startup_s=20)
    assert set(found) & {
        "leaves the model folder as it is",
        "handler loads and answers its samples",
    }


def test_a_handler_that_cannot_load_is_told_with_its_own_words(
    echo_bundle: Callable[..., Path],
) -> None:
    report = conformance.check(echo_bundle("broken"), startup_s=20)
    seen = {rule.rule: rule for rule in report.rules}
    assert "these weights are broken" in seen["handler loads and answers its samples"].seen
    assert seen["GET /ping answers 200 within 2 s"].outcome == "not played"
    assert len(report.broken) == 2


def test_a_handler_that_fails_its_own_sample_is_caught(echo_bundle: Callable[..., Path]) -> None:
    source = handler(predict='raise RuntimeError("no such luck")')
    found = broken(echo_bundle(handler=source), startup_s=20)
    assert "handler loads and answers its samples" in found


def test_a_damaged_bundle_is_refused_before_anything_runs(
    echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    data = bytearray(echo_bundle().read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b.tar.gz").write_bytes(data)
    with pytest.raises(InputError):
        conformance.check(tmp_path / "b.tar.gz")


def test_a_bundle_that_is_exact_and_keeps_an_objective_is_sealed_and_served(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "one.json").write_text('{"x": 1}')
    (tmp_path / "weights.txt").write_text("1")
    (tmp_path / "handler.py").write_text(handler())
    wanted = ServingConfig(exact=True, objective_ms=50.0)
    bundle = api.package(
        tmp_path / "weights.txt",
        tmp_path / "dist",
        name="exact",
        handler=tmp_path / "handler.py",
        samples=tmp_path / "samples",
        serving=wanted,
    )
    assert open_bundle(bundle.path).manifest.serving == wanted
    assert conformance.check(bundle.path, startup_s=20).ok


def test_a_failing_sample_is_told_with_what_the_log_says(echo_bundle: Callable[..., Path]) -> None:
    source = handler(predict='raise RuntimeError("no such luck")')
    found = broken(echo_bundle(handler=source), startup_s=20)
    seen = found["handler loads and answers its samples"]
    assert "is answered 500" in seen
    assert "(it says: RuntimeError: no such luck)" in seen


#: One scale for all rows of a batch, as dynamic int8 has it.
TIED = """
import numpy as np
from inference_code.handler import Handler as Base


class Handler(Base):
    batches = {batches}

    def load(self, context):
        pass

    def predict(self, items):
        rows = np.array([item["x"] for item in items], dtype=float)
        return (np.round(rows / np.abs(rows).max() * 127) / 127).tolist()
"""


@pytest.mark.parametrize(
    ("batches", "outcome", "seen"),
    [
        (True, "broken", "the handler wants requests joined, and answers differ by 1 of"),
        (False, "passed", "requests are not joined: the handler does not say batches = True"),
    ],
)
def test_a_handler_that_insists_on_batches_that_move_answers_is_broken(
    tmp_path: Path, batches: bool, outcome: str, seen: str
) -> None:
    (tmp_path / "samples").mkdir()
    for name, row in (("small", [0.1, 0.25, 0.3]), ("wide", [3.0, 40.0, -100.0])):
        (tmp_path / "samples" / f"{name}.json").write_text(json.dumps({"x": row}))
    (tmp_path / "weights.txt").write_text("1")
    (tmp_path / "handler.py").write_text(TIED.format(batches=batches))
    bundle = api.package(
        tmp_path / "weights.txt",
        tmp_path / "dist",
        name="tied",
        handler=tmp_path / "handler.py",
        samples=tmp_path / "samples",
    )
    report = conformance.check(bundle.path, startup_s=20)
    found = {rule.rule: rule for rule in report.rules}
    rule = found["an answer does not depend on who else asked"]
    assert (rule.outcome, rule.seen[: len(seen)]) == (outcome, seen)
