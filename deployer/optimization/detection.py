"""Detections of any usual form, and mean average precision and recall over them.

Forms of output, one of (axes of one beside are dropped where an output was asked row by row):

- (rows, n, 6): x1, y1, x2, y2, score, class, suppressed already;
- (rows, 4 + classes, anchors): a YOLOv8 head, boxes as centre, width, height; suppressed here;
- outputs named after boxes, scores and labels or classes: (rows, n, 4), (rows, n), (rows, n), suppressed already;
- boxes and scores without classes of their own, (rows, n, 4) and (rows, n, classes); suppressed here.

Right answers are ``label_boxes`` (rows, m, 4), corners in the model's own unit, and ``label_classes`` (rows, m), padded
with -1; without them FP32's own detections of ``SURE`` and more are the truth. Average precision is COCO's (Lin 2014):
101 points, each detection by falling score takes the best free box of its class; ``map`` is its mean over IoU 0.50 to
0.95, ``map50`` at 0.50. ``recall50`` is the share of right boxes that a detection of ``SURE`` and more finds; it
does not see what is detected too much. Over a choice of rows scores are ranked together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization.answers import Answers
from deployer.optimization.session import Array
from deployer.stats import Floats

SURE, LEAST = 0.25, 0.01
OVERLAP = 0.5
MOST = 300
"""Detections kept per row before suppression: the best by score."""

COCO = np.linspace(0.5, 0.95, 10)
_POINTS = np.linspace(0, 1, 101)
Chosen = Callable[[Array], float]


@dataclass(frozen=True)
class Boxes:
    """Corners, scores and classes of one row's detections, best first."""

    corners: Floats
    scores: Floats
    classes: Array

    def above(self, score: float) -> Boxes:
        """Return those of at least this score."""
        kept = self.scores >= score
        return Boxes(self.corners[kept], self.scores[kept], self.classes[kept])


@dataclass(frozen=True)
class Matches:
    """Detections of all rows by falling score: row, class, score, and by threshold whether each found a box."""

    rows: Array
    classes: Array
    scores: Floats
    hits: Array
    truths: Array
    """How many right boxes each row has, by class: (rows, classes)."""

    known: Array


def used(outputs: Answers) -> list[str]:
    """Return the outputs that hold the detections. Raises InputError where they have no known form."""
    named = {
        kind: next((n for n in outputs if any(word in n.lower() for word in words)), None)
        for kind, words in (("boxes", ("box",)), ("scores", ("score", "conf", "prob")))
    }
    if named["boxes"] and named["scores"] and named["boxes"] != named["scores"]:
        both = [named["boxes"], named["scores"]]
        left = (n for n in outputs if n not in both)
        more = next((n for n in left if "label" in n.lower() or "class" in n.lower()), None)
        return [n for n in (*both, more) if n]
    for name, answer in outputs.items():
        if any(_form(_plain(part)) for part in answer):
            return [name]
    shapes = "; ".join(
        f"{name} {next(iter(answer)).shape} for a row" for name, answer in outputs.items()
    )
    raise InputError(
        f"no output holds boxes in a known form: {shapes}",
        hint="(rows, n, 6), (rows, 4 + classes, anchors), or outputs named boxes, scores, labels",
    )


def detections(outputs: Answers, names: list[str]) -> list[Boxes]:
    """Return each row's detections of ``LEAST`` and more, suppressed at IoU 0.5 where the model does not do so."""
    columns = [outputs[name] for name in names]
    return [_row(*(np.asarray(part) for part in parts)) for parts in zip(*columns, strict=True)]


def _row(*parts: Array) -> Boxes:
    if len(parts) > 1:
        boxes, scores = parts[0].reshape(-1, 4), _plain(parts[1])
        if len(parts) > 2:
            return _sorted(boxes, scores.ravel(), parts[2].ravel().astype(np.int64))
        scores = scores.reshape(len(boxes), -1)
        return _suppressed(boxes, scores)
    plain = _plain(parts[0])
    if _form(plain) == "head":
        middle, size = plain[:2].T, plain[2:4].T
        return _suppressed(np.hstack([middle - size / 2, middle + size / 2]), plain[4:].T)
    rows = plain.reshape(-1, 6)
    return _sorted(rows[:, :4], rows[:, 4], rows[:, 5].round().astype(np.int64))


def _form(row: Array) -> str | None:
    """Return what one row's output is: ``six`` columns of finished detections or a ``head``."""
    if row.ndim == 2 and row.shape[1] == 6:
        return "six"
    if row.ndim == 1 and row.shape == (6,):
        return "six"
    return "head" if row.ndim == 2 and 4 < row.shape[0] < row.shape[1] else None


def _plain(part: Any) -> Array:
    row = np.asarray(part)
    while row.ndim > 2 and row.shape[0] == 1:
        row = row[0]
    return row


def _sorted(corners: Array, scores: Array, classes: Array) -> Boxes:
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= LEAST]
    return Boxes(
        corners[order].astype(np.float64), scores[order].astype(np.float64), classes[order]
    )


