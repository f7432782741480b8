"""Detections in every form that is read, and precision and recall against values worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployer.errors import InputError
from deployer.optimization import detection, metrics
from deployer.optimization.answers import Parts

pytestmark = pytest.mark.optimize

CORNERS = np.array([[10, 10, 30, 30], [50, 50, 70, 90], [100, 20, 140, 60]], "f4")
SCORES, KINDS = np.array([0.9, 0.8, 0.6], "f4"), np.array([1, 0, 1])
SIX = np.column_stack([CORNERS, SCORES, KINDS]).astype("f4")


def head(anchors: int = 20) -> np.ndarray:
    """The same boxes as a YOLOv8 head of two classes, each with a lesser double of itself."""
    made = np.zeros((6, anchors), "f4")
    for place, (corners, value, kind) in enumerate(zip(CORNERS, SCORES, KINDS, strict=True)):
        middle, size = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
        for twin, less in ((2 * place, 0.0), (2 * place + 1, 0.05)):
            made[:4, twin] = [*(middle + 10 * less), *size]
            made[4 + kind, twin] = value - less
    return made


FORMS: dict[str, dict[str, Any]] = {
    "six columns": {"output": SIX[None]},
    "six columns, by row": {"output": Parts((SIX,))},
    "six columns, a batch of one": {"output": Parts((SIX[None],))},
    "head": {"output0": head()[None]},
    "head, asked alone, beside another": {"output0": head()[None, None], "proto": np.ones((1, 3, 9))},
    "boxes, scores, labels": {
        "labels": Parts((KINDS,)), "boxes": Parts((CORNERS,)), "scores": Parts((SCORES,)),
    },
    "boxes and scores by class": {
        "det_boxes": np.tile(head()[None, :2].transpose(0, 2, 1), 2) + np.repeat([-10, 10], 2),
        "det_scores": head()[None, 4:].transpose(0, 2, 1),
    },
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_gives_the_same_detections(form: str) -> None:
    outputs = FORMS[form]
    (found,) = detection.detections(outputs, detection.used(outputs))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])
    assert found.classes.tolist() == [1, 0, 1]
    if "by class" not in form:  # whose boxes are another shape
        assert found.corners == pytest.approx(CORNERS)


def test_what_has_no_form_is_told_with_its_shapes() -> None:
    with pytest.raises(InputError, match=r"no output holds boxes.*y \(4,\) for a row"):
        metrics.resolve("map50").score({"y": np.ones((2, 4))}, {"y": np.ones((2, 4))}, None)


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 9]], float)
    wanted = [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]]
    assert detection.iou(boxes, boxes) == pytest.approx(np.array(wanted))


LABELS = {
    "boxes": np.array([[[10, 10, 30, 30], [50, 50, 70, 90], [0, 0, 5, 5], [-1] * 4]], "f4"),
    "classes": np.array([[1, 0, 1, -1]]),
}


def score(name: str, outputs: Any, labels: Any = None, reference: Any = None) -> float:
    known = outputs if reference is None else reference
    return metrics.resolve(name).score(outputs, known, labels)


def test_precision_and_recall_by_hand() -> None:
    """Class 0: found, 1. Class 1: one of two found, first: precision 1 up to recall 0.5, 51 of 101 points."""
    outputs = {"output": SIX[None]}
    assert score("map50", outputs, LABELS) == pytest.approx((1 + 51 / 101) / 2)
    assert score("map", outputs, LABELS) == pytest.approx((1 + 51 / 101) / 2)  # the boxes are exact
    assert score("recall50", outputs, LABELS) == pytest.approx(2 / 3)


def test_a_box_is_found_once_and_by_its_own_class() -> None:
    double = {"output": SIX[None, [0, 0, 1]]}
    assert score("map50", double, LABELS) == pytest.approx((1 + 51 / 101) / 2)
    other = SIX[None].copy()
    other[0, :, 5] = 1 - other[0, :, 5]
    assert score("map50", {"output": other}, LABELS) == 0.0


def test_map_falls_as_boxes_shift_where_map50_does_not() -> None:
    """Shifted by a tenth of its side: IoU 0.9 / 1.1 = 0.818, above 7 of the 10 thresholds."""
    right = {"boxes": CORNERS[None, :1], "classes": np.array([[1]])}
    shifted = {"output": SIX[None, :1] + np.array([2, 0, 2, 0, 0, 0], "f4")}
    assert score("map50", shifted, right) == pytest.approx(1.0)
    assert score("map", shifted, right) == pytest.approx(0.7)


def test_without_labels_the_sure_detections_of_fp32_are_the_truth() -> None:
    fp32 = {"output": np.stack([SIX, SIX])}
    fewer = {"output": np.where(fp32["output"] == np.float32(0.6), 0.2, fp32["output"])}
    assert score("recall50", fp32) == 1.0
    assert score("map50", fp32) == pytest.approx(1.0)
    assert score("recall50", fewer, None, fp32) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match=r"FP32 detects nothing of 0\.25"):
        score("recall50", {"output": SIX[None] * [1, 1, 1, 1, 0.1, 1]})


def test_a_choice_of_rows_counts_a_row_as_often_as_it_is_chosen() -> None:
    """Chosen rows score as the same rows laid side by side do."""
    rng = np.random.default_rng(0)
    rows = np.stack([SIX] * 6)
    rows[:, :, 4] = rng.uniform(0.3, 1, (6, 3))
    moved = rows.copy()
    moved[::2, 0, :4] += 40
    moved[:, 2, 5] = rng.integers(0, 2, 6)
    pick = np.array([0, 0, 3, 5, 5, 5])
    for name in ("map", "map50", "recall50"):
        metric = metrics.resolve(name)
        chosen = metric.chosen({"o": moved}, {"o": rows}, None)(pick)
        assert chosen == pytest.approx(metric.score({"o": moved[pick]}, {"o": rows[pick]}, None))
        assert 0 < chosen < 1


def test_labels_of_another_shape_are_named() -> None:
    with pytest.raises(InputError, match="label_boxes"):
        score("map50", {"output": SIX[None]}, {"boxes": CORNERS[None]})
    with pytest.raises(InputError, match="label_boxes"):
        score("map50", {"output": SIX[None]}, np.zeros(1))
