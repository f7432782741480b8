"""The names that scripts import from SageMaker's toolkits, so that they run without them, and without pickle.

``sagemaker_inference`` (content_types, decoder, encoder, errors, utils), what the Hugging Face toolkit adds to it,
and ``mms.service.PredictionException``. They stand before installed packages of the same name, whose decoder
unpickles request bodies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from inference_code.codecs import csvtext, jsontext, media, npy
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE
from inference_code.errors import HandlerRefused, RequestError
from inference_code.handler import defaults

_BASE = "sagemaker_inference"
_HUGGING_FACE = "sagemaker_huggingface_inference_toolkit"
_HOMES = (_BASE, _HUGGING_FACE, "mms", "ts")

_TYPES = {
    "JSON": JSON_TYPE,
    "CSV": CSV_TYPE,
    "NPY": NPY_TYPE,
    "OCTET_STREAM": "application/octet-stream",
    "ANY": "*/*",
    "UTF8_TYPES": [JSON_TYPE, CSV_TYPE],
}
_ENCODINGS = {"json": JSON_TYPE, "csv": CSV_TYPE, "npy": NPY_TYPE}
_OFFERED = frozenset(_ENCODINGS.values())
_MORE_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "X_IMAGE": "image/x-image",
    "FLAC": "audio/x-flac",
    "MP3": "audio/mpeg",
    "WAV": "audio/wave",
    "OGG": "audio/ogg",
    "X_AUDIO": "audio/x-audio",
}


class BaseInferenceToolkitError(Exception):
    """A script's own refusal: the status and words of the answer."""

    def __init__(self, status_code: int, message: str, phrase: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.phrase = phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    """Any refusal."""


class UnsupportedFormatError(BaseInferenceToolkitError):
    """A content type that is not read or written."""

    def __init__(self, content_type: str, **_: Any) -> None:
        super().__init__(415, f"Content type {content_type} is not supported.", content_type)


class ClientError(Exception):
    """As older scripts name a refusal."""


class PredictionException(Exception):
    """A refusal as Multi Model Server has it."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


def refusal(error: Exception) -> HandlerRefused | None:
    """Return what a script refuses with by an exception of a toolkit; None for any other exception."""
    if not any(kind.__module__.partition(".")[0] in _HOMES for kind in type(error).__mro__):
        return None
    status = getattr(error, "status_code", getattr(error, "error_code", 500))
    return HandlerRefused(str(getattr(error, "message", "") or error), status)


def install() -> None:
    """Make the names importable, in place of installed packages; twice is once."""
    for module in _modules():
        if module.__name__ in sys.modules:
            continue
        sys.modules[module.__name__] = module
        parent, _, name = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], name, module)


def _modules() -> list[ModuleType]:
    errors = (
        BaseInferenceToolkitError,
        GenericInferenceToolkitError,
        UnsupportedFormatError,
        ClientError,
    )
    for kind in errors:
        kind.__module__ = f"{_BASE}.errors"
    PredictionException.__module__ = "mms.service"
    encoders = {f"_array_to_{name}": _encoder(kind) for name, kind in _ENCODINGS.items()}
    return [
        _module(_BASE),
        _module(f"{_BASE}.content_types", _TYPES),
        _module(f"{_BASE}.errors", {kind.__name__: kind for kind in errors}),
        _module(f"{_BASE}.decoder", {"decode": decode, **_DECODERS}),
        _module(
            f"{_BASE}.encoder", {"encode": encode, "SUPPORTED_CONTENT_TYPES": _OFFERED, **encoders}
        ),
        _module(f"{_BASE}.utils", _UTILITIES),
        _module(_HUGGING_FACE),
        _module(f"{_HUGGING_FACE}.content_types", {**_TYPES, **_MORE_TYPES}),
        _module(
            f"{_HUGGING_FACE}.decoder_encoder",
            {"decode": _decode_inputs, "encode": _encode_prediction},
        ),
        _module("mms"),
        _module("mms.service", {"PredictionException": PredictionException}),
    ]


def _module(name: str, names: Mapping[str, Any] | None = None) -> ModuleType:
    module = ModuleType(name, "What scripts import of it, from inference_code.")
    if names is None:
        module.__path__ = []  # a package
    vars(module).update(names or {})
    return module


def decode(obj: Any, content_type: str) -> Any:
    """Return a numpy array of a body, never unpickled. Raises UnsupportedFormatError."""
    for name, kind in _ENCODINGS.items():
        if kind == content_type:
            return _DECODERS[f"_{name}_to_numpy"](obj)
    raise UnsupportedFormatError(content_type)


def encode(array_like: Any, content_type: str) -> str | bytes:
    """Return anything like an array as JSON or CSV text, or npy. Raises UnsupportedFormatError."""
    if content_type == JSON_TYPE:
        return jsontext.write(array_like).decode()
    if content_type == CSV_TYPE:
        return csvtext.write(np.atleast_1d(np.asarray(array_like))).decode()
    if content_type == NPY_TYPE:
        return npy.write(np.asarray(array_like))
    raise UnsupportedFormatError(content_type)


def _encoder(kind: str) -> Callable[[Any], str | bytes]:
    return lambda array_like: encode(array_like, kind)


def _json_to_numpy(text: str | bytes, dtype: Any = None) -> Any:
    return np.array(jsontext.read(_bytes(text)), dtype=dtype)


def _csv_to_numpy(text: str | bytes, dtype: Any = None) -> Any:
    return np.squeeze(csvtext.read_numbers(_bytes(text))).astype(dtype or np.float64)


def _npy_to_numpy(body: Any) -> Any:
    return npy.read(bytes(body)).copy()  # scripts may write into what they decode


def _decode_inputs(content: Any, content_type: str = JSON_TYPE) -> Any:
    try:
        return defaults.HuggingFace().decode(_bytes(content), content_type)
    except RequestError as error:
        raise PredictionException(error.message, error.status) from error


def _encode_prediction(content: Any, content_type: str = JSON_TYPE) -> str | bytes:
    if content_type not in _OFFERED:
        raise UnsupportedFormatError(content_type)
    body, kind = defaults.HuggingFace().encode(content, content_type)
    return body.decode() if media.is_text(kind) else body


def _bytes(content: Any) -> bytes:
    return content.encode() if isinstance(content, str) else bytes(content)


def _read_file(path: str, mode: str = "r") -> Any:
    with Path(path).open(mode) as file:
        return file.read()


def _write_file(path: str, data: Any, mode: str = "w") -> None:
    with Path(path).open(mode) as file:
        file.write(data)


def _parse_accept(accept: str | None) -> list[str]:
    return [part.partition(";")[0].strip() for part in (accept or "").split(",") if part.strip()]


def _content_type_of(headers: dict[str, str]) -> str | None:
    for name, value in headers.items():
        if name.lower().replace("-", "") == "contenttype":
            return value
    return None


_DECODERS: Mapping[str, Callable[..., Any]] = {
    "_json_to_numpy": _json_to_numpy,
    "_csv_to_numpy": _csv_to_numpy,
    "_npy_to_numpy": _npy_to_numpy,
}
_UTILITIES: Mapping[str, Callable[..., Any]] = {
    "read_file": _read_file,
    "write_file": _write_file,
    "parse_accept": _parse_accept,
    "retrieve_content_type_header": _content_type_of,
}
