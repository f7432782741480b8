"""Does a batch move answers? Requests answered alone, together, in another order, and with other neighbours."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from typing import Any

from inference_code.contract import Batching, ServingConfig
from inference_code.engine import company
from inference_code.engine.company import Apart
from inference_code.handler.base import Handler

#: Which of up to four items are answered at once, in this order.
_GROUPS = ((0, 1), (1, 0), (2, 0), (0, 1, 2), (2, 1, 0), (3, 1, 0))

Predict = Callable[[Sequence[Any]], Sequence[Any]]
Compare = Callable[[Any, Any], Apart]


def all_at_once(predict: Predict, compare: Compare, items: Sequence[Any]) -> Apart:
    """Return how far answers to ``items`` in one batch are from those to each alone."""
    together = predict(items)
    alone = [predict([item])[0] for item in items]
    return _worst(compare, alone, together)


def in_groups(predict: Predict, compare: Compare, items: Sequence[Any]) -> Apart | None:
    """Return how far any answer is from the one alone, in batches of 2 and 3; None without two items.

    An item that fails alone is left out; a batch that fails though each of it is answered alone is infinitely far.
    """
    alone = [(item, answer) for item in items[:4] for answer in _answers(predict, [item])]
    if len(alone) < 2:
        return None
    found = Apart()
    for group in _GROUPS:
        if max(group) >= len(alone):
            continue
        together = _answers(predict, [alone[place][0] for place in group])
        if len(together) != len(group):
            return company.FAR
        found = found.worst(_worst(compare, [alone[place][1] for place in group], together))
    return found


def comparer(handler: Handler[Any, Any]) -> Compare:
    """Return what tells how far two outputs of a handler are apart: by their arrays, else by their bodies."""

    def compare(one: Any, other: Any) -> Apart:
        left, right = handler.arrays(one), handler.arrays(other)
        if left is not None and right is not None:
            return company.of_arrays(left, right)
        (body, kind), (other_body, _) = handler.encode(one, ""), handler.encode(other, "")
        return company.of_bodies(bytes(body), bytes(other_body), kind.partition("\r")[0])

    return compare


def runtime(engine: str) -> str:
    """Return an engine's name and version, as a proof records it; the name alone where it is not installed."""
    version = getattr(sys.modules.get(engine), "__version__", "")
    try:
        return f"{engine} {version or importlib.metadata.version(engine)}"
    except importlib.metadata.PackageNotFoundError:
        return engine


def refused(proof: Batching | None, serving: ServingConfig, found: Apart | None) -> str:
    """Return why ``found`` forbids batches, "" when it does not.

    ``proof`` says how far a batch may move answers: not at all, by default, and whatever it takes where rows share a
    scale and nobody measured yet.
    """
    if serving.exact:
        return _inexact(proof, found)
    if found is None or found.same:
        return ""
    allowed = 0.0
    if proof is not None and proof.kind == "scale":
        allowed = proof.allowed if proof.runtime else sys.float_info.max
    if found.moved <= allowed:
        return ""
    return f"answers differ by {found.moved:.2g} of the largest number from those alone" + (
        f", and {allowed:.2g} is what a shared scale explains" if allowed else ""
    )


def _inexact(proof: Batching | None, found: Apart | None) -> str:
    if found is None:
        return "exact, and there are no two samples to show that batches are"
    if not found.same:
        return f"exact, and a batch moves answers by {found.moved:.2g} of the largest number"
    if proof is not None and proof.kind == "scale" and (proof.moved or not proof.runtime):
        return "exact, and the rows of this model share a scale"
    return ""


def _answers(predict: Predict, items: Sequence[Any]) -> list[Any]:
    try:
        answers = list(predict(items))
    except Exception:
        return []
    return answers if len(answers) == len(items) else []


def _worst(compare: Compare, alone: Sequence[Any], together: Sequence[Any]) -> Apart:
    found = Apart()
    for one, other in zip(alone, together, strict=True):
        found = found.worst(compare(one, other))
    return found