def _suppressed(corners: Array, scores: Array) -> Boxes:
    """Keep the best class of each box, and of boxes of one class that overlap the best (Girshick 2014)."""
    first = scores.argmax(axis=1)
    found = _sorted(corners, scores[np.arange(len(scores)), first], first)
    found = Boxes(found.corners[:MOST], found.scores[:MOST], found.classes[:MOST])
    overlaps = iou(found.corners, found.corners) > OVERLAP
    overlaps &= found.classes[:, None] == found.classes[None]
    free = np.ones(len(found.scores), dtype=bool)
    for place in range(len(free)):
        if free[place]:
            free[place + 1 :] &= ~overlaps[place, place + 1 :]
    return Boxes(found.corners[free], found.scores[free], found.classes[free])


def iou(some: Floats, others: Floats) -> Floats:
    """Return the intersection over the union of boxes by corners, (some, others); empty boxes overlap nothing."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1) for x in (some, others)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.asarray(common / np.where(union > 0, union, 1))


def truth(labels: Any, reference: list[Boxes]) -> list[tuple[Floats, Array]]:
    """Return each row's right boxes and classes: the labels', or FP32's sure ones. Raises InputError for others."""
    if labels is None:
        sure = [row.above(SURE) for row in reference]
        found = [(row.corners, row.classes) for row in sure]
    else:
        known = labels if isinstance(labels, Mapping) else {}
        boxes, classes = known.get("boxes"), known.get("classes")
        if boxes is None or classes is None or boxes.shape != (*classes.shape, 4):
            raise InputError(
                "detections need 'label_boxes' (rows, m, 4) and 'label_classes' (rows, m), padded with -1",
                hint="without labels FP32's own detections are the truth",
            )
        found = [
            (b[c >= 0].astype(np.float64), c[c >= 0]) for b, c in zip(boxes, classes, strict=True)
        ]
    if not any(len(classes) for _, classes in found):
        source = (
            f"FP32 detects nothing of {SURE:g} and more" if labels is None else "no box is labelled"
        )
        raise InputError(f"there is nothing to detect in the evaluation rows: {source}")
    return found


def matched(found: list[Boxes], right: list[tuple[Floats, Array]], thresholds: Floats) -> Matches:
    """Give each detection, best first, the best free box of its class that it overlaps, by threshold."""
    known = np.unique(np.concatenate([classes for _, classes in right]))
    hits = [
        np.stack([_hits(row, *boxes, limit) for limit in thresholds])
        for row, boxes in zip(found, right, strict=True)
    ]
    rows = np.repeat(np.arange(len(found)), [len(row.scores) for row in found])
    scores = np.concatenate([row.scores for row in found])
    order = np.argsort(-scores, kind="stable")
    truths = np.stack([(classes[:, None] == known[None]).sum(axis=0) for _, classes in right])
    classes = np.concatenate([row.classes for row in found])
    return Matches(
        rows[order],
        classes[order],
        scores[order],
        np.concatenate(hits, axis=1)[:, order],
        truths,
        known,
    )


def _hits(row: Boxes, corners: Floats, classes: Array, limit: float) -> Array:
    hit = np.zeros(len(row.scores), dtype=bool)
    overlaps = np.where(row.classes[:, None] == classes[None], iou(row.corners, corners), 0.0)
    free = np.ones(len(classes), dtype=bool)
    for place in range(len(hit)):
        left = np.where(free, overlaps[place], 0.0)
        if left.size and left.max() >= limit:
            hit[place], free[left.argmax()] = True, False
    return hit


def precision(thresholds: Floats) -> Callable[[Any, Any, Any], Chosen]:
    """Return the mean average precision, over the thresholds of IoU and the classes that are there."""

    def prepared(outputs: Any, reference: Any, labels: Any) -> Chosen:
        found = _matched(outputs, reference, labels, thresholds, LEAST)
        return lambda pick: _precision(found, np.bincount(pick, minlength=len(found.truths)))

    return prepared


def recall(outputs: Any, reference: Any, labels: Any) -> Chosen:
    """Return the share of right boxes that a sure detection finds at IoU 0.5."""
    found = _matched(outputs, reference, labels, COCO[:1], SURE)
    rows = len(found.truths)
    hits = np.bincount(found.rows, weights=found.hits[0], minlength=rows)
    truths = found.truths.sum(axis=1)
    return lambda pick: float(hits[pick].sum() / max(1, truths[pick].sum()))


def _matched(outputs: Any, reference: Any, labels: Any, limits: Floats, least: float) -> Matches:
    names = used(reference)
    own = detections(reference, names)
    found = [
        row.above(least) for row in (own if outputs is reference else detections(outputs, names))
    ]
    return matched(found, truth(labels, own), limits)


def _precision(found: Matches, weights: Array) -> float:
    total = weights @ found.truths
    values = []
    for place, one in enumerate(found.known):
        if not total[place]:
            continue
        of_class = found.classes == one
        times = weights[found.rows[of_class]]
        hits = np.cumsum(found.hits[:, of_class] * times, axis=1)
        share = hits / np.maximum(np.cumsum(times), 1)
        share = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
        values += [_area(h / total[place], s) for h, s in zip(hits, share, strict=True)]
    return float(np.mean(values)) if values else 0.0


def _area(recalls: Floats, share: Floats) -> float:
    """Return the mean of the best precision at 101 recalls; one that is not reached counts 0."""
    places = np.searchsorted(recalls, _POINTS - 1e-12)
    return float(np.append(share, 0.0)[places].mean())
