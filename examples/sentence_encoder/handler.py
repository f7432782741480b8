"""Text in, a sentence embedding of 384 floats out; the tokenizer travels in the bundle.

Request: ``{"inputs": "one sentence"}``. Answer: a list of 384 numbers of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from inference_code.handler import Context
from inference_code.handler import Handler as BaseHandler
from inference_code.runtime import Model

MAX_TOKENS = 256


class Handler(BaseHandler[Encoding, Any]):
    """Tokenize on arrival, so that batches can be made of sentences of similar length."""

    batches = True  # the mask keeps a sentence's answer its own, whatever it is padded to

    def load(self, context: Context) -> None:
        """Read the model and the tokenizer from the bundle."""
        assert context.model is not None
        self._model = Model(context.model, context.threads)
        self._tokenizer = Tokenizer.from_file(str(context.model_dir / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def decode(self, body: bytes | memoryview, content_type: str) -> Encoding:
        """Return the tokens of ``inputs``; ValueError is answered with 400."""
        data = super().decode(body, content_type)
        text = data.get("inputs") if isinstance(data, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise ValueError('send {"inputs": "one sentence"}')
        return self._tokenizer.encode(text)

    def length(self, item: Encoding) -> int:
        """Return the number of tokens."""
        return len(item)

    def predict(self, items: Sequence[Encoding]) -> Sequence[Any]:
        """Return one embedding per sentence; shorter ones are padded to the longest and masked."""
        longest = max(len(item) for item in items)
        ids = np.zeros((len(items), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item)] = item.ids
            mask[row, : len(item)] = 1
        (embeddings,) = self._model.run({"input_ids": ids, "attention_mask": mask})
        return list(embeddings)
