"""How near the ladder's choice stays to FP32 in what the model is for: a share of equal decisions, of boxes found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST = {"boxes": 0.98, "classes": 0.98, "decisions": 0.98, "near": 0.98}
"""Below this a choice is wrong."""
FEWEST_BOXES = 100


class Verdict(NamedTuple):
    """``value`` of ``measure``, over ``count`` boxes, decisions or rows."""

    measure: str
    value: float
    count: int

    @property
    def right(self) -> bool:
        """Whether the choice keeps what FP32 answers."""
        enough = self.measure != "boxes" or self.count >= FEWEST_BOXES
        return enough and self.value >= LEAST[self.measure]


def judge(
    measure: str, wanted: Sequence[Sequence[Array]], got: Sequence[Sequence[Array]]
) -> Verdict:
    """Hold answers against FP32's: for each example the outputs in their order."""
    values, counts = zip(
        *(_MEASURES[measure](a, b) for a, b in zip(wanted, got, strict=True)), strict=True
    )
    total = sum(counts)
    return Verdict(measure, float(np.dot(values, counts) / total) if total else 1.0, total)


def _classes(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[float, int]:
    """Return the share of places whose largest of the last axis is the same, in the first output."""
    same = wanted[0].argmax(-1) == got[0].argmax(-1)
    return float(same.mean()), same.size


def _decisions(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[float, int]:
    """Return the agreement of what is above one half: by Dice where it is rare, else by share.

    Dice counts only what at least one of the two takes for true, so that an empty page is no success.
    """
    a, b = (
        np.concatenate([output.ravel() for output in outputs[:1]]) > 0.5
        for outputs in (wanted, got)
    )
    true = int(a.sum() + b.sum())
    if a.size > 1000:
        return (2 * float((a & b).sum()) / true, true) if true else (1.0, 0)
    return float((a == b).mean()), a.size


def _near(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[float, int]:
    """Return the share of FP32's variance that the worst output keeps (R squared)."""
    worst = 0.0
    for a, b in zip(wanted, got, strict=True):
        if a.dtype.kind != "f":
            worst = max(worst, float((a != b).mean()))
            continue
        error, scale = np.abs(a.astype(float) - b), float(a.std()) or float(np.abs(a).max()) or 1.0
        worst = max(worst, float(np.sqrt(np.mean(error**2))) / scale)
    return max(0.0, 1 - worst**2), 1


def _boxes(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[float, int]:
    """Return the share of FP32's detections that are found: of the same class, IoU 0.5 or more, each once."""
    theirs, ours = detections(wanted[0][0]), detections(got[0][0])
    free, found = list(range(len(ours))), 0
    for box, kind in theirs:
        fits = [
            place for place in free if ours[place][1] == kind and iou(box, ours[place][0]) >= 0.5
        ]
        if fits:
            free.remove(max(fits, key=lambda place: iou(box, ours[place][0])))
            found += 1
    return (found / len(theirs) if theirs else 1.0), len(theirs)


def detections(output: Array) -> list[tuple[Array, int]]:
    """Return (box, class) of a picture as nudenet does: score 0.2, then 0.25, and suppression at IoU 0.45.

    ``output`` is (4 + classes, places): centre, width and height, then a score for each class.
    """
    scores, kinds = output[4:].max(0), output[4:].argmax(0)
    order = [place for place in np.argsort(-scores, kind="stable") if scores[place] > 0.25]
    kept: list[tuple[Array, int]] = []
    for place in order:
        x, y, width, height = output[:4, place]
        box = np.array([x - width / 2, y - height / 2, width, height])
        if all(iou(box, other) <= 0.45 for other, _ in kept):
            kept.append((box, int(kinds[place])))
    return kept


def iou(a: Array, b: Array) -> float:
    """Return the overlap of two boxes (left, top, width, height), as a share of what they cover together."""
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.clip(sides, 0, None)))
    union = float(a[2] * a[3] + b[2] * b[3]) - both
    return both / union if union > 0 else 0.0


_MEASURES: dict[str, Callable[[Sequence[Array], Sequence[Array]], tuple[float, int]]] = {
    "classes": _classes, "decisions": _decisions, "near": _near, "boxes": _boxes,
}  # fmt: skip
