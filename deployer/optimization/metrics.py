"""What "accurate" means: each metric as one number, and per row where it is a mean of rows.

accuracy, topK (top3, top5, ...), f1 (macro), spearman need labels; cosine compares with the FP32 answer
of the same row. ``module:function`` names one of yours: ``function(outputs, labels) -> float``, more is better.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deployer.errors import InputError
from deployer.optimization.imported import imported
from deployer.optimization.session import Array
from deployer.stats import Floats

_OWN = "it is called as function(outputs, labels) and returns one number, of which more is better"
Score = Callable[[Array, Array, Array | None], float]
Rows = Callable[[Array, Array, Array | None], Floats]


@dataclass(frozen=True)
class Metric:
    """A score of (outputs, FP32 outputs, labels); more is better.

    ``rows`` gives one value per row whose mean is the score; None where the score is no mean of rows. ``binary`` says
    that a row is right or wrong, 1 or 0, and nothing between.
    """

    name: str
    needs_labels: bool
    score: Score
    rows: Rows | None = None
    binary: bool = False


def resolve(name: str) -> Metric:
    """Return the metric of that name. Raises InputError listing the known ones."""
    if match := re.fullmatch(r"top-?([1-9]\d*)", name):
        return _mean_metric(name, _top_k(int(match[1])), binary=True)
    if ":" in name:
        return Metric(name, False, _user_metric(name))
    known = {
        "accuracy": _mean_metric("accuracy", _top_k(1), binary=True),
        "cosine": _mean_metric("cosine", _cosine_rows, binary=False),
        "f1": Metric("f1", True, _f1),
        "spearman": Metric("spearman", True, _spearman),
    }
    if name not in known:
        raise InputError(
            f"unknown metric {name!r}", hint=f"one of {', '.join(known)}, topK, or module:function"
        )
    return known[name]


def _mean_metric(name: str, rows: Rows, *, binary: bool) -> Metric:
    return Metric(name, binary, lambda o, r, y: float(rows(o, r, y).mean()), rows, binary)


def _top_k(k: int) -> Rows:
    def rows(outputs: Array, reference: Array, labels: Array | None) -> Floats:
        flat = _scores(outputs)
        if flat.shape[1] < k:
            raise InputError(
                f"top{k} needs {k} classes, the model gives {flat.shape[1]}",
                hint=f"choose --metric accuracy, or top2 to top{flat.shape[1]}",
            )
        best = np.argsort(-flat, axis=1, kind="stable")[:, :k]
        hits: Floats = (
            (best == _class_labels(labels, flat.shape[1])[:, None]).any(axis=1).astype(np.float64)
        )
        return hits

    return rows


def _cosine_rows(outputs: Array, reference: Array, labels: Array | None) -> Floats:
    a = outputs.reshape(len(outputs), -1).astype(np.float64)
    b = reference.reshape(len(reference), -1).astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found = (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    both_zero = ~(a.any(axis=1) | b.any(axis=1))
    return np.asarray(np.where(both_zero, 1.0, found))


def _likeness_rows(outputs: Array, reference: Array, labels: Array | None) -> Floats:
    """Cosine; of one number per row (whose cosine is a sign) its nearness; rows of integers are equal or not."""
    a, b = (x.reshape(len(x), -1) for x in (outputs, reference))
    if reference.dtype.kind != "f":
        return np.asarray((a == b).all(axis=1), dtype=np.float64)
    if b.shape[1] != 1:
        return _cosine_rows(outputs, reference, labels)
    scale = max(float(np.abs(b).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return np.asarray(1 - np.abs(a - b)[:, 0].astype(np.float64) / scale)


LIKENESS = _mean_metric("likeness", _likeness_rows, binary=False)
"""To FP32's answer, of an output that no named metric is for."""


def _f1(outputs: Array, reference: Array, labels: Array | None) -> float:
    flat = _scores(outputs)
    wanted, given = _class_labels(labels, flat.shape[1]), flat.argmax(axis=1)
    scores = []
    for label in np.union1d(wanted, given):
        hits = np.count_nonzero((wanted == label) & (given == label))
        scores.append(
            2 * hits / (np.count_nonzero(wanted == label) + np.count_nonzero(given == label))
        )
    return float(np.mean(scores))


def _spearman(outputs: Array, reference: Array, labels: Array | None) -> float:
    given = outputs.reshape(len(outputs), -1)
    if labels is None or given.shape[1] != 1:
        raise InputError(f"spearman needs labels and one number per row, not {outputs.shape}")
    a, b = _ranks(given[:, 0]), _ranks(labels)
    if a.std() == 0 or b.std() == 0:
        return 0.0  # a constant answer ranks nothing
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Array) -> Floats:
    """Ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return np.asarray((first + (counts - 1) / 2)[inverse], dtype=np.float64)


def _scores(outputs: Array) -> Array:
    if outputs.ndim != 2:
        raise InputError(
            f"the metric needs (rows, classes) outputs, the model gives {outputs.shape}"
        )
    return outputs


def _class_labels(labels: Array | None, classes: int) -> Array:
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        shape = None if labels is None else f"{labels.dtype.name} {labels.shape}"
        raise InputError(
            f"labels must be one whole number per row, not {shape}",
            hint="give 'label' the number of each row's class, from 0 on: labels.astype('int64')",
        )
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        row = outside[0]
        raise InputError(
            f"'label' is {labels[row]} in row {row}, and the model tells {classes} classes apart",
            hint=f"number the classes from 0 to {classes - 1}, in the model's own order",
        )
    return labels


def _user_metric(name: str) -> Score:
    function = imported(name, "metric")

    def score(outputs: Array, reference: Array, labels: Array | None) -> float:
        try:
            value = float(function(outputs, labels))
        except Exception as error:  # whatever the user's function raises is the user's to see
            raise InputError(
                f"metric {name!r} raised {type(error).__name__}: {error}", hint=_OWN
            ) from error
        if not np.isfinite(value):
            raise InputError(f"metric {name!r} returned {value!r}", hint=_OWN)
        return value

    return score
