"""Sentence embeddings: text in, unit vectors out, by a BERT-like encoder exported to ONNX.

The model folder holds the .onnx file and ``tokenizer.json``; the handler's requirements name
``tokenizers``. Tokens are counted while decoding, so that a batch is made of sentences of similar
length: padding to the longest is what makes batches of random length slower than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from inference_code.codecs import jsontext, media
from inference_code.contract import JSON_TYPE
from inference_code.errors import BadRequest, HandlerInvalid, UnsupportedMediaType
from inference_code.handler.base import Body, Context
from inference_code.handler.base import Handler as Base
from inference_code.handlers.onnx import only_model
from inference_code.runtime import Model

Texts = tuple[list[Encoding], bool]
Vectors = tuple[NDArray[np.float32], bool]
MAX_TOKENS = 256


class Handler(Base[Texts, Vectors]):
    """Takes ``{"inputs": "a text"}`` or ``{"inputs": ["several", "texts"]}``; answers in the same shape."""

    batches = True

    def load(self, context: Context) -> None:
        """Read the tokenizer and open the session."""
        path = context.model_dir / "tokenizer.json"
        if not path.is_file():
            raise HandlerInvalid(f"{path} is missing: package it with the model")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._model = Model(context.model or only_model(context.model_dir), context.threads)
        self._inputs = [spec.name for spec in self._model.inputs]

    def decode(self, body: Body, content_type: str) -> Texts:
        """Tokenize the texts of one request."""
        if media.media_type(content_type) != JSON_TYPE:
            raise UnsupportedMediaType(f"send {JSON_TYPE}")
        texts, single = texts_in(jsontext.read(body))
        # The fast one keeps no offsets into the text, which nobody here asks for.
        return self._tokenizer.encode_batch_fast(texts), single

    def length(self, item: Texts) -> int:
        """Return the tokens of the longest text."""
        return max(len(encoding) for encoding in item[0])

    def predict(self, items: Sequence[Texts]) -> Sequence[Vectors]:
        """Embed all texts in one run, padded to the longest."""
        encodings = [encoding for texts, _ in items for encoding in texts]
        ids, mask = padded(encodings)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._model.run({name: feeds[name] for name in self._inputs})[0]
        vectors = unit_length(mean_of_tokens(hidden, mask))
        answers: list[Vectors] = []
        start = 0
        for texts, single in items:
            answers.append((vectors[start : start + len(texts)], single))
            start += len(texts)
        return answers

    def encode(self, output: Vectors, accept: str) -> tuple[bytes, str]:
        """Return one vector for one text, a list of them for a list."""
        vectors, single = output
        kind = media.choose(accept, (JSON_TYPE,))
        return jsontext.write(vectors[0] if single else vectors), kind


def texts_in(value: Any) -> tuple[list[str], bool]:
    """Return the texts of a request's JSON, and whether it was one and no list. Raises BadRequest."""
    texts = value.get("inputs") if isinstance(value, dict) else None
    single = isinstance(texts, str)
    if single:
        texts = [texts]
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise BadRequest('json: expected {"inputs": "a text"} or {"inputs": ["texts", ...]}')
    return texts, single


def padded(
    encodings: Sequence[Encoding], width: int | None = None, filler: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids and mask, ``filler`` after each text up to ``width`` tokens, by default the longest's."""
    lengths = [len(encoding) for encoding in encodings]
    ids = np.full((len(encodings), width or max(lengths)), filler, np.int64)
    mask = np.zeros_like(ids)
    for row, (encoding, length) in enumerate(zip(encodings, lengths, strict=True)):
        ids[row, :length] = encoding.ids
        mask[row, :length] = 1
    return ids, mask


def mean_of_tokens(hidden: NDArray[Any], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of each text's own tokens."""
    weights = mask.astype(np.float32)[:, :, None]
    means: NDArray[np.float32] = (hidden * weights).sum(1) / weights.sum(1)
    return means


def unit_length(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return vectors of length 1."""
    found: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
