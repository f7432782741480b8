"""What a text model's outputs become: one vector for each text, told by the files beside the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.contract import TensorSpec
from inference_code.errors import HandlerInvalid
from inference_code.handler.base import Context
from inference_code.handlers import beside
from inference_code.handlers.labels import Labels, labels_of
from inference_code.handlers.sentences import mean_of_tokens, unit_length

Vectors = NDArray[Any]
Pool = Callable[[Vectors, NDArray[np.int64]], Vectors]
SENTENCE = "sentence_embedding"
_LOGITS = "logits"
_CLASSIFIER, _ENCODER = "ForSequenceClassification", "Model"


def _first(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    return hidden[:, 0]


def _largest(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    found: Vectors = np.where(mask[:, :, None] == 1, hidden, -np.inf).max(1)
    return found


_POOLS: Mapping[str, Pool] = {
    "pooling_mode_mean_tokens": mean_of_tokens,
    "pooling_mode_cls_token": _first,
    "pooling_mode_max_tokens": _largest,
}
_STEPS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class Head:
    """Which output counts, how tokens become one vector (None: they are one), and what its numbers mean."""

    output: int
    pool: Pool | None = None
    is_unit: bool = False
    labels: Labels | None = None

    def vectors(self, outputs: Sequence[Vectors], mask: NDArray[np.int64]) -> Vectors:
        """Return one row for each text."""
        found = outputs[self.output]
        if self.pool is not None:
            found = self.pool(found.astype(np.float32, copy=False), mask)
        return unit_length(found) if self.is_unit else found


def head_of(context: Context, outputs: Sequence[TensorSpec]) -> Head:
    """Return the head of the model in a folder.

    A classifier has labels; of an encoder the tokens are pooled as sentence-transformers' files say, by default to
    their mean, of length 1. Raises HandlerInvalid for a model that is for something else.
    """
    names = [spec.name for spec in outputs]
    config = beside.settings(context, "config.json")
    kind = str((config.get("architectures") or [_ENCODER])[0])
    if SENTENCE in names:
        return Head(names.index(SENTENCE))
    output = names.index(_LOGITS) if _LOGITS in names else 0
    axes = len(outputs[output].shape)
    if kind.endswith(_CLASSIFIER) and axes == 2:
        return Head(output, labels=labels_of(config))
    if not kind.endswith(_ENCODER) or axes not in (2, 3):
        raise HandlerInvalid(
            f"config.json says {kind}, and {names[output]!r} has {axes} axes; the handler text serves classifiers "
            "of texts and encoders: write a handler"
        )
    if axes == 2:
        return Head(output)
    return Head(output, _pool(context), _is_unit(context))


def _pool(context: Context) -> Pool:
    settings = beside.settings(context, "1_Pooling/config.json")
    chosen = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    if not chosen and not settings:
        return mean_of_tokens
    if len(chosen) != 1 or chosen[0] not in _POOLS:
        told = ", ".join(chosen) or "nothing"
        raise HandlerInvalid(
            f"1_Pooling/config.json asks for {told}; there is one of {', '.join(_POOLS)}: write a handler"
        )
    return _POOLS[chosen[0]]


def _is_unit(context: Context) -> bool:
    path = beside.find(context, "modules.json")
    if path is None:
        return True
    steps = [str(step).rpartition(".")[2] for step in beside.types(path)]
    others = [step for step in steps if step not in _STEPS]
    if others:
        raise HandlerInvalid(
            f"modules.json has the step {others[0]!r}, which the model's file lacks: export it with the model, "
            f"as the output {SENTENCE!r}, or write a handler"
        )
    return "Normalize" in steps
