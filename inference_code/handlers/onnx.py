"""The handler that a bundle gets when its user gives none: any ONNX file, by its own inputs.

``code/inference.py`` then holds one line: ``from inference_code.handlers.onnx import Handler``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.codecs import jsontext, media, tensors
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE, TensorSpec
from inference_code.errors import BadRequest, HandlerInvalid
from inference_code.handler.base import Body, Context
from inference_code.handler.base import Handler as Base
from inference_code.handlers import likely
from inference_code.handlers.joining import Joining
from inference_code.runtime import Model, example

Array = NDArray[Any]
Answer = tuple[tensors.Inputs, dict[str, Array]]


class Handler(Base[tensors.Inputs, Answer]):
    """Serves ``context.model``, or the only .onnx file of the folder.

    Requests are joined along the axes that packaging proved to carry the batch, and not at all without that
    proof. A model exported with a fixed first axis is fed that many rows at a time.
    """

    takes_views = True

    def load(self, context: Context) -> None:
        """Open the session."""
        self.model = Model(context.model or only_model(context.model_dir), context.threads)
        self._specs = self.model.inputs
        self._output_names = [spec.name for spec in self.model.outputs]
        self._fixed_rows = _fixed_rows(self._specs)
        self._joining = Joining(context.manifest, self._specs, self.model.outputs)
        self.unbatched = self._joining.refusal
        self.batches = not self.unbatched

    def decode(self, body: Body, content_type: str) -> tensors.Inputs:
        """Return the arrays of one request, checked against the model's names, shapes and types."""
        inputs = tensors.read(body, media.media_type(content_type), self._specs)
        if len(inputs.arrays) > 1 and self.batches:
            self._joining.rows(inputs.arrays)
        return inputs

    def predict(self, items: Sequence[tensors.Inputs]) -> Sequence[Answer]:
        """Run the items that fit together in one go, the others one by one."""
        columns = [item.arrays for item in items]
        if len(items) == 1 or not self._joining.fit(columns):
            return [(item, self._run_one(item.arrays)) for item in items]
        outputs = self.model.run(self._joining.joined(columns))
        return list(zip(items, self._joining.parts(columns, outputs), strict=True))

    def encode(self, output: Answer, accept: str) -> tuple[bytes, str]:
        """Return the outputs in the form of the request."""
        item, arrays = output
        kind = media.choose(accept, (JSON_TYPE, CSV_TYPE, NPY_TYPE))
        return tensors.write(arrays, item.form, kind, item.request_id), kind

    def examples(self) -> Sequence[tuple[bytes, str]]:
        """Return one request of zeros."""
        zeros = example(self._specs)
        return [(jsontext.write({"inputs": zeros}), JSON_TYPE)]

    def trials(self) -> Sequence[tensors.Inputs]:
        """Return requests made from the inputs' types, when the model takes some."""
        if not self.batches:
            return []
        found = likely.inputs(self.model, self._joining.axes)
        return [tensors.Inputs(arrays, "inputs") for arrays in found]

    def arrays(self, output: Answer) -> Mapping[str, Array]:
        """Return the outputs by name."""
        return output[1]

    def describe(self) -> Mapping[str, Any]:
        """Return schemas made of the model's names, shapes and types."""
        return {
            "request": tensors.request_schema(self._specs),
            "answer": tensors.answer_schema(self.model.outputs),
        }

    def _run_one(self, arrays: dict[str, Array]) -> dict[str, Array]:
        step = self._fixed_rows
        rows = len(next(iter(arrays.values()))) if step else 0
        if rows == step:
            return dict(zip(self._output_names, self.model.run(arrays), strict=True))
        if rows % step:
            raise BadRequest(
                f"this model was exported for exactly {step} rows at a time; {rows} were sent"
            )
        pieces = [
            self.model.run({n: a[at : at + step] for n, a in arrays.items()})
            for at in range(0, rows, step)
        ]
        columns = zip(self._output_names, zip(*pieces, strict=True), strict=True)
        return {name: np.concatenate(parts) for name, parts in columns}


def only_model(model_dir: Path) -> Path:
    """Return the one .onnx file at the root of ``model_dir``; raise HandlerInvalid otherwise."""
    found = sorted(model_dir.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise HandlerInvalid(
            f"{model_dir} must hold one .onnx file (found: {names}), or a code/inference.py"
        )
    return found[0]


def _fixed_rows(specs: Sequence[TensorSpec]) -> int:
    firsts = {spec.shape[0] if spec.shape else None for spec in specs}
    first = firsts.pop() if len(firsts) == 1 else None
    return first or 0
