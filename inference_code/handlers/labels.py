"""A classifier's labels and what its numbers become: scores, the highest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.errors import BadRequest, HandlerInvalid

Row = NDArray[Any]
TOP = 5
"""So many labels are answered unless the request says how many: ``"parameters": {"top_k": 3}``."""
_SOFTMAX, _SIGMOID, _AS_IT_IS = "softmax", "sigmoid", "as it is"
_PROBLEMS = {
    "single_label_classification": _SOFTMAX,
    "multi_label_classification": _SIGMOID,
    "regression": _AS_IT_IS,
}


@dataclass(frozen=True)
class Labels:
    """The names of the last axis; ``scores`` says how numbers become scores."""

    names: tuple[str, ...]
    scores: str = _SOFTMAX

    def ranked(self, row: Row, top: int) -> list[dict[str, Any]]:
        """Return the ``top`` labels of one row with their scores, the highest first."""
        scores = self._scores(row.astype(np.float64))
        order = np.argsort(-scores, kind="stable")[:top]
        return [{"label": self.names[index], "score": float(scores[index])} for index in order]

    def knowing(self, rows: Row) -> Labels:
        """Return these labels for a model that answers ``rows`` to probes: probabilities stay as they are.

        Raises HandlerInvalid when there is not one number for each label.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            raise HandlerInvalid(
                f"config.json names {len(self.names)} labels (id2label), and the model answers in the shape "
                f"{list(rows.shape)}: package the config.json of this model, or none"
            )
        done = bool((rows >= 0).all() and np.allclose(rows.sum(1), 1, atol=1e-3))
        is_softmax = self.scores == _SOFTMAX and len(self.names) > 1
        return Labels(self.names, _AS_IT_IS) if done and is_softmax else self

    def _scores(self, row: Row) -> Row:
        if self.scores == _AS_IT_IS:
            return row
        if self.scores == _SIGMOID:
            return np.asarray(1 / (1 + np.exp(-np.clip(row, -500, 500))))
        powers = np.exp(row - row.max())
        return np.asarray(powers / powers.sum())


def labels_of(config: Mapping[str, Any]) -> Labels | None:
    """Return the labels in a ``config.json``; None when it has no ``id2label``. Raises HandlerInvalid."""
    found = config.get("id2label")
    if not found:
        return None
    try:
        names = tuple(str(found[str(number)]) for number in range(len(found)))
    except (KeyError, TypeError):
        raise HandlerInvalid(
            'config.json: id2label must name each label by its number, {"0": "cat", "1": "dog"}'
        ) from None
    problem = config.get("problem_type")
    if problem is None:
        return Labels(names, _SOFTMAX if len(names) > 1 else _SIGMOID)
    if problem not in _PROBLEMS:
        raise HandlerInvalid(f"config.json: problem_type {problem!r} is none of {list(_PROBLEMS)}")
    return Labels(names, _PROBLEMS[problem])


def top_of(value: Mapping[str, Any]) -> int:
    """Return how many labels a request's ``parameters`` ask for. Raises BadRequest."""
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict) or set(parameters) - {"top_k"}:
        raise BadRequest('parameters: expected {"top_k": a number}')
    top = parameters.get("top_k", TOP)
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise BadRequest(f"parameters: top_k must be a whole number from 1, not {top!r}")
    return top
