"""Metrics of tasks over one output: ranking of classes, pairs of sentences, retrieval, sequences.

Each gives a function of chosen rows, so that an interval does not work everything out anew. Sources: AUC as the
Mann-Whitney statistic (Hanley & McNeil 1982), of more classes one against the rest, plain mean; STS as Spearman of
cosines (Reimers & Gurevych 2019); nDCG with gains 2^r - 1 (Burges 2005), at 10; WER and CER by the edit distance
(Levenshtein 1966), CTC decoded greedily (Graves 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization.answers import Answer
from deployer.optimization.fidelity import ranks
from deployer.optimization.session import Array
from deployer.stats import Floats

PLACES = 10
Chosen = Callable[[Array], float]


def auc(outputs: Array, reference: Array, labels: Array | None) -> Chosen:
    """Return the area under the ROC curve: scores (n,), (n, 1), (n, 2) or (n, classes); labels whole numbers.

    Two columns count by their difference. Classes without a row are left out. A choice of rows of one class is 0.5.
    """
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    wanted = classes(labels, max(2, flat.shape[1]))
    if flat.shape[1] == 1:
        columns = {1: flat[:, 0]}
    elif flat.shape[1] == 2:
        columns = {1: flat[:, 1] - flat[:, 0]}
    else:
        columns = {int(k): flat[:, k] for k in np.unique(wanted) if 0 <= k < flat.shape[1]}
    if len(np.unique(wanted)) < 2:
        raise InputError(f"auc needs rows of two classes; every label is {wanted[0]}")

    def score(pick: Array) -> float:
        chosen = wanted[pick]
        found = [_area(column[pick], chosen == k) for k, column in columns.items()]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else 0.5

    return score


def _area(scores: Floats, positive: Array) -> float | None:
    many = int(np.count_nonzero(positive))
    if many in (0, len(positive)):
        return None
    above = float(ranks(scores)[positive].sum()) - many * (many - 1) / 2
    return above / (many * (len(positive) - many))


def sts(outputs: Array, reference: Array, labels: Array | None) -> Chosen:
    """Return Spearman's rank correlation of cosines and gold scores: rows 2i and 2i + 1 are a pair.

    Both rows of a pair carry its score as their label.
    """
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    if labels is None or labels.shape != (len(flat),) or len(flat) % 2:
        raise InputError(
            "sts needs an even number of rows and one gold score for each",
            hint="rows 2i and 2i + 1 are a pair and carry the same label",
        )
    if (odd := np.flatnonzero(labels[::2] != labels[1::2])).size:
        raise InputError(f"sts: rows {2 * odd[0]} and {2 * odd[0] + 1} are a pair with two labels")
    found = (unit(flat)[::2] * unit(flat)[1::2]).sum(axis=1).round(12)
    gold = labels[::2]
    return lambda pick: correlation(found[pick[::2] // 2], gold[pick[::2] // 2])


def ndcg(outputs: Array, reference: Array, labels: Array | None) -> Chosen:
    """Return nDCG@10 of retrieval by cosine: each row asks for the others, its own row left out.

    Labels: one whole number per row (rows of the same number are relevant to one another), or (rows, rows) of
    relevance, the asking row first. Rows to which nothing is relevant do not ask.
    """
    flat = unit(outputs.reshape(len(outputs), -1).astype(np.float64))
    rows = len(flat)
    if labels is None or labels.shape not in ((rows,), (rows, rows)):
        raise InputError("ndcg needs one label per row, or relevances of shape (rows, rows)")
    gains = labels[:, None] == labels[None] if labels.ndim == 1 else labels
    gains = np.exp2(gains.astype(np.float64)) - 1
    np.fill_diagonal(gains, 0)
    likeness = (flat @ flat.T).round(9)
    np.fill_diagonal(likeness, -np.inf)
    found = np.take_along_axis(gains, np.argsort(-likeness, axis=1, kind="stable"), axis=1)
    ideal = _discounted(-np.sort(-gains, axis=1))
    if not (ideal > 0).any():
        raise InputError("ndcg: no row has another one that is relevant to it")
    value, asks = _discounted(found), ideal > 0
    share = np.where(asks, value / np.where(asks, ideal, 1), 0.0)
    return lambda pick: float(share[pick].sum() / max(1, np.count_nonzero(asks[pick])))


def _discounted(gains: Floats) -> Floats:
    top = gains[:, :PLACES]
    return np.asarray(top @ (1 / np.log2(np.arange(2, 2 + top.shape[1]))))


def errors(words: bool) -> Callable[[Any, Any, Any], Chosen]:
    """Return 1 - WER (``words``) or 1 - CER over the model's first output: see ``sequences`` for its forms.

    Labels: ``label`` or ``label_sequence``, whole numbers padded with -1, or strings; with ``words`` numbers need
    ``label_space`` too, the class that parts words, the same in each row. Without labels FP32's own are the truth.
    """

    def prepared(outputs: Any, reference: Any, labels: Any) -> Chosen:
        given, own = (_first(side) for side in (outputs, reference))
        known = labels if isinstance(labels, Mapping) else {"sequence": labels}
        blank = _blank(own, [x for x in known.values() if x is not None])
        right = sequences(own if known.get("sequence") is None else known["sequence"], blank)
        found = sequences(given, blank)
        if words:
            space = known.get("space")
            found, right = (_words(side, space) for side in (found, right))
        wrong = np.array([distance(a, b) for a, b in zip(found, right, strict=True)])
        size = np.array([len(b) for b in right])
        if not size.sum():
            raise InputError(
                "the right answers hold no symbol", hint="padding is -1, blanks are left out"
            )
        return lambda pick: 1 - float(wrong[pick].sum() / max(1, size[pick].sum()))

    return prepared


def _first(outputs: Any) -> Answer:
    answer: Answer = next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs
    return answer


def sequences(answer: Answer, blank: int | None) -> list[list[Any]]:
    """Return the symbols of each row: characters of strings, numbers from 0 up, or CTC scores decoded greedily.

    Scores are (time, classes) for a row, with axes of one beside. The blank is class 0 or the last: the one that is
    in no label, else whichever FP32 gives more often.
    """
    return [_symbols(np.asarray(row), blank) for row in answer]


def _symbols(row: Array, blank: int | None) -> list[Any]:
    if row.dtype.kind in "US":
        return list("".join(str(text) for text in row.ravel()))
    if row.dtype.kind in "iu":
        return [int(x) for x in row.ravel() if x >= 0]
    best = _scores(row).argmax(axis=1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return [int(x) for x in changes if x != blank]


def _scores(row: Array) -> Array:
    plain = row.squeeze(axis=tuple(n for n, size in enumerate(row.shape[:-1]) if size == 1))
    plain = plain[None] if plain.ndim == 1 else plain
    if plain.ndim != 2:
        raise InputError(f"wer and cer need (time, classes) for a row, the model gives {row.shape}")
    return plain


def _blank(answer: Answer, labels: Sequence[Array]) -> int | None:
    rows = [np.asarray(row) for row in answer]
    if rows[0].dtype.kind != "f":
        return None
    ends: list[int] = [0, rows[0].shape[-1] - 1]
    free = [end for end in ends if not any((known == end).any() for known in labels)] or ends
    best = np.concatenate([_scores(row).argmax(axis=1) for row in rows])
    return max(free, key=lambda end: np.count_nonzero(best == end))


def _words(rows: Sequence[list[Any]], space: Array | None) -> list[list[Any]]:
    if rows and all(isinstance(x, str) for row in rows for x in row):
        return [list("".join(row).split()) for row in rows]
    if space is None or len(np.unique(space)) != 1:
        raise InputError(
            "wer needs an array 'label_space': the class that parts words, the same in each row",
            hint="cer needs none",
        )
    return [_split(row, int(space.flat[0])) for row in rows]


def _split(row: list[Any], space: int) -> list[tuple[Any, ...]]:
    ends = [-1, *(place for place, x in enumerate(row) if x == space), len(row)]
    words = [tuple(row[a + 1 : b]) for a, b in pairwise(ends)]
    return [word for word in words if word]


def distance(given: Sequence[Any], wanted: Sequence[Any]) -> int:
    """Return the fewest insertions, removals and changes that make ``wanted`` of ``given``."""
    costs = list(range(len(wanted) + 1))
    for row, one in enumerate(given, 1):
        before, costs[0] = costs[0], row
        for place, other in enumerate(wanted, 1):
            best = min(before + (one != other), costs[place] + 1, costs[place - 1] + 1)
            before, costs[place] = costs[place], best
    return costs[-1]


def correlation(some: Array, others: Array) -> float:
    """Return Spearman's rank correlation; a constant side ranks nothing and gives 0."""
    a, b = ranks(some), ranks(others)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def classes(labels: Any, count: int) -> Array:
    """Return one whole number per row, of a class below ``count``. Raises InputError for other labels."""
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        shape = f"{labels.dtype.name} {labels.shape}" if isinstance(labels, np.ndarray) else None
        raise InputError(
            f"labels must be one whole number per row, not {shape}",
            hint="give 'label' the number of each row's class, from 0 on: labels.astype('int64')",
        )
    outside = np.flatnonzero((labels < 0) | (labels >= count))
    if len(outside):
        row = outside[0]
        raise InputError(
            f"'label' is {labels[row]} in row {row}, and the model tells {count} classes apart",
            hint=f"number the classes from 0 to {count - 1}, in the model's own order",
        )
    return labels


def unit(rows: Floats) -> Floats:
    """Return the rows at length one; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1))
