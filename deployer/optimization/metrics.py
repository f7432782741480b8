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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from deployer.errors import InputError
from deployer.optimization import detection, second, taskmetrics
from deployer.optimization.answers import Answers, Parts
from deployer.optimization.imported import imported
from deployer.optimization.session import Array
from deployer.optimization.taskmetrics import classes
from deployer.stats import Floats

_OWN = "it is called as function(outputs, labels) and returns one number, of which more is better"
Labels = Array | Mapping[str, Array] | None
"""One array of right answers by row, or several by the name after ``label_``."""

Score = Callable[[Any, Any, Any], float]
Rows = Callable[[Array, Array, Array | None], Floats]
Over = Callable[[Any, Any, Any], Callable[[Array], float]]
Sees = Literal["all", "likeness"]


def _first(outputs: Answers) -> Sequence[str]:
    return [next(iter(outputs))]


@dataclass(frozen=True)
class Metric:
    """A score of (outputs, FP32 outputs, labels); more is better.

    ``rows`` gives one value per row whose mean is the score; None where the score is no mean of rows. ``binary`` says
    that a row is right or wrong, 1 or 0, and nothing between. A ``whole`` metric is given all outputs by name, others
    the first. ``over`` prepares a function of chosen rows, where the score of many choices is cheaper together.
    ``judged`` names the outputs that it judges; ``sees`` tells whether it is their judge, a collapse apart, or one
    number for all their channels. ``own_truth`` tells when FP32's answers are the right ones.
    """

    name: str
    needs_labels: bool
    score: Score
    rows: Rows | None = None
    binary: bool = False
    whole: bool = False
    over: Over | None = None
    sees: Sees = "all"
    judged: Callable[[Answers], Sequence[str]] = _first
    own_truth: Literal["never", "without labels", "always"] = "never"

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
        return Metric(name, False, _user_metric(name), whole=True, judged=list)
    if name not in _KNOWN:
        raise InputError(
            f"unknown metric {name!r}", hint=f"one of {', '.join(_KNOWN)}, topK, or module:function"
        )
    return _KNOWN[name]


def _prepared(name: str, over: Over, *, needs_labels: bool = True, **more: Any) -> Metric:
    """Return the metric whose score is that of all rows chosen once."""

    def score(outputs: Any, reference: Any, labels: Any) -> float:
        return over(outputs, reference, labels)(np.arange(count(reference)))

    return Metric(name, needs_labels, score, over=over, **more)


def _of_boxes(name: str, over: Over) -> Metric:
    more = {"whole": True, "judged": detection.used, "own_truth": "without labels"}
    return _prepared(name, over, needs_labels=False, **more)


def _of_sequences(name: str) -> Metric:
    over = taskmetrics.errors(words=name == "wer")
    return _prepared(name, over, needs_labels=False, whole=True, own_truth="without labels")


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
        right = classes(labels, flat.shape[1])
        hits: Floats = (best == right[:, None]).any(axis=1).astype(np.float64)
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


def _f1(outputs: Array, reference: Array, labels: Array | None) -> float:
    flat = _scores(outputs)
    wanted, given = classes(labels, flat.shape[1]), flat.argmax(axis=1)
    scores = []
    for label in np.union1d(wanted, given):
        hits = np.count_nonzero((wanted == label) & (given == label))
        scores.append(
            2 * hits / (np.count_nonzero(wanted == label) + np.count_nonzero(given == label))
        )
    return float(np.mean(scores))


def _spearman(outputs: Array, reference: Array, labels: Array | None) -> float:
    given = outputs.reshape(len(outputs), -1)
    if not isinstance(labels, np.ndarray) or given.shape[1] != 1:
        raise InputError(f"spearman needs labels and one number per row, not {outputs.shape}")
    return taskmetrics.correlation(given[:, 0], labels)


def _scores(outputs: Array) -> Array:
    if outputs.ndim != 2:
        raise InputError(
            f"the metric needs (rows, classes) outputs, the model gives {outputs.shape}"
        )
    return outputs


def _user_metric(name: str) -> Score:
    function = imported(name, "metric")

    def score(outputs: Any, reference: Any, labels: Any) -> float:
        try:
            value = float(function(_given(outputs), labels))
        except Exception as error:  # whatever the user's function raises is the user's to see
            raise InputError(
                f"metric {name!r} raised {type(error).__name__}: {error}", hint=_OWN
            ) from error
        if not np.isfinite(value):
            raise InputError(f"metric {name!r} returned {value!r}", hint=_OWN)
        return value

    return score


def _given(outputs: Any) -> Any:
    """Return what a user's function is given: plain arrays, by name only where there are several outputs."""
    if not isinstance(outputs, Mapping):
        return outputs
    plain = {n: list(x) if isinstance(x, Parts) else x for n, x in outputs.items()}
    return next(iter(plain.values())) if len(plain) == 1 else plain


_KNOWN = {
    one.name: one
    for one in (
        _mean_metric("accuracy", _top_k(1), binary=True),
        Metric("f1", True, _f1),
        _prepared("auc", taskmetrics.auc),
        _of_boxes("map", detection.precision(detection.COCO)),
        _of_boxes("map50", detection.precision(detection.COCO[:1])),
        _of_boxes("recall50", detection.recall),
        _of_sequences("wer"),
        _of_sequences("cer"),
        Metric("spearman", True, _spearman),
        _prepared("sts", taskmetrics.sts),
        _prepared("ndcg", taskmetrics.ndcg),
        _prepared(
            "fidelity", second.over, needs_labels=False, whole=True, judged=list, own_truth="always"
        ),
        replace(
            _mean_metric("cosine", _cosine_rows, binary=False), sees="likeness", own_truth="always"
        ),
    )
}
