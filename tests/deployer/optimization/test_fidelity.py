"""How far an output is from FP32's: each measure catches its own planted fault, and none is raised by what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployer.optimization import answers, fidelity, metrics, second
from deployer.optimization.answers import Parts

pytestmark = pytest.mark.optimize

ROWS = 200
RNG = np.random.default_rng(0)
PLAIN = RNG.normal(size=(ROWS, 6)).astype("f4")


def softmax(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def rounded(values: np.ndarray, levels: int = 255) -> np.ndarray:
    """By one scale over all of it, as int8 has it."""
    low, high = values.min(), values.max()
    step = (high - low) / levels
    return (np.round((values - low) / step) * step + low).astype(values.dtype)


def drops(given: Any, reference: Any) -> dict[str, float]:
    return {one.measure: one.drop for one in fidelity.findings(given, reference)}


def verdict(given: Any, reference: Any, seen: str = "nothing") -> Any:
    return second.judge("y", given, reference, seen)


def test_error_is_the_root_mean_square_over_the_channels_spread() -> None:
    reference = np.array([[0.0, 10], [2, 30]], "f4")  # spreads 1 and 10
    given = reference + np.array([[0.1, 5], [0.1, -5]], "f4")
    assert drops(given, reference)["error"] == pytest.approx(0.5, rel=0.01)  # the second channel
    assert "channel 1" in fidelity.findings(given, reference)[0].told


def test_the_constant_answer_is_the_other_end_of_the_scale() -> None:
    mean = np.broadcast_to(PLAIN.mean(0), PLAIN.shape).astype("f4")
    assert drops(mean, PLAIN)["error"] == pytest.approx(1.0, abs=0.005)
    assert drops(PLAIN, PLAIN)["error"] == 0.0


BOXES = RNG.uniform(0, 640, (ROWS, 4, 50))
SCORES = RNG.beta(0.3, 3, (ROWS, 3, 50))
HEAD = np.concatenate([BOXES, SCORES], axis=1).astype("f4")
SPARSE = np.where(RNG.random((ROWS, 40)) < 0.1, RNG.random((ROWS, 40)), 1e-5).astype("f4")
MASKED = np.where(np.arange(6) == 2, -np.inf, PLAIN).astype("f4")
DEAD = np.where(np.arange(6) == 2, 3 + 1e-6 * PLAIN, PLAIN).astype("f4")
PADDED = np.where(np.arange(6) == 2, 1e-33 * PLAIN, PLAIN / 20).astype("f4")
SURE = softmax(60 * PLAIN).astype("f4")
ONE_HOT = np.eye(6, dtype="f4")[PLAIN.argmax(1)]
LEAST = np.where(np.arange(6) == 2, -np.float32(3.4e38), PLAIN).astype("f4")

RIGHT: dict[str, tuple[Any, Any]] = {
    "the same": (PLAIN, PLAIN),
    "int8 by one scale": (rounded(PLAIN), PLAIN),
    "float16": (PLAIN.astype("f2"), PLAIN),
    "float16 of boxes and scores": (HEAD.astype("f2").astype("f4"), HEAD),
    "int8 of scores with their own scale": (
        np.concatenate([rounded(HEAD[:, :4]), rounded(HEAD[:, 4:])], axis=1),
        HEAD,
    ),
    "int8 of sparse scores": (rounded(SPARSE), SPARSE),
    "int8 of softmax": (rounded(softmax(PLAIN).astype("f4")), softmax(PLAIN).astype("f4")),
    "int8 of saturated softmax": (rounded(SURE), SURE),
    "one-hot": (ONE_HOT, ONE_HOT),
    "masked class": (np.where(np.isinf(MASKED), -65504, rounded(PLAIN)), MASKED),
    "masked by the least number": (np.where(LEAST < -1e30, -np.inf, rounded(PLAIN)), LEAST),
    "constant channel": (np.where(np.arange(6) == 2, 3, rounded(PLAIN)).astype("f4"), DEAD),
    "padded channel": (np.where(np.arange(6) == 2, 4e-8, rounded(PLAIN / 20)), PADDED),
    "whole numbers": (PLAIN.argmax(1), PLAIN.argmax(1)),
    "truth values": (PLAIN > 0, PLAIN > 0),
    "strings": (np.array(["a", "b"]), np.array(["a", "b"])),
    "picture in bytes": (
        (128 + 20 * PLAIN + 0.7).astype("u1"),
        (128 + 20 * PLAIN).astype("u1"),
    ),
    "one number": (rounded(PLAIN[:, :1]), PLAIN[:, :1]),
    "no axis but rows": (rounded(PLAIN[:, 0]), PLAIN[:, 0]),
    "two rows": (rounded(PLAIN[:2]), PLAIN[:2]),
    "one row": (rounded(PLAIN[:1]), PLAIN[:1]),
    "parts": (
        Parts(tuple(rounded(PLAIN[:n]) for n in (3, 5, 8))),
        Parts(tuple(PLAIN[:n] for n in (3, 5, 8))),
    ),
}


@pytest.mark.parametrize("case", sorted(RIGHT))
def test_what_is_right_is_not_refused(case: str) -> None:
    found = verdict(*RIGHT[case])
    assert found.passed, found.reason
    assert 0 <= found.value <= found.limit


WRONG: dict[str, tuple[Any, Any, str, str]] = {
    "scores in the boxes' scale": (rounded(HEAD), HEAD, "collapse", r"channel 4: FP32 has \d+ dis"),
    "two values for one channel": (
        np.where(np.arange(6) == 4, np.sign(PLAIN), PLAIN),
        PLAIN,
        "collapse",
        "channel 4: FP32 has 200 distinct values, this rung 2",
    ),
    "constant channel": (
        np.where(np.arange(6) == 4, 0, PLAIN),
        PLAIN,
        "collapse",
        "channel 4: FP32 has 200 distinct values, this rung 1",
    ),
    "another's channel": (
        np.where(np.arange(6) == 4, PLAIN[::-1], PLAIN),
        PLAIN,
        "collapse",
        "channel 4: its correlation with FP32 is",
    ),
    "one number, off by a tenth": (1.1 * PLAIN[:, :1], PLAIN[:, :1], "error", "error is 0.1 of"),
    "one number, off by a tenth of a large mean": (
        1.1 * (5 + PLAIN[:, 0]),
        5 + PLAIN[:, 0],
        "error",
        r"error is 0.5\d of",
    ),
    "one channel, half its size": (
        np.where(np.arange(6) == 4, 0.5 * PLAIN, PLAIN),
        PLAIN,
        "error",
        "channel 4: the error is 0.5 of",
    ),
    "a twelfth of the rows": (
        np.where(np.arange(ROWS)[:, None] < ROWS // 12, -0.1 * PLAIN, PLAIN),
        PLAIN,
        "rows",
        "% of rows are off by half of FP32's spread, the worst row",
    ),
    "NaN": (np.where(PLAIN > 2, np.nan, PLAIN), PLAIN, "collapse", "NaN or infinity in row"),
    "masked class comes back": (PLAIN, MASKED, "collapse", "not where FP32 has it"),
    "signal beneath a common shape": (
        np.broadcast_to(np.linspace(0, 50, 8)[:, None], (ROWS, 8, 6)).astype("f4"),
        (np.linspace(0, 50, 8)[:, None] + PLAIN[:, None]).astype("f4"),
        "collapse",
        "this rung 1$",
    ),
    "classes": (
        np.roll(PLAIN.argmax(1), 1),
        PLAIN.argmax(1),
        "unequal",
        "of its values are not FP32's, first in row",
    ),
    "truth values": (PLAIN > 0.1, PLAIN > 0, "unequal", "not FP32's"),
    "strings": (np.array(["a", "b"]), np.array(["a", "c"]), "unequal", "50.0% .* first in row 1"),
    "another shape": (PLAIN[:, :5], PLAIN, "shape", r"its shape is \(200, 5\), FP32's \(200, 6\)"),
    "nothing": (None, PLAIN, "shape", "holds no numbers"),
    "parts of other shapes": (
        Parts((PLAIN[:3], PLAIN[:4], PLAIN[:8])),
        Parts((PLAIN[:3], PLAIN[:5], PLAIN[:8])),
        "shape",
        "33.3% of rows have another shape",
    ),
    "parts that collapse": (
        Parts(tuple(np.where(np.arange(6) == 4, 1, PLAIN[n:]) for n in (0, 50))),
        Parts(tuple(PLAIN[n:] for n in (0, 50))),
        "collapse",
        "channel 4: FP32 has 200 distinct values, this rung 1",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_is_wrong_is_refused_by_its_measure_and_its_place(case: str) -> None:
    given, reference, measure, told = WRONG[case]
    found = verdict(given, reference)
    assert not found.passed
    assert found.measure == measure
    assert found.value > found.limit
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(found.reason)
    assert found.reason.startswith("output 'y' ")


def test_another_class_on_top_is_told_of_probabilities_alone() -> None:
    given = softmax(PLAIN + RNG.normal(0, 0.3, PLAIN.shape))
    assert drops(given, softmax(PLAIN))["first places"] == pytest.approx(
        (given.argmax(1) != PLAIN.argmax(1)).mean()
    )
    assert "first places" not in drops(PLAIN, PLAIN)


def test_ranks_are_told_of_one_number_per_row() -> None:
    assert drops(-PLAIN[:, :1], PLAIN[:, :1])["ranks"] == 1.0
    assert drops(np.exp(PLAIN[:, :1]), PLAIN[:, :1])["ranks"] == pytest.approx(0, abs=1e-9)


def test_a_model_of_other_units_is_no_collapsed_one() -> None:
    """A student trained to the same labels: other scale and offset, correlation 0.8. The metric is its judge."""
    student = 0.2 * (0.8 * PLAIN + 0.6 * RNG.normal(size=PLAIN.shape)) - 4
    assert verdict(student, PLAIN, "all").passed
    assert not verdict(student, PLAIN, "nothing").passed


def test_what_the_metric_sees_as_one_number_may_lose_no_half_channel() -> None:
    mild, half = (np.where(np.arange(6) == 4, share * PLAIN, PLAIN) for share in (0.5, 0.2))
    assert verdict(mild, PLAIN, "likeness").passed
    assert not verdict(half, PLAIN, "likeness").passed
    assert verdict(half, PLAIN, "all").passed


def test_fidelity_is_the_worst_of_all_outputs_and_its_interval_is_of_rows() -> None:
    from deployer.optimization.gate import accuracy_gate

    metric = metrics.resolve("fidelity")
    reference = {"a": PLAIN, "b": PLAIN[:, :1]}
    given = {"a": rounded(PLAIN), "b": (1.1 * PLAIN[:, :1]).astype("f4")}
    assert metric.score(reference, reference, None) == 1.0
    assert metric.score(given, reference, None) == pytest.approx(0.9, abs=0.002)
    assert metric.score({"a": PLAIN}, reference, None) == 0.0
    found = accuracy_gate(metric, given, reference, None, max_drop=0.05, seed=0)
    assert not found.passed
    assert found.low <= found.value <= found.high < 0.12
    assert accuracy_gate(metric, given, reference, None, max_drop=0.12, seed=0).passed


def test_answers_survive_their_file(tmp_path: Path) -> None:
    known = {
        "array": PLAIN,
        "words": np.array(["yes", "nö"]),
        "parts": Parts((PLAIN[:2], PLAIN[:0], np.float32(3).reshape(()))),
    }
    answers.save(known, tmp_path / "a.npz")
    found = answers.load(tmp_path / "a.npz")
    assert list(found) == list(known)
    assert found["array"].tobytes() == PLAIN.tobytes()
    assert found["words"].tolist() == ["yes", "nö"]
    assert [part.shape for part in found["parts"]] == [(2, 6), (0, 6), ()]
    assert found["parts"][[2, 0]].arrays[1].tolist() == PLAIN[:2].tolist()
