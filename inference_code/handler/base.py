"""The class that a handler extends, and what it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from inference_code.codecs import csvtext, jsontext, media, npy
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE, Manifest
from inference_code.errors import UnsupportedMediaType

Item = TypeVar("Item")
Output = TypeVar("Output")
Body = bytes | memoryview
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
#: Every status of an answer that has a body.
STATUSES = frozenset(s.value for s in HTTPStatus if s >= 200 and s not in (204, 205, 304))


@dataclass(frozen=True)
class Context:
    """Where the handler runs. ``model`` is the bundle's model file, when it names one that exists."""

    model_dir: Path
    threads: int = 1
    model: Path | None = None
    manifest: Manifest | None = None


class Handler(ABC, Generic[Item, Output]):
    """What turns bodies into answers: load once, then decode, predict a batch, encode.

    Only ``load`` and ``predict`` must be written; by default JSON, CSV and npy are decoded to plain
    values and numpy arrays, and encoded by the caller's Accept header::

        class Handler(inference_code.handler.Handler):
            def load(self, context):
                self.session = Model(context.model, context.threads)

            def predict(self, items):
                return [self.session.run({"x": item})[0] for item in items]
    """

    #: Set to let ``decode`` take a ``memoryview`` of a large body, valid until ``predict`` returns.
    takes_views = False
    #: Set to be given the request's headers; the cache then tells requests apart by them, too.
    wants_headers = False
    #: Set to True when ``predict`` may be given the items of several requests at once, and gives each the answer that
    #: it would get alone. Otherwise it gets one.
    batches = False
    #: Why ``batches`` is False, for the log.
    unbatched = "the handler does not say batches = True"

    @abstractmethod
    def load(self, context: Context) -> None:
        """Read the model from ``context.model_dir``. Called once, before the first request."""

    def decode(self, body: Body, content_type: str) -> Item:
        """Return one request's item. Raise ValueError (answered 400) when the body is wrong."""
        kind = media.media_type(content_type)
        if kind == JSON_TYPE:
            return jsontext.read(body)  # type: ignore[no-any-return]
        if kind == CSV_TYPE:
            return csvtext.read_numbers(body)  # type: ignore[return-value]
        if kind == NPY_TYPE:
            return npy.read(body)  # type: ignore[return-value]
        raise UnsupportedMediaType(
            f"Content-Type {kind!r} is not read; send {JSON_TYPE}, {CSV_TYPE} or {NPY_TYPE}"
        )

    def decode_request(
        self, body: Body, content_type: str, accept: str, headers: Mapping[str, str]
    ) -> Item:
        """Decode one request. Override it only when the item depends on more than the body.

        ``headers`` are the request's others by lower-case name, when ``wants_headers`` is set.
        """
        return self.decode(body, content_type)

    @abstractmethod
    def predict(self, items: Sequence[Item]) -> Sequence[Output]:
        """Return one output per item, in order. When a batch raises, each item is tried alone."""

    def encode(self, output: Output, accept: str) -> tuple[bytes, str]:
        """Return the answer's body and its content type."""
        return encode_value(output, accept)

    def status(self, output: Output) -> int:
        """Return the HTTP status of an answer, one of STATUSES; asked after ``encode``."""
        return 200

    def length(self, item: Item) -> int:
        """Return how long an item is (tokens, say): batches are then made of items of similar length."""
        raise NotImplementedError

    def examples(self) -> Sequence[tuple[bytes, str]]:
        """Return bodies with their content types, for warm-up when the bundle carries no samples."""
        return ()

    def trials(self) -> Sequence[Item]:
        """Return made-up items, for trying whether a batch moves answers where samples do not show it."""
        return ()

    def arrays(self, output: Output) -> Mapping[str, Any] | None:
        """Return an output's arrays by name, to be held against another's; None to compare the bodies."""
        return None

    def describe(self) -> Mapping[str, Any]:
        """Return JSON schemas under "request" and "answer", for the OpenAPI document."""
        return {}

    @property
    def knows_length(self) -> bool:
        """Whether this handler says how long an item is."""
        return type(self).length is not Handler.length


def encode_value(value: Any, accept: str) -> tuple[bytes, str]:
    """Return any value as JSON, or an array as CSV or npy when ``accept`` asks for it."""
    is_array = hasattr(value, "dtype") and hasattr(value, "ndim")
    kind = media.choose(accept, (JSON_TYPE, CSV_TYPE, NPY_TYPE) if is_array else (JSON_TYPE,))
    if kind == NPY_TYPE:
        return npy.write(value), kind
    if kind == CSV_TYPE:
        return csvtext.write(value), kind
    return jsontext.write(value), kind
