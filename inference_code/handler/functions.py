"""SageMaker's functions as a Handler, called as its inference toolkit calls them.

``model_fn(model_dir)``, ``input_fn(data, content_type)``, ``predict_fn(data, model)``,
``output_fn(prediction, accept)``, or ``transform_fn(model, data, content_type, accept)`` instead of
the last three; each may take ``context`` as one more argument. ``pre_model_fn(model_dir)`` runs before
and ``model_warmup_fn(model_dir, model)`` after loading. JSON and CSV arrive as ``str``, all else as ``bytes``.
What a script leaves out is as in the toolkit that it was written for (``defaults``); what it imports of one is
there (``toolkits``). Two differences: the toolkits' decoder unpickles npy bodies, ours never does; and ``accept`` is
one type, negotiated, where theirs is the header as it came, be it a list.
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
from inference_code.handler import defaults, toolkits
from inference_code.handler.base import Body, Context, Handler, encode_value
from inference_code.handler.context import FunctionContext

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


class FunctionHandler(Handler[Any, Any]):
    """A module with ``model_fn`` and friends. They know nothing of batches, so each gets one request."""

    batches = False
    unbatched = "functions know nothing of batches; a class that says batches = True may be given several requests"
    wants_headers = True

    def __init__(self, module: ModuleType) -> None:
        """Take the functions of ``module``; raise HandlerInvalid when they do not fit together."""
        functions = functions_in(module)
        _check(functions, module.__name__)
        self._module = module
        self._call = {name: _caller(name, fn) for name, fn in functions.items()}
        self._toolkit = defaults.choose(module)
        self._model_dir = ""
        self._model: Any = None

    def load(self, context: Context) -> None:
        """Run ``pre_model_fn``, ``model_fn`` and ``model_warmup_fn``.

        Raises HandlerInvalid when a function is missing that no toolkit has a default for.
        """
        self._model_dir = str(context.model_dir)
        shared = FunctionContext(self._model_dir)
        if "pre_model_fn" in self._call:
            self._call["pre_model_fn"](shared, self._model_dir)
        if "model_fn" in self._call:
            self._model = self._call["model_fn"](shared, self._model_dir)
            self._toolkit = defaults.choose(self._module, self._model)
        else:
            self._toolkit = defaults.choose_without_model(self._module, context.model_dir)
            self._model = self._toolkit.load(context.model_dir)
        if not {"predict_fn", "transform_fn"} & self._call.keys():
            self._toolkit.check_predict(self._model)
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
        return context, self._toolkit.decode(body, kind)

    def predict(self, items: Sequence[Any]) -> Sequence[Any]:
        """Run ``predict_fn`` or ``transform_fn`` for each item."""
        return [(context, self._predict(context, value)) for context, value in items]

    def encode(self, output: Any, accept: str) -> tuple[bytes, str]:
        """Run ``output_fn`` and bring its answer, text, bytes or (body, type), into one form."""
        context, prediction = output
        body, kind = self._encoded(context, prediction, _accept(accept))
        return body, context.head(context.content_type or kind)

    def status(self, output: Any) -> int:
        """Return the status that the script has set for an answer, 200 when it has set none."""
        context: FunctionContext = output[0]
        return context.status

    def _encoded(self, context: FunctionContext, prediction: Any, accept: str) -> tuple[bytes, str]:
        if "output_fn" in self._call:
            prediction = self._call["output_fn"](context, prediction, accept)
        elif "transform_fn" not in self._call:
            return self._toolkit.encode(prediction, accept)
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
        if "predict_fn" in self._call:
            return self._call["predict_fn"](context, value, self._model)
        return self._toolkit.predict(value, self._model)


def functions_in(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return those of SageMaker's functions that ``module`` defines."""
    return {
        name: getattr(module, name) for name in _ARGUMENTS if callable(getattr(module, name, None))
    }


def _check(functions: Mapping[str, Callable[..., Any]], where: str) -> None:
    pipeline = [name for name in ("input_fn", "predict_fn", "output_fn") if name in functions]
    if "transform_fn" in functions and pipeline:
        raise HandlerInvalid(
            f"{where} has transform_fn and {', '.join(pipeline)}: "
            "transform_fn replaces all three, so keep one or the other"
        )


def _caller(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``call(context, *arguments)`` that passes the context only to a function that takes it."""
    names = _ARGUMENTS[name]
    signature = inspect.signature(function)
    takes_context = _binds(signature, len(names) + 1)
    if takes_context or _binds(signature, len(names)):

        def call(context: FunctionContext, *arguments: Any) -> Any:
            try:
                return function(*arguments, context) if takes_context else function(*arguments)
            except Exception as error:
                refused = toolkits.refusal(error)
                if refused is None:
                    raise
                raise refused from error

        return call
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
    """Return the one type that a script's functions are asked for.

    AWS's toolkits hand the header on as it came and answer with it as the type, be it a list.
    """
    default = os.environ.get(ACCEPT_ENV, JSON_TYPE)
    return default if not accept or accept == "*/*" else media.first_choice(accept, default)
