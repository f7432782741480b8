"""What SageMaker's toolkits do where a script has no function for it.

Their containers differ, and the script was written for one of them. Which one is told by
``INFERENCE_TOOLKIT`` (pytorch, huggingface, scikit-learn, plain), else by what the script imports and what its
``model_fn`` returns; ``plain`` is left, and decodes to plain values. None of them unpickles.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.codecs import csvtext, jsontext, media, npy
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE
from inference_code.errors import BadRequest, HandlerInvalid, NotAcceptable, UnsupportedMediaType
from inference_code.handler import pipelines
from inference_code.handler.base import Body, encode_value

TOOLKIT_ENV = "INFERENCE_TOOLKIT"
#: A model_fn may return a few things together; longer collections are data.
_MOST_PARTS = 16
_OFFERED = (JSON_TYPE, CSV_TYPE, NPY_TYPE)


class Toolkit:
    """Plain defaults: values as they come, arrays for CSV and npy."""

    name = "plain"

    def load(self, model_dir: Path) -> Any:
        """Return the model where the script has no ``model_fn``. Raises HandlerInvalid."""
        raise HandlerInvalid(
            "the handler has no model_fn: add 'def model_fn(model_dir)' that returns the loaded model"
        )

    def decode(self, body: Body, kind: str) -> Any:
        """Return what ``predict_fn`` gets where the script has no ``input_fn``."""
        if kind == JSON_TYPE:
            return jsontext.read(body)
        if kind == CSV_TYPE:
            return csvtext.read_numbers(body)
        if kind == NPY_TYPE:
            return npy.read(body)
        raise UnsupportedMediaType(
            f"Content-Type {kind!r} is not read; send {', '.join(_OFFERED)}, or write input_fn"
        )

    def check_predict(self, model: Any) -> None:
        """Raise HandlerInvalid where the script must have its own ``predict_fn``."""
        raise HandlerInvalid(
            "the handler has neither predict_fn nor transform_fn: "
            "add 'def predict_fn(data, model)' that returns the prediction"
        )

    def predict(self, data: Any, model: Any) -> Any:
        """Return the prediction where the script has no ``predict_fn``."""
        raise NotImplementedError  # check_predict has refused to start

    def encode(self, prediction: Any, accept: str) -> tuple[bytes, str]:
        """Return the answer where the script has no ``output_fn``."""
        return encode_value(prediction, accept)


class _Arrays(Toolkit):
    """Defaults over arrays: text becomes numbers, any prediction becomes JSON, CSV or npy."""

    def decode(self, body: Body, kind: str) -> Any:
        value = super().decode(body, kind)
        if kind == CSV_TYPE:
            return self.from_text(np.squeeze(value))  # one line or column has one dimension there
        if kind == NPY_TYPE:
            return self.from_array(value)
        # A JSON object is no array; scripts that are sent one take it as it is.
        return value if isinstance(value, Mapping) else self.from_text(_array(value))

    def encode(self, prediction: Any, accept: str) -> tuple[bytes, str]:
        kind = media.choose(accept, _OFFERED)
        return encode_value(prediction if kind == JSON_TYPE else np.asarray(prediction), kind)

    def from_text(self, numbers: NDArray[Any]) -> Any:
        """Return what numbers from JSON and CSV become."""
        raise NotImplementedError

    def from_array(self, array: NDArray[Any]) -> Any:
        """Return what an npy body becomes."""
        return array


class PyTorch(_Arrays):
    """Tensors in and out; the model is called without gradients, or loaded from the one TorchScript file."""

    name = "pytorch"

    def load(self, model_dir: Path) -> Any:
        torch = importlib.import_module("torch")
        path = model_dir / "model.pt"
        if not path.is_file():
            found = sorted(p for p in model_dir.iterdir() if p.suffix in (".pt", ".pth"))
            if len(found) != 1:
                names = ", ".join(p.name for p in found) or "none"
                raise HandlerInvalid(
                    f"the handler has no model_fn, and of .pt and .pth files there is not one: {names}"
                )
            path = found[0]
        try:
            return torch.jit.load(str(path), map_location=self._device())
        except RuntimeError as error:
            raise HandlerInvalid(
                f"the handler has no model_fn, and {path.name} is no TorchScript file"
            ) from error

    def from_text(self, numbers: NDArray[Any]) -> Any:
        return _torch().as_tensor(numbers, dtype=_torch().float32).to(self._device())

    def from_array(self, array: NDArray[Any]) -> Any:
        # A body's memory cannot be written, and torch would warn of it.
        return _torch().from_numpy(array.copy()).to(self._device())

    def check_predict(self, model: Any) -> None:
        if not callable(model):
            super().check_predict(model)

    def predict(self, data: Any, model: Any) -> Any:
        with _torch().no_grad():
            model = model.to(self._device())
            model.eval()
            return model(data.to(self._device()))

    def encode(self, prediction: Any, accept: str) -> tuple[bytes, str]:
        if isinstance(prediction, _torch().Tensor):
            prediction = prediction.detach().cpu().numpy()
        return super().encode(prediction, accept)

    def _device(self) -> str:
        return "cuda" if _torch().cuda.is_available() else "cpu"


class ScikitLearn(_Arrays):
    """Arrays of 32-bit floats from text; ``model.predict``."""

    name = "scikit-learn"

    def from_text(self, numbers: NDArray[Any]) -> Any:
        return numbers.astype(np.float32)

    def check_predict(self, model: Any) -> None:
        if not callable(getattr(model, "predict", None)):
            super().check_predict(model)

    def predict(self, data: Any, model: Any) -> Any:
        return model.predict(data)


class HuggingFace(Toolkit):
    """JSON as it comes, CSV by its header line, pictures and sound as ``inputs``; the model is a pipeline."""

    name = "huggingface"

    def load(self, model_dir: Path) -> Any:
        return pipelines.load(model_dir)

    def decode(self, body: Body, kind: str) -> Any:
        if kind == CSV_TYPE:
            return _with_header(bytes(body))
        if kind.startswith("image/"):
            return {"inputs": _picture(body)}
        if kind.startswith("audio/"):
            return {"inputs": bytes(body)}
        return super().decode(body, kind)

    def check_predict(self, model: Any) -> None:
        if not callable(model):
            super().check_predict(model)

    def predict(self, data: Any, model: Any) -> Any:
        if not isinstance(data, dict):
            return model(data, **pipelines.checked(model, data, {}))
        inputs = data.pop("inputs", data)
        parameters = data.pop("parameters", None) or {}
        if not isinstance(parameters, dict):
            raise BadRequest("parameters: expected an object")
        parameters = pipelines.checked(model, inputs, parameters)
        try:
            return model(inputs, **parameters)
        except Exception as error:
            refused = pipelines.refusal(error, model, inputs)
            if refused is None:
                raise
            raise refused from error

    def encode(self, prediction: Any, accept: str) -> tuple[bytes, str]:
        kind = media.choose(accept, _OFFERED)
        if kind == CSV_TYPE and not hasattr(prediction, "dtype"):
            return _table(prediction), kind
        return encode_value(np.asarray(prediction) if kind == NPY_TYPE else prediction, kind)


TOOLKITS: Mapping[str, type[Toolkit]] = {
    kind.name: kind for kind in (PyTorch, HuggingFace, ScikitLearn, Toolkit)
}


def choose(module: ModuleType, model: Any = None) -> Toolkit:
    """Return the toolkit that a script was written for. Raises HandlerInvalid for an unknown name."""
    named = os.environ.get(TOOLKIT_ENV)
    if named is not None:
        if named not in TOOLKITS:
            raise HandlerInvalid(
                f"{TOOLKIT_ENV} is {named!r}; there are {', '.join(sorted(TOOLKITS))}"
            )
        return TOOLKITS[named]()
    homes = {home for value in (*vars(module).values(), model) for home in _homes(value)}
    for package, kind in (
        ("transformers", HuggingFace),
        ("torch", PyTorch),
        ("sklearn", ScikitLearn),
    ):
        if package in homes:
            return kind()
    return Toolkit()


def choose_without_model(module: ModuleType, model_dir: Path) -> Toolkit:
    """Return the toolkit that is to load the model of a script without ``model_fn``.

    A folder that transformers has saved tells it where the script does not.
    """
    chosen = choose(module)
    told = TOOLKIT_ENV in os.environ or isinstance(chosen, HuggingFace | ScikitLearn)
    if told or any(model_dir.glob("*.pt")) or any(model_dir.glob("*.pth")):
        return chosen
    return HuggingFace() if pipelines.is_folder(model_dir) else chosen


def _homes(value: Any) -> Iterator[str]:
    """Yield the packages that a value, or what a tuple or dict holds, comes from."""
    if isinstance(value, ModuleType):
        yield value.__name__.partition(".")[0]
    elif isinstance(value, tuple | list | dict) and len(value) <= _MOST_PARTS:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _homes(item)
    else:
        kinds = value.__mro__ if isinstance(value, type) else (value, *type(value).__mro__)
        for kind in kinds:
            yield str(getattr(kind, "__module__", "")).partition(".")[0]


def _torch() -> Any:
    return sys.modules["torch"]


def _array(value: Any) -> NDArray[Any]:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadRequest(
            "json: expected numbers, in lists of equal length; for anything else write input_fn"
        ) from None


def _with_header(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"csv: not UTF-8 at byte {error.start}") from error
    first = text.partition("\n")[0].lower()
    if not any(name in first for name in ("question", "context", "inputs")):
        raise BadRequest(
            "csv: the first line must name the columns: inputs, or question and context"
        )
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise BadRequest("csv: the body holds no line after its header")
    return {"inputs": [row["inputs"] for row in rows] if "inputs" in rows[0] else rows}


def _table(rows: Any) -> bytes:
    rows = rows if isinstance(rows, list) else [rows]
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise NotAcceptable("the answer is no table; ask for application/json")
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _picture(body: Body) -> Any:
    try:
        image = importlib.import_module("PIL.Image")
    except ModuleNotFoundError:
        raise UnsupportedMediaType(
            "pictures are not read here: this model's requirements lack pillow"
        ) from None
    try:
        return image.open(io.BytesIO(body)).convert("RGB")
    except (OSError, ValueError, image.DecompressionBombError) as error:
        raise BadRequest("the picture cannot be read") from error
