"""What "accurate" means: each metric as one number, and per row where it is a mean of rows.

Of the first output, against labels: accuracy, topK (top3, top5, ...), f1 (macro), auc, spearman, sts, ndcg. Of all
outputs: map, map50, recall50 (boxes), wer, cer (sequences), which take FP32's own answers for the truth where there
are no labels. Without labels, against FP32's answers to the same rows: fidelity (all outputs, each measure of
``deployer.optimization.fidelity``) and cosine (first output). ``module:function`` names one of yours:
``function(outputs, labels) -> float``, more is better; ``outputs`` is the array of a model with one output, and a
dict of arrays by name where there are several (a list of arrays, one for each row, where rows differ in shape).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from deployer.errors import InputError
from deployer.optimization import second
from deployer.optimization.answers import Parts
from deployer.optimization.fidelity import ranks
from deployer.optimization.imported import imported
from deployer.optimization.session import Array
from deployer.stats import Floats

Labels = Array | Mapping[str, Array] | None
"""One array of right answers by row, or several by the name after ``label_``."""

Score = Callable[[Any, Any, Any], float]
Rows = Callable[[Array, Array, Array | None], Floats]
Over = Callable[[Any, Any, Any], Callable[[Array], float]]
Sees = Literal["all", "likeness"]


@dataclass(frozen=True)
class Metric:
    """A score of (outputs, FP32 outputs, labels); more is better.

    ``rows`` gives one value per row whose mean is the score; None where the score is no mean of rows. ``binary`` says
    that a row is right or wrong, 1 or 0, and nothing between. A ``whole`` metric is given all outputs by name, others
    the first. ``over`` prepares a function of chosen rows, where the score of many choices is cheaper together.
    ``sees`` tells whether it is the judge of what it is given, a collapse apart, or one number for all its channels.
    """

    name: str
    needs_labels: bool
    score: Score
    rows: Rows | None = None
    binary: bool = False
    whole: bool = False
    over: Over | None = None
    sees: Sees = "all"

    def chosen(self, outputs: Any, reference: Any, labels: Any) -> Callable[[Array], float]:
        """Return the score as a function of an index array of rows."""
        if self.over is not None:
            return self.over(outputs, reference, labels)
        return lambda pick: self.score(
            taken(outputs, pick), taken(reference, pick), taken(labels, pick)
        )


def taken(values: Any, pick: Array) -> Any:
    """Return chosen rows of an answer, of answers by name, or of labels."""
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {name: value[pick] for name, value in values.items()}
    return values[pick]


def count(values: Any) -> int:
    """Return the rows of an answer or of answers by name."""
    return len(next(iter(values.values()))) if isinstance(values, Mapping) else len(values)


def resolve(name: str) -> Metric:
    """Return the metric of that name. Raises InputError listing the known ones."""
    if match := re.fullmatch(r"top-?([1-9]\d*)", name):
        return _mean_metric(name, _top_k(int(match[1])), binary=True)
    if ":" in name:
        return Metric(name, False, _user_metric(name), whole=True)
    known = {
        "accuracy": _mean_metric("accuracy", _top_k(1), binary=True),
        "fidelity": Metric("fidelity", False, _fidelity, whole=True, over=second.over),
        "cosine": replace(_mean_metric("cosine", _cosine_rows, binary=False), sees="likeness"),
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
            raise InputError(f"top{k} needs {k} classes, the model gives {flat.shape[1]}")
        best = np.argsort(-flat, axis=1, kind="stable")[:, :k]
        hits: Floats = (best == _class_labels(labels)[:, None]).any(axis=1).astype(np.float64)
        return hits

    return rows


def _cosine_rows(outputs: Array, reference: Array, labels: Array | None) -> Floats:
    if reference[0].size == 1:
        raise InputError(
            f"cosine of one number per row is its sign; the model gives {reference.shape}",
            hint="--metric fidelity, or spearman with labels",
        )
    a = outputs.reshape(len(outputs), -1).astype(np.float64)
    b = reference.reshape(len(reference), -1).astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found = (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    both_zero = ~(a.any(axis=1) | b.any(axis=1))
    return np.asarray(np.where(both_zero, 1.0, found))


def _fidelity(outputs: Any, reference: Any, labels: Any) -> float:
    return second.over(outputs, reference, labels)(np.arange(count(reference)))


def _f1(outputs: Array, reference: Array, labels: Array | None) -> float:
    wanted, given = _class_labels(labels), _scores(outputs).argmax(axis=1)
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
    a, b = ranks(given[:, 0]), ranks(labels)
    if a.std() == 0 or b.std() == 0:
        return 0.0  # a constant answer ranks nothing
    return float(np.corrcoef(a, b)[0, 1])


def _scores(outputs: Array) -> Array:
    if outputs.ndim != 2:
        raise InputError(
            f"the metric needs (rows, classes) outputs, the model gives {outputs.shape}"
        )
    return outputs


def _class_labels(labels: Array | None) -> Array:
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        shape = None if labels is None else f"{labels.dtype.name} {labels.shape}"
        raise InputError(f"labels must be one whole number per row, not {shape}")
    return labels


def _user_metric(name: str) -> Score:
    function = imported(name, "metric")

    def score(outputs: Any, reference: Any, labels: Any) -> float:
        try:
            value = float(function(_given(outputs), labels))
        except Exception as error:  # whatever the user's function raises is the user's to see
            raise InputError(f"metric {name!r} raised {type(error).__name__}: {error}") from error
        if not np.isfinite(value):
            raise InputError(f"metric {name!r} returned {value!r}")
        return value

    return score


def _given(outputs: Any) -> Any:
    """Return what a user's function is given: plain arrays, by name only where there are several outputs."""
    if not isinstance(outputs, Mapping):
        return outputs
    plain = {n: list(x) if isinstance(x, Parts) else x for n, x in outputs.items()}
    return next(iter(plain.values())) if len(plain) == 1 else plain
