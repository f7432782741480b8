"""Pictures in, labels or numbers out, by an ONNX model: ``deployer package model.onnx --handler image``.

``preprocessor_config.json``, as transformers saves it, lies beside the model and says what is done to a picture;
``config.json``, where it is there, has the labels (``id2label``). The handler's requirements name ``pillow``.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference_code.codecs import jsontext, media
from inference_code.contract import JSON_TYPE, TensorSpec
from inference_code.errors import BadRequest, HandlerFailed, HandlerInvalid, UnsupportedMediaType
from inference_code.handler.base import Body, Context
from inference_code.handler.base import Handler as Base
from inference_code.handlers import beside
from inference_code.handlers.joining import Joining
from inference_code.handlers.labels import TOP, Labels, labels_of, top_of
from inference_code.handlers.onnx import only_model
from inference_code.handlers.pictures import Pixels, Plan, check_pixels, plan_of, size_of
from inference_code.runtime import Model

_PICTURES = ("image/jpeg", "image/jpg", "image/png", "application/x-image", "image/x-image")


@dataclass(frozen=True)
class Pictures:
    """The pictures of one request as the model takes them; ``single`` was no list."""

    pixels: list[Pixels]
    single: bool = True
    top: int = TOP


Outputs = list[NDArray[Any]]
Answer = tuple[Pictures, list[Outputs]]


class Handler(Base[Pictures, Answer]):
    """Takes a JPEG or PNG, or JSON: ``{"inputs": "<base64>"}``, or a list of such texts.

    Answers ``[{"label": "cat", "score": 0.9}, ...]`` where the labels are known, else
    ``{"outputs": {name: ...}}``; a list of them for a list. Pictures of one size are joined where packaging
    proved that the first axis is the batch.
    """

    takes_views = True

    def load(self, context: Context) -> None:
        """Open the session, and read how pictures are prepared."""
        self._model = Model(context.model or only_model(context.model_dir), context.threads)
        self._spec = _picture_input(self._model.inputs)
        self._channels_first = _channels_first(self._spec)
        beside.needed(context, "preprocessor_config.json")
        channels = self._spec.shape[1 if self._channels_first else 3]
        settings = beside.settings(context, "preprocessor_config.json")
        self._plan = plan_of(settings, channels or 3)
        _check_fit(self._spec, self._plan, self._channels_first)
        joining = Joining(context.manifest, self._model.inputs, self._model.outputs)
        self.unbatched = joining.by_first_axis
        self.batches = not self.unbatched
        self._names = [spec.name for spec in self._model.outputs]
        self._scores = self._names.index("logits") if "logits" in self._names else 0
        self._labels: Labels | None = None
        self._labels = self._probed(labels_of(beside.settings(context, "config.json")))

    def decode(self, body: Body, content_type: str) -> Pictures:
        """Read and prepare the pictures of one request."""
        kind = media.media_type(content_type)
        if kind in _PICTURES:
            return Pictures([self._prepared(body)])
        if kind != JSON_TYPE:
            raise UnsupportedMediaType(
                f"Content-Type {kind!r} is not read; send image/jpeg, image/png or {JSON_TYPE}"
            )
        value = jsontext.read(body)
        texts = value.get("inputs") if isinstance(value, dict) else None
        single = isinstance(texts, str)
        if single:
            texts = [texts]
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            raise BadRequest('json: expected {"inputs": "a picture in base64"}, or a list of them')
        bodies = [_bytes(text) for text in texts]
        check_pixels(map(size_of, bodies))
        return Pictures([self._prepared(each) for each in bodies], single, top_of(value))

    def predict(self, items: Sequence[Pictures]) -> Sequence[Answer]:
        """Run the pictures of one shape together, where the model takes several."""
        pixels = [each for item in items for each in item.pixels]
        groups: dict[Any, list[int]] = {}
        for place, each in enumerate(pixels):
            groups.setdefault(each.shape if self.batches else place, []).append(place)
        found: dict[int, Outputs] = {}
        for places in groups.values():
            found |= zip(places, self._run([pixels[place] for place in places]), strict=True)
        answers, start = [], 0
        for item in items:
            end = start + len(item.pixels)
            answers.append((item, [found[place] for place in range(start, end)]))
            start = end
        return answers

    def encode(self, output: Answer, accept: str) -> tuple[bytes, str]:
        """Return labels, or the outputs by their names."""
        item, found = output
        kind = media.choose(accept, (JSON_TYPE,))
        answers = [self._answer(outputs, item.top) for outputs in found]
        return jsontext.write(answers[0] if item.single else answers), kind

    def examples(self) -> Sequence[tuple[bytes, str]]:
        """Return two pictures, so that a batch of different ones is tried at the start."""
        ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
        found = []
        for pixels in (ramp, ramp.T.copy()):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, format="PNG")
            found.append((file.getvalue(), "image/png"))
        return found

    def _prepared(self, body: Body) -> Pixels:
        pixels = self._plan.pixels(body)
        if self._channels_first:
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels, dtype=self._spec.dtype)

    def _run(self, pixels: Sequence[Pixels]) -> list[Outputs]:
        """Return each picture's outputs, without the first axis where that counts pictures."""
        outputs = self._model.run({self._spec.name: np.stack(pixels)})
        count = len(pixels)
        if any(not output.ndim or len(output) != count for output in outputs):
            if count == 1 and self._labels is None:
                return [outputs]
            raise HandlerFailed("the model's outputs do not have one row per picture")
        return [[output[place] for output in outputs] for place in range(count)]

    def _answer(self, outputs: Outputs, top: int) -> Any:
        if self._labels is None:
            return {"outputs": dict(zip(self._names, outputs, strict=True))}
        return self._labels.ranked(outputs[self._scores], top)

    def _probed(self, labels: Labels | None) -> Labels | None:
        """Return the labels for what the model answers to the examples: logits, or probabilities already."""
        if labels is None:
            return None
        rows = []
        for body, kind in self.examples():
            for outputs in self._run(self.decode(body, kind).pixels):
                rows.append(outputs[self._scores])
        return labels.knowing(np.stack(rows))


