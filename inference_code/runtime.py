"""One ONNX Runtime session with the threads it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inference_code.contract import TensorSpec
from inference_code.errors import HandlerInvalid

_TYPES = {
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


class Model:
    """An ONNX model ready to run: ``inputs`` and ``outputs`` tell its names, shapes and types."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load ``path`` with ``threads`` intra-op threads; raise HandlerInvalid when it is no model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # Spinning threads take the core from the HTTP process between batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own per status code
            raise HandlerInvalid(
                f"{path.name}: ONNX Runtime {ort.__version__} cannot load it: {error}"
            ) from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in the order of ``outputs``."""
        answer: list[NDArray[Any]] = self._session.run(self._names, inputs)
        return answer


def example(specs: Sequence[TensorSpec], free: int = 1) -> dict[str, NDArray[Any]]:
    """Return zeros (empty texts) for each input, ``free`` wherever a dimension is free."""
    arrays = {}
    for spec in specs:
        shape = [free if n is None else n for n in spec.shape]
        fill: Any = "" if spec.dtype == "str" else 0
        arrays[spec.name] = np.full(
            shape, fill, dtype=object if spec.dtype == "str" else spec.dtype
        )
    return arrays


def _spec(node: Any) -> TensorSpec:
    if node.type not in _TYPES:
        raise HandlerInvalid(f"tensor {node.name!r} is of type {node.type}, which is not served")
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in node.shape)
    return TensorSpec(node.name, _TYPES[node.type], shape)
