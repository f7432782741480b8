"""The handler that a bundle gets when its user gives none: any ONNX file, by its own inputs.

``code/inference.py`` then holds one line: ``from inference_code.handlers.onnx import Handler``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.codecs import jsontext, media, schema, tensors
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE
from inference_code.errors import BadRequest, HandlerInvalid
from inference_code.handler.base import Body, Context
from inference_code.handler.base import Handler as Base
from inference_code.handlers import blame, trial
from inference_code.handlers.joining import Joining
from inference_code.handlers.rows import Rows
from inference_code.runtime import Model

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
        trial.check_inputs(self.model)
        self._rows = Rows(self._specs, self.model.outputs, self.model.axes)
        self._known: dict[str, Array] | None = None
        self._output_names = [spec.name for spec in self.model.outputs]
        self._joining = Joining(context.manifest, self._specs, self.model.outputs)
        self.unbatched = self._joining.refusal
        self.batches = not self.unbatched
        if self.batches:
            self._rows.joined_along(self._joining.axes, self._joining.outputs)

    def decode(self, body: Body, content_type: str) -> tensors.Inputs:
        """Return the arrays of one request, checked against the model's names, shapes and types."""
        inputs = tensors.read(body, media.media_type(content_type), self._specs)
        self._rows.check(inputs.arrays)
        return inputs

    def predict(self, items: Sequence[tensors.Inputs]) -> Sequence[Answer]:
        """Run the items that fit together in one go, the others one by one."""
        columns = [item.arrays for item in items]
        if len(items) == 1 or not self._joining.fit(columns):
            return [(item, self._run_one(item.arrays)) for item in items]
        outputs = self.model.run(self._joining.joined(columns))
        return list(zip(items, self._joining.parts(columns, outputs), strict=True))

    def encode(self, output: Answer, accept: str) -> tuple[bytes, str]:
        """Return the outputs in the form of the request; as whole tensors where they have not a row per example."""
        item, arrays = output
        kind = media.choose(accept, (JSON_TYPE, CSV_TYPE, NPY_TYPE))
        form = item.form
        if form == "instances" and not self._rows.answered(item.arrays, arrays):
            form = "inputs"
        return tensors.write(arrays, form, kind, item.request_id), kind

    def examples(self) -> Sequence[tuple[bytes, str]]:
        """Return one request, of zeros or ones, that the model answers."""
        made = trial.answered(self.model)
        return [(jsontext.write({"inputs": made}), JSON_TYPE)]

    def trials(self) -> Sequence[tensors.Inputs]:
        """Return requests made from the inputs' types, when the model takes some."""
        if not self.batches:
            return []
        found = trial.several(self.model, self._joining.axes)
        return [tensors.Inputs(arrays, "inputs") for arrays in found]

    def arrays(self, output: Answer) -> Mapping[str, Array]:
        """Return the outputs by name."""
        return output[1]

    def describe(self) -> Mapping[str, Any]:
        """Return schemas made of the model's names, shapes and types."""
        return {
            "request": schema.request_schema(self._specs, self._rows.pieces),
            "answer": schema.answer_schema(self.model.outputs),
        }

    def _run_one(self, arrays: dict[str, Array]) -> dict[str, Array]:
        step = self._rows.step
        rows = len(next(iter(arrays.values()))) if step else 0
        if rows == step:
            return self._run(arrays)
        if rows % step or not rows:
            raise BadRequest(
                f"this model was exported for exactly {step} rows at a time; {rows} were sent"
            )
        pieces = [self._piece(arrays, at) for at in range(0, rows, step)]
        return {name: np.concatenate([p[name] for p in pieces]) for name in self._output_names}

    def _piece(self, arrays: dict[str, Array], start: int) -> dict[str, Array]:
        step = self._rows.step
        outputs = self._run({n: a[start : start + step] for n, a in arrays.items()})
        odd = self._rows.unjoined(outputs)
        if odd is not None:
            raise BadRequest(
                f"this model takes {'one row' if step == 1 else f'{step} rows'} at a time: "
                f"its output {odd!r} does not hold one row per row of input"
            )
        return outputs

    def _run(self, arrays: dict[str, Array]) -> dict[str, Array]:
        try:
            outputs = self.model.run(arrays)
        except Exception as error:
            if self._known is None:
                self._known = trial.known(self.model)
            raise blame.judged(self.model.run, arrays, self._known, error) from error
        if self._known is None:
            self._known = {name: array.copy() for name, array in arrays.items()}
        return dict(zip(self._output_names, outputs, strict=True))


def only_model(model_dir: Path) -> Path:
    """Return the one .onnx file at the root of ``model_dir``; raise HandlerInvalid otherwise."""
    found = sorted(model_dir.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise HandlerInvalid(
            f"{model_dir} must hold one .onnx file (found: {names}), or a code/inference.py"
        )
    return found[0]
