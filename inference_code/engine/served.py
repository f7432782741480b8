"""A handler, loaded and warm: the part of the path that runs in a worker process.

``bench`` and ``check`` use it without any server.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from inference_code.codecs import jsontext, media
from inference_code.contract import CUSTOM_ATTRIBUTES_HEADER, JSON_TYPE
from inference_code.engine import together
from inference_code.engine.company import FAR, Apart
from inference_code.engine.log import emit
from inference_code.engine.settings import Sample, Settings
from inference_code.errors import BadRequest, HandlerFailed, HandlerInvalid, RequestError
from inference_code.grouping import batches_pay, overhead_tokens
from inference_code.handler.base import NO_HEADERS, STATUSES, Body, Context, Handler
from inference_code.handler.loading import find_handler

T = TypeVar("T")
#: So many timed runs at most, and no further one after so many seconds: a start must stay short.
_MEASURES, _MEASURE_S = 3, 0.05
#: So many samples are answered in one batch and alone.
_COMPARED = 4
#: What a handler may say of its answer: the type, and as one more line SageMaker's custom attributes.
_CONTENT_TYPE = re.compile(
    rf"[ -~]{{0,1024}}(\r\n{CUSTOM_ATTRIBUTES_HEADER.lower()}: [ -~]{{0,1024}})?"
)
#: Status, content type, body.
Reply = tuple[int, bytes, bytes]


class ServedModel:
    """A handler with its model in memory.

    ``steps`` tells how long each part of the start took, ``slowest_s`` the longest answer or full batch of
    the warm-up, in seconds; ``batch_effect`` how far samples in one batch moved one another's answers,
    relative to the largest number (None when there were no two samples to batch), ``unbatched`` why requests are not
    joined ("" when they are). ``alone_s`` and ``full_s`` are
    what one request and a full batch of it took, 0 while not measured.
    """

    def __init__(self, settings: Settings) -> None:
        """Import and load the handler; raise HandlerInvalid with what to change."""
        self.settings = settings
        self.steps: dict[str, float] = {}
        self.slowest_s = self.alone_s = self.full_s = 0.0
        self.batch_effect: float | None = None
        self.handler: Handler[Any, Any] = self._timed("import", find_handler, settings.model_dir)
        context = Context(
            settings.model_dir, settings.serving.threads, settings.model, settings.manifest
        )
        self._timed("load", _prepare, "load() fails", lambda: self.handler.load(context))
        self.max_batch = settings.serving.max_batch if self.handler.batches else 1
        self.unbatched = "" if self.handler.batches else self.handler.unbatched
        #: A run's overhead to group by, in tokens; None when the handler knows no length.
        self.overhead: float | None = 10.0 if self.handler.knows_length else None
        self.samples = settings.samples or tuple(
            Sample(f"example {number}", kind, body)
            for number, (body, kind) in enumerate(
                _prepare("examples() fails", self.handler.examples), 1
            )
        )

    def warm_up(self) -> None:
        """Answer each sample, and the first in a full batch; raise HandlerInvalid when one fails.

        What the two took decides how batches are made, and whether at all; so does, when answers are to be
        exact, what batches do to them.
        """
        self._timed("warm_up", self.answer_samples)
        if self.max_batch > 1:
            self._timed("compare", self.compare)
        if self.samples and self.max_batch > 1:
            self._timed("measure", self._measure_batches, self.samples[0])

    def interface(self) -> dict[str, Any]:
        """Return the JSON schemas of request and answer, and an example, for the OpenAPI document."""
        described: dict[str, Any] = _prepare("describe() fails", self._described)
        for sample in self.samples:
            if sample.content_type == JSON_TYPE:
                described["example"] = jsontext.read(sample.body)
                break
        return described

    def decode(
        self,
        body: Body,
        content_type: str,
        accept: str,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Any:
        """Return the handler's item; raise RequestError."""
        try:
            return self.handler.decode_request(body, content_type, accept, headers)
        except RequestError:
            raise
        except ValueError as error:
            raise BadRequest(str(error) or "the body cannot be read") from error
        except Exception as error:
            raise _failed("decode", error) from error

    def length(self, item: Any) -> int:
        """Return how long the handler says an item is; 0 when it does not say."""
        if not self.handler.knows_length:
            return 0
        try:
            return max(0, int(self.handler.length(item)))
        except Exception as error:
            raise _failed("length", error) from error

    def predict(self, items: Sequence[Any]) -> list[Any]:
        """Return an output or a RequestError for each item; one bad item spoils no other."""
        try:
            return _one_each(self.handler.predict(items), items)
        except Exception as error:
            if len(items) == 1:
                return [error if isinstance(error, RequestError) else _failed("predict", error)]
        return [output for item in items for output in self.predict([item])]

    def encode(self, output: Any, accept: str) -> Reply:
        """Return the reply for an output, or for the RequestError in its place."""
        if isinstance(output, RequestError):
            return error_reply(output)
        try:
            body, kind = self._encoded(output, accept)
            return _reply(self.handler.status(output), kind, body)
        except RequestError as error:
            return error_reply(error)
        except Exception as error:
            return error_reply(_failed("encode", error))

    def answer(self, body: Body, content_type: str, accept: str = "") -> Reply:
        """Take one request all the way."""
        try:
            item = self.decode(body, content_type, accept)
        except RequestError as error:
            return error_reply(error)
        return self.encode(self.predict([item])[0], accept)

    def _encoded(self, output: Any, accept: str) -> tuple[Any, Any]:
        """Return the handler's answer to the whole header; where it cannot read that, to the best type of it.

        A handler that negotiates takes a list or a range; others fail at it, or hand it back as the type.
        """
        try:
            body, kind = self.handler.encode(output, accept)
        except RequestError:
            raise
        except Exception:
            if media.is_one(accept):
                raise
        else:
            if not isinstance(kind, str) or media.is_one(kind.partition("\r")[0]):
                return body, kind
        wanted = media.first_choice(accept, JSON_TYPE) if accept else JSON_TYPE
        return self.handler.encode(output, wanted)

    def _described(self) -> Any:
        # There and back again, so that what is no JSON shows now.
        return jsontext.read(jsontext.write(dict(self.handler.describe())))

    def answer_samples(self) -> None:
        """Answer each sample, and the first in a full batch; raise HandlerInvalid when one fails."""
        for number, sample in enumerate(self.samples):
            start = time.perf_counter()
            status, _, body = self.answer(sample.body, sample.content_type)
            if status != 200:
                raise HandlerInvalid(f"sample {sample.name!r} fails: {_words_of(body)}")
            alone = time.perf_counter()
            # The first batch finds its memory; for every sample it would only lengthen the start.
            if self.max_batch > 1 and number == 0:
                outputs = self._predict_copies(self._item(sample), self.max_batch)
                self.encode(outputs[-1], "")
            self.slowest_s = max(self.slowest_s, alone - start, time.perf_counter() - alone)

    def compare(self) -> None:
        """Answer different samples in one batch and alone; what that refutes is not batched.

        Where packaging tried another runtime, or none, what the handler makes up is tried, too.
        """
        manifest = self.settings.manifest
        proof = manifest.proof if manifest else None
        found = self._samples_together()
        if manifest and proof and proof.runtime != together.runtime(manifest.engine):
            more = together.in_groups(
                self.handler.predict, together.comparer(self.handler), self.handler.trials()
            )
            found = more if found is None else found.worst(more or found)
        self.batch_effect = None if found is None else found.moved
        self._stop_batching(together.refused(proof, self.settings.serving, found))

    def _samples_together(self) -> Apart | None:
        chosen = self.samples[: min(_COMPARED, self.max_batch)]
        if len(chosen) < 2:
            return None
        items = [self._item(sample) for sample in chosen]
        return together.all_at_once(self.predict, self._apart, items)

    def _apart(self, one: Any, other: Any) -> Apart:
        if isinstance(one, RequestError) or isinstance(other, RequestError):
            return FAR
        return together.comparer(self.handler)(one, other)

    def _stop_batching(self, reason: str) -> None:
        if reason:
            self.max_batch, self.unbatched = 1, reason

    def _measure_batches(self, sample: Sample) -> None:
        item, size = self._item(sample), self.max_batch
        alone, full = self._fastest(item, 1), self._fastest(item, size)
        self.alone_s, self.full_s = alone[0], full[0]
        # A neighbour on this core makes the wall's clock lie, further threads the processor's.
        if not any(batches_pay(*pair, size) for pair in zip(alone, full, strict=True)):
            self._stop_batching("a full batch takes no less than its requests one by one")
        if self.overhead is not None:
            self.overhead = overhead_tokens(alone[1], full[1], size, self.length(item))

    def _fastest(self, item: Any, copies: int) -> tuple[float, float]:
        """Return the shortest times of a few runs, by the wall's and the processor's clock, in seconds."""
        walls: list[float] = []
        processor: list[float] = []
        while len(walls) < _MEASURES and sum(walls) < _MEASURE_S:
            start, start_cpu = time.perf_counter(), time.process_time()
            self._predict_copies(item, copies)
            walls.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_cpu)
        return min(walls), min(processor)

    def _predict_copies(self, item: Any, copies: int) -> list[Any]:
        items = [item] * copies
        return _prepare(
            f"predict() fails for {copies} items at once",
            lambda: _one_each(self.handler.predict(items), items),
            advice="; let it take several, or set batches = False",
        )

    def _item(self, sample: Sample) -> Any:
        return self.decode(sample.body, sample.content_type, "")

    def _timed(self, step: str, function: Callable[..., T], *arguments: Any) -> T:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.steps[step] = time.perf_counter() - start


