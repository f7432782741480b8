"""SageMaker's functions as a Handler, called as its inference toolkit calls them.

``model_fn(model_dir)``, ``input_fn(data, content_type)``, ``predict_fn(data, model)``,
``output_fn(prediction, accept)``, or ``transform_fn(model, data, content_type, accept)`` instead of
the last three; each may take ``context`` as one more argument. ``pre_model_fn(model_dir)`` runs before
and ``model_warmup_fn(model_dir, model)`` after loading. Text bodies arrive as ``str``. One difference:
the toolkit's own decoder unpickles npy bodies, ours never does.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from inference_code.codecs import media
from inference_code.contract import JSON_TYPE
from inference_code.errors import BadRequest, HandlerInvalid
from inference_code.handler.base import Body, Context, Handler, encode_value

ACCEPT_ENV = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
_ARGUMENTS = {
    "pre_model_fn": ("model_dir",),
    "model_fn": ("model_dir",),
    "model_warmup_fn": ("model_dir", "model"),
    "input_fn": ("data", "content_type"),
    "predict_fn": ("data", "model"),
    "output_fn": ("prediction", "accept"),
    "transform_fn": ("model", "data", "content_type", "accept"),
}


class FunctionContext:
    """The ``context`` argument of SageMaker's functions; the headers that survive SageMaker, by name."""

    def __init__(self, model_dir: str, headers: Mapping[str, str] | None = None) -> None:
        self.system_properties = {"model_dir": model_dir, "gpu_id": None}
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}

    def get_request_header(self, index: int, name: str) -> str | None:
        """Return one header of the request; ``index`` is always 0, as requests come one by one."""
        return self._headers.get(name.lower())

    def get_all_request_header(self, index: int) -> dict[str, str]:
        """Return all headers of the request, by lower-case name."""
        return dict(self._headers)


class FunctionHandler(Handler[Any, Any]):
    """A module with ``model_fn`` and friends. They know nothing of batches, so each gets one request."""

    batches = False
    wants_headers = True

    def __init__(self, module: ModuleType) -> None:
        """Take the functions of ``module``; raise HandlerInvalid when they do not fit together."""
        self._functions = functions_in(module)
        _check(self._functions, module.__name__)
        self._call = {name: _caller(name, fn) for name, fn in self._functions.items()}
        self._model_dir = ""
        self._model: Any = None

    def load(self, context: Context) -> None:
        """Run ``pre_model_fn``, ``model_fn`` and ``model_warmup_fn``."""
        self._model_dir = str(context.model_dir)
        shared = FunctionContext(self._model_dir)
        if "pre_model_fn" in self._call:
            self._call["pre_model_fn"](shared, self._model_dir)
        self._model = self._call["model_fn"](shared, self._model_dir)
        if "model_warmup_fn" in self._call:
            self._call["model_warmup_fn"](shared, self._model_dir, self._model)

    def decode_request(
        self, body: Body, content_type: str, accept: str, headers: Mapping[str, str]
    ) -> Any:
        """Return ``input_fn``'s value with its context, or what ``transform_fn`` will need."""
        kind = media.media_type(content_type)
        accept = _accept(accept)
        context = FunctionContext(
            self._model_dir, {**headers, "Content-Type": content_type, "Accept": accept}
        )
        data = _text_or_bytes(body, kind)
        if "transform_fn" in self._call:
            return context, (data, kind, accept)
        if "input_fn" in self._call:
            return context, self._call["input_fn"](context, data, kind)
        return context, super().decode(body, content_type)

    def predict(self, items: Sequence[Any]) -> Sequence[Any]:
        """Run ``predict_fn`` or ``transform_fn`` for each item."""
        return [(context, self._predict(context, value)) for context, value in items]

    def encode(self, output: Any, accept: str) -> tuple[bytes, str]:
        """Run ``output_fn`` and bring its answer, text, bytes or (body, type), into one form."""
        context, prediction = output
        accept = _accept(accept)
        if "output_fn" in self._call:
            prediction = self._call["output_fn"](context, prediction, accept)
        elif "transform_fn" not in self._call:
            return encode_value(prediction, accept)
        kind = accept
        if (
            isinstance(prediction, tuple)
            and len(prediction) == 2
            and isinstance(prediction[1], str)
        ):
            prediction, kind = prediction
        if isinstance(prediction, str):
            return prediction.encode(), kind
        if isinstance(prediction, bytes | bytearray | memoryview):
            return bytes(prediction), kind
        return encode_value(prediction, kind)

    def _predict(self, context: FunctionContext, value: Any) -> Any:
        if "transform_fn" in self._call:
            data, kind, accept = value
            return self._call["transform_fn"](context, self._model, data, kind, accept)
        return self._call["predict_fn"](context, value, self._model)


def functions_in(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return those of SageMaker's functions that ``module`` defines."""
    return {
        name: getattr(module, name) for name in _ARGUMENTS if callable(getattr(module, name, None))
    }


def _check(functions: Mapping[str, Callable[..., Any]], where: str) -> None:
    if "model_fn" not in functions:
        raise HandlerInvalid(
            f"{where} has no model_fn: add 'def model_fn(model_dir)' that returns the loaded model"
        )
    pipeline = [name for name in ("input_fn", "predict_fn", "output_fn") if name in functions]
    if "transform_fn" in functions and pipeline:
        raise HandlerInvalid(
            f"{where} has transform_fn and {', '.join(pipeline)}: "
            "transform_fn replaces all three, so keep one or the other"
        )
    if "transform_fn" not in functions and "predict_fn" not in functions:
        raise HandlerInvalid(
            f"{where} has neither predict_fn nor transform_fn: "
            "add 'def predict_fn(data, model)' that returns the prediction"
        )


def _caller(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``call(context, *arguments)`` that passes the context only to a function that takes it."""
    names = _ARGUMENTS[name]
    signature = inspect.signature(function)
    if _binds(signature, len(names) + 1):
        return lambda context, *arguments: function(*arguments, context)
    if _binds(signature, len(names)):
        return lambda _context, *arguments: function(*arguments)
    raise HandlerInvalid(
        f"{name}{signature} does not fit: write '{name}({', '.join(names)})', "
        "with 'context' as one more argument if you need it"
    )


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _text_or_bytes(body: Body, kind: str) -> str | bytes:
    data = bytes(body)
    if not media.is_text(kind):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{kind}: the body is not UTF-8 at byte {error.start}") from error


def _accept(accept: str) -> str:
    if not accept or accept == "*/*":
        return os.environ.get(ACCEPT_ENV, JSON_TYPE)
    return accept
