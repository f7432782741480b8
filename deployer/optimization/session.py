"""An ONNX Runtime session with the threads it was given, and the errors of opening one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from deployer.errors import InputError
from inference_code.contract import TensorSpec

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Session:
    """A loaded model. Raises InputError when ONNX Runtime cannot open it, with its reason.

    All usable cores work for it where ``threads`` does not say otherwise, as timing does.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # As where it will serve; and spinning threads would take their core from whoever is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise InputError(
                f"ONNX Runtime cannot open {str(path)!r}: {_reason(error)}",
                hint="an operator that it lacks must be replaced before export, or exported at another opset",
            ) from error
        self.path = path
        self.inputs = tuple(_spec(item) for item in self._session.get_inputs())
        self.outputs = tuple(_spec(item) for item in self._session.get_outputs())
        self._output = self.outputs[0].name

    @property
    def fixed_batch(self) -> int | None:
        """The one batch size that the model takes, or None when its first axis is free."""
        sizes = {spec.shape[0] for spec in self.inputs if spec.shape}
        fixed = {size for size in sizes if size is not None}
        return min(fixed) if fixed else None

    def run(self, feeds: Arrays) -> Array:
        """Return the first output. Raises InputError naming what the model could not take."""
        return self.run_all(feeds, [self._output])[0]

    def run_all(self, feeds: Arrays, names: Sequence[str]) -> list[Array]:
        """Return the named outputs. Raises InputError naming what the model could not take."""
        try:
            answers: list[Array] = self._session.run(list(names), dict(feeds))
        except Exception as error:
            raise InputError(f"{self.path.name}: the model failed: {_reason(error)}") from error
        return answers

    def outputs_for(self, arrays: Arrays, batch: int) -> Array:
        """Return the first output for all rows of ``arrays``, fed ``batch`` rows at a time."""
        feeds = {spec.name: arrays[spec.name] for spec in self.inputs}
        rows = len(next(iter(feeds.values())))
        batch = self.fixed_batch or batch
        parts = [self._chunk(feeds, start, batch) for start in range(0, rows, batch)]
        return np.concatenate(parts)[:rows]

    def _chunk(self, feeds: Arrays, start: int, batch: int) -> Array:
        chunk = {name: value[start : start + batch] for name, value in feeds.items()}
        short = batch - len(next(iter(chunk.values())))
        if short and self.fixed_batch:
            # The last rows of a fixed-batch model are padded by repetition and cut off by the caller.
            chunk = {name: rows(value, batch) for name, value in chunk.items()}
        return self.run(chunk)


def rows(array: Array, count: int) -> Array:
    """Return the first ``count`` rows, starting over from the top when there are fewer."""
    index = np.arange(count) % len(array)
    return np.ascontiguousarray(array[index])


def _spec(item: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in item.shape)
    return TensorSpec(item.name, _DTYPES.get(item.type, item.type), shape)


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