def _picture_input(inputs: Sequence[TensorSpec]) -> TensorSpec:
    kinds = ("float32", "float16", "float64", "uint8")
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].dtype not in kinds:
        told = ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in inputs)
        raise HandlerInvalid(
            f"the model's inputs are {told}; the handler image serves one of four axes: write a handler"
        )
    if inputs[0].shape[0] not in (None, 1):
        raise HandlerInvalid(
            f"the model takes exactly {inputs[0].shape[0]} pictures at a time: export it with a free first axis"
        )
    return inputs[0]


def _channels_first(spec: TensorSpec) -> bool:
    """Return where the channels are: the axis of 1 or 3; the second where that is not told."""
    if spec.shape[1] in (1, 3) or (spec.shape[1] is None and spec.shape[3] is None):
        return True
    if spec.shape[3] in (1, 3):
        return False
    raise HandlerInvalid(
        f"{spec.name!r} has the shape {list(spec.shape)}: no axis of 1 or 3 channels"
    )


def _check_fit(spec: TensorSpec, plan: Plan, channels_first: bool) -> None:
    wanted = spec.shape[2:] if channels_first else spec.shape[1:3]
    given = plan.final_size or (None, None)
    for has, takes in zip(given, wanted, strict=True):
        if takes is not None and has != takes:
            size = "any size" if has is None else f"{given[0]} by {given[1]}"
            raise HandlerInvalid(
                f"preprocessor_config.json makes pictures of {size}, and {spec.name!r} takes "
                f"{list(spec.shape)}: package the two that belong together"
            )
    if spec.dtype == "uint8" and (plan.scale is not None or plan.mean is not None):
        raise HandlerInvalid(
            f"{spec.name!r} takes whole numbers: set do_rescale and do_normalize to false "
            "in preprocessor_config.json"
        )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("json: a picture of inputs is not in base64") from error