def error_reply(error: RequestError) -> Reply:
    """Return the JSON body that tells a caller what went wrong."""
    body = jsontext.write({"error": type(error).__name__, "message": error.message})
    return error.status, JSON_TYPE.encode(), body


def _words_of(body: bytes) -> str:
    """Return the message of an error's body, or the body where a handler writes its own."""
    text = body.decode("utf-8", "replace")
    try:
        return str(jsontext.read(body)["message"])
    except (RequestError, KeyError, TypeError):
        return text


def _prepare(failure: str, call: Callable[[], T], advice: str = "") -> T:
    """Call what a handler does before serving; raise HandlerInvalid, beginning with ``failure``, when it raises."""
    try:
        return call()
    except HandlerInvalid:
        raise
    except Exception as error:
        _tell(error)
        raise HandlerInvalid(f"{failure}: {type(error).__name__}: {error}{advice}") from error


def _reply(status: Any, kind: Any, body: Any) -> Reply:
    """Return a handler's answer, or raise what is wrong with it: beyond this point it would harm others."""
    if not isinstance(status, int) or status not in STATUSES:
        raise TypeError(f"status() returned {status!r}; an answer with a body has one of STATUSES")
    if not isinstance(body, bytes):
        if not isinstance(body, bytearray | memoryview):
            raise TypeError(f"encode() returned {type(body).__name__} as the body, not bytes")
        body = bytes(body)
    return status, _content_type(kind), body


@lru_cache(maxsize=256)
def _content_type(kind: str) -> bytes:
    if not _CONTENT_TYPE.fullmatch(kind):
        raise ValueError(f"encode() returned {kind[:100]!r} as the content type")
    return kind.encode()


def _one_each(outputs: Sequence[Any], items: Sequence[Any]) -> list[Any]:
    outputs = list(outputs)
    if len(outputs) != len(items):
        raise HandlerInvalid(
            f"predict() returned {len(outputs)} outputs for {len(items)} items; it must return one each"
        )
    return outputs


def _failed(step: str, error: Exception) -> HandlerFailed:
    # The trace goes to the log, not to the caller: it may show internals.
    _tell(error)
    return HandlerFailed(f"the model's {step} step failed; the server's log says why")


def _tell(error: Exception) -> None:
    emit("".join(traceback.format_exception(error)), sys.stderr)
