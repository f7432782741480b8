"""Texts in, labels or embeddings out, by an ONNX model: ``deployer package model.onnx --handler text``.

``tokenizer.json`` lies beside the model; ``config.json`` tells a classifier and its labels, sentence-transformers'
files how an encoder's tokens become one vector. The handler's requirements name ``tokenizers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from inference_code.codecs import jsontext, media
from inference_code.contract import JSON_TYPE
from inference_code.errors import BadRequest, HandlerInvalid, UnsupportedMediaType
from inference_code.handler.base import Body, Context
from inference_code.handler.base import Handler as Base
from inference_code.handlers import beside
from inference_code.handlers.heads import head_of
from inference_code.handlers.joining import Joining
from inference_code.handlers.labels import TOP, top_of
from inference_code.handlers.onnx import only_model
from inference_code.handlers.sentences import padded, texts_in
from inference_code.runtime import Model

_USUAL_TOKENS = 512
_ENDLESS = 1_000_000
_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"
#: Their positions begin after the filler's number, so that many fewer tokens fit.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xlm-roberta-xl")


@dataclass(frozen=True)
class Texts:
    """The texts of one request as tokens; ``single`` was no list."""

    encodings: list[Encoding]
    single: bool = True
    top: int = TOP


Answer = tuple[Texts, NDArray[Any]]


class Handler(Base[Texts, Answer]):
    """Takes ``{"inputs": "a text"}``, or a list of texts.

    Answers ``[{"label": "good", "score": 0.9}, ...]`` where the labels are known, else a list of numbers; a list
    of them for a list. Longer texts are cut at as many tokens as the model takes.
    """

    def load(self, context: Context) -> None:
        """Read the tokenizer, open the session, and look at what the outputs are."""
        path = beside.needed(context, "tokenizer.json")
        self._model = Model(context.model or only_model(context.model_dir), context.threads)
        self._specs = {spec.name: spec for spec in self._model.inputs}
        self._width = self._fixed(1)
        self._check_inputs()
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises this very class
            raise HandlerInvalid(f"{path} is no tokenizer: {error}") from error
        config = beside.settings(context, "config.json")
        self._filler = _filler(config)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._width or _most_tokens(context, config))
        head = head_of(context, self._model.outputs)
        joining = Joining(context.manifest, self._model.inputs, self._model.outputs)
        self.unbatched = joining.by_first_axis
        if _MASK not in self._specs:
            self.unbatched = f"texts differ in length, and the model takes no {_MASK}"
        self.batches = not self.unbatched
        self._head, self._labels = head, head.labels
        if head.labels is not None:
            probes = [self._rows(self._tokenizer.encode_batch_fast([text])) for text in _PROBES]
            self._labels = head.labels.knowing(np.concatenate(probes))

    def decode(self, body: Body, content_type: str) -> Texts:
        """Tokenize the texts of one request."""
        if media.media_type(content_type) != JSON_TYPE:
            raise UnsupportedMediaType(
                f"Content-Type {content_type!r} is not read; send {JSON_TYPE}"
            )
        value = jsontext.read(body)
        texts, single = texts_in(value)
        encodings = self._tokenizer.encode_batch_fast(texts)
        if not all(len(encoding) for encoding in encodings):
            raise BadRequest("inputs: a text has no tokens")
        return Texts(encodings, single, top_of(value))

    def length(self, item: Texts) -> int:
        """Return the tokens of the longest text."""
        return max(len(encoding) for encoding in item.encodings)

    def predict(self, items: Sequence[Texts]) -> Sequence[Answer]:
        """Run all texts at once, padded to the longest, where the model takes several."""
        encodings = [encoding for item in items for encoding in item.encodings]
        rows = self._rows(encodings)
        answers, start = [], 0
        for item in items:
            end = start + len(item.encodings)
            answers.append((item, rows[start:end]))
            start = end
        return answers

    def encode(self, output: Answer, accept: str) -> tuple[bytes, str]:
        """Return labels, or vectors."""
        item, rows = output
        kind = media.choose(accept, (JSON_TYPE,))
        labels = self._labels
        found = rows if labels is None else [labels.ranked(row, item.top) for row in rows]
        return jsontext.write(found[0] if item.single else found), kind

    def examples(self) -> Sequence[tuple[bytes, str]]:
        """Return two texts of different lengths, so that a batch of them is tried at the start."""
        return [(jsontext.write({"inputs": text}), JSON_TYPE) for text in _PROBES]

    def describe(self) -> Mapping[str, Any]:
        """Return the schema of a request."""
        text = {"type": "string"}
        inputs = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}
        request = {"type": "object", "properties": {"inputs": inputs}, "required": ["inputs"]}
        return {"request": request, "answer": {}}

    def _rows(self, encodings: Sequence[Encoding]) -> NDArray[Any]:
        step = len(encodings) if self.batches else 1
        found = [
            self._run(encodings[start : start + step]) for start in range(0, len(encodings), step)
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _run(self, encodings: Sequence[Encoding]) -> NDArray[Any]:
        ids, mask = padded(encodings, self._width, self._filler)
        feeds = {_IDS: ids, _MASK: mask, _TYPES: np.zeros_like(ids)}
        outputs = self._model.run(
            {name: feeds[name].astype(spec.dtype, copy=False) for name, spec in self._specs.items()}
        )
        return self._head.vectors(outputs, mask)

    def _fixed(self, axis: int) -> int | None:
        """Return the size of an axis that the model fixes. Raises HandlerInvalid when inputs differ in it."""
        if any(len(spec.shape) != 2 for spec in self._specs.values()):
            raise HandlerInvalid("the model's inputs are no texts by tokens: write a handler")
        sizes = {spec.shape[axis] for spec in self._specs.values()}
        if len(sizes) > 1:
            raise HandlerInvalid(f"the model's inputs differ in axis {axis}: {sizes}")
        return sizes.pop()

    def _check_inputs(self) -> None:
        others = sorted(set(self._specs) - {_IDS, _MASK, _TYPES})
        if others or _IDS not in self._specs:
            raise HandlerInvalid(
                f"the model's inputs are {', '.join(self._specs)}; the handler text knows {_IDS}, {_MASK} and "
                f"{_TYPES}: write a handler"
            )
        if self._fixed(0) not in (None, 1):
            raise HandlerInvalid(
                f"the model takes exactly {self._fixed(0)} texts at a time: export it with a free first axis"
            )
        if self._width and _MASK not in self._specs:
            raise HandlerInvalid(f"the model takes exactly {self._width} tokens and no {_MASK}")


_PROBES = ("a", "some words, more than before, for a longer line")


def _most_tokens(context: Context, config: Mapping[str, Any]) -> int:
    """Return at how many tokens a text is cut, as sentence-transformers and transformers do."""
    sentence = beside.settings(context, "sentence_bert_config.json").get("max_seq_length")
    tokenizer = beside.settings(context, "tokenizer_config.json").get("model_max_length")
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _SHIFTED:
        positions -= _filler(config) + 1
    known = [n for n in (sentence, tokenizer, positions) if isinstance(n, int) and 0 < n < _ENDLESS]
    return min(known) if known else _USUAL_TOKENS


def _filler(config: Mapping[str, Any]) -> int:
    number = config.get("pad_token_id")
    return number if isinstance(number, int) and number >= 0 else 0
