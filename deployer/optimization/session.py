"""An ONNX Runtime session with the threads it was given, and the errors of opening one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from deployer.errors import InputError
from inference_code.contract import ONNXRUNTIME_CONFIG, ONNXRUNTIME_WITHOUT, TensorSpec
from inference_code.words import cleaned

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

_EXPORT = "export the model again, or copy the whole file"
_LACKS = "replace the operator before export, or export at another opset"
_NEW = "export the model for an older version: opset 17 and IR 8 are read everywhere"
_HINTS = (
    ("not a registered", _LACKS),
    ("No Op registered", _LACKS),
    ("Could not find an implementation", _LACKS),
    ("xternal data", "put the weights' file beside the model, as the export wrote it"),
    ("IR version", _NEW),
    ("is under development", _NEW),
)
"""What to do about what ONNX Runtime says."""


_DENORMAL, _ONE = np.float32(1e-40), np.float32(1)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take numbers below 1e-38 for zero in this thread, as ``inference_code.runtime`` does where the model will serve.

    Attention over padded rows is full of them, and arithmetic on them is slow. How the thread did before is restored:
    it is the caller's.
    """
    before = bool(_DENORMAL * _ONE == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class Session:
    """A loaded model. Raises InputError when ONNX Runtime cannot open it, with its reason.

    All usable cores work for it where ``threads`` does not say otherwise, as timing does.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for entry, value in ONNXRUNTIME_CONFIG.items():  # as where it will serve
            options.add_session_config_entry(entry, value)
        try:
            with denormals_flushed():
                self._session = onnxruntime.InferenceSession(
                    str(path),
                    options,
                    providers=["CPUExecutionProvider"],
                    disabled_optimizers=ONNXRUNTIME_WITHOUT,
                )
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            reason = _reason(error)
            hint = next((then for said, then in _HINTS if said in reason), _EXPORT)
            raise InputError(
                f"ONNX Runtime cannot open {str(path)!r}: {reason}", hint=hint
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
        chunks = batches(feeds, batch, fixed=self.fixed_batch is not None)
        with denormals_flushed():
            return np.concatenate([self._answer(chunk) for chunk in chunks])[:rows]

    def run_every(self, feeds: Arrays) -> list[Array]:
        """Return all outputs in their order. Raises InputError naming what the model could not take."""
        return self.run_all(feeds, [spec.name for spec in self.outputs])

    def _answer(self, feeds: Arrays) -> Array:
        answer = self.run(feeds)
        self._check(answer, len(next(iter(feeds.values()))))
        return answer

    def _check(self, answer: Any, fed: int) -> None:
        if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiub":
            raise InputError(f"{self.path.name}: its first output holds no numbers")
        if answer.ndim == 0 or len(answer) != fed:
            raise InputError(
                f"{self.path.name}: its first output has shape {answer.shape} for {fed} rows",
                hint="the first axis must be the rows, as that of the inputs is",
            )


def batches(arrays: Arrays, size: int, *, fixed: bool = False) -> Iterator[dict[str, Array]]:
    """Yield the rows in batches of ``size``; the last may be shorter, or with ``fixed`` starts over from its top."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        chunk = {name: value[start : start + size] for name, value in arrays.items()}
        short = fixed and start + size > count
        yield {name: rows(value, size) for name, value in chunk.items()} if short else chunk


def rows(array: Array, count: int) -> Array:
    """Return the first ``count`` rows, starting over from the top when there are fewer."""
    index = np.arange(count) % len(array)
    return np.ascontiguousarray(array[index])


def _spec(item: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in item.shape)
    return TensorSpec(item.name, _DTYPES.get(item.type, item.type), shape)


def _reason(error: Exception) -> str:
    """Return the first line of ONNX Runtime's message without its code and its C++ signatures."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return cleaned(" ".join(line.strip() for line in lines[:2]))  # the second names the axis
