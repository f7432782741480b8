"""A metric that cannot tell the model from a constant one is refused before any rung is built.

Three answers that a right gate refuses are sent through it: FP32's mean answer to every row, its first answer to every
row, and its answers to other rows. None of them knows its input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization.answers import Answer, Parts
from deployer.optimization.gate import MIN_ROWS, accuracy_gate
from deployer.optimization.metrics import Metric, count, taken


def check(metric: Metric, reference: Any, labels: Any, *, max_drop: float, seed: int) -> None:
    """Raise InputError where FP32's score is not above that of a blind answer by ``max_drop`` and the interval.

    The message names the metric, both scores and the fix.
    """
    own = metric.score(reference, reference, labels)
    for name, answer in _blind(reference, seed):
        try:
            drop = accuracy_gate(metric, answer, reference, labels, max_drop=max_drop, seed=seed)
            score = metric.score(answer, reference, labels)
        except InputError:
            continue  # a metric of the user's that has no value for it is not fooled by it
        surely = drop.low if count(reference) >= MIN_ROWS or metric.binary else drop.value
        if surely <= max_drop:
            raise InputError(
                f"{metric.name} cannot tell the model from {name}: {own:.6g} and {score:.6g}, "
                f"a drop of {drop.value:.4g} ({drop.low:.4g} to {drop.high:.4g}) where {max_drop:g} is allowed",
                hint=_fix(metric, labels, drop.value > max_drop),
            )


def _fix(metric: Metric, labels: Any, enough: bool) -> str:
    if enough:
        return "more evaluation rows, or a smaller --max-drop"
    if metric.name == "fidelity":
        return "evaluation rows that the model answers differently, or a smaller --max-drop"
    if labels is not None:
        return "labels that are right and of more than one class, a smaller --max-drop, or --metric fidelity"
    return "--metric fidelity, or a smaller --max-drop"


def _blind(reference: Any, seed: int) -> Iterator[tuple[str, Any]]:
    rows = count(reference)
    first = np.zeros(rows, dtype=np.intp)
    yield "its mean answer to every row", _each(reference, _mean)
    yield "its first answer to every row", taken(reference, first)
    # A turn by a random number of rows leaves no row its own answer.
    turn = int(np.random.default_rng(seed).integers(1, rows)) if rows > 1 else 0
    yield "its answers to other rows", taken(reference, (np.arange(rows) + turn) % rows)


def _each(reference: Any, change: Any) -> Any:
    if isinstance(reference, dict):
        return {name: change(answer) for name, answer in reference.items()}
    return change(reference)


def _mean(answer: Answer) -> Answer:
    """Return the mean answer for every row; where there is none (names, parts of differing shape) the first."""
    if isinstance(answer, Parts) or answer.dtype.kind != "f":
        return answer[np.zeros(len(answer), dtype=np.intp)]
    with np.errstate(invalid="ignore"):
        mean = answer.mean(axis=0, dtype=np.float64).astype(answer.dtype)
    return np.broadcast_to(mean, answer.shape).copy()
