"""The rungs: ways to make one ONNX file smaller or faster, each a function from file to file.

ONNX Runtime's own quantizers do the work; what they write is stripped of names of this machine and saved
with sorted keys, so that the same input gives the same bytes.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process

from deployer.optimization.onnxfile import save
from deployer.optimization.session import Array, Arrays

CALIBRATION_BATCH = 8
HISTOGRAM_ROWS = 64
"""Entropy and percentile hold every activation in memory; this many rows fill their histograms well enough."""


@dataclass(frozen=True)
class Rung:
    """One way down: ``build(source, calibration, target)`` writes the file ``target``."""

    name: str
    precision: str
    build: Callable[[Path, Arrays, Path], None]


class _Rows:
    """Hands calibration rows to ONNX Runtime in small batches."""

    def __init__(self, arrays: Arrays, batch: int) -> None:
        self._arrays = arrays
        self._batch = batch
        self._start = 0

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch, None at the end."""
        count = len(next(iter(self._arrays.values())))
        if self._start >= count:
            return None
        stop = self._start + self._batch
        feeds = {name: value[self._start : stop] for name, value in self._arrays.items()}
        self._start = stop
        return feeds


def prepare(source: Path, target: Path) -> None:
    """Write ``source`` with shapes inferred and constants folded, as every quantizer wants it."""
    with _quiet():
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    model = onnx.load(str(target))
    # Shapes noted by the exporter outlive the transposing of weights and then contradict it.
    del model.graph.value_info[:]
    save(model, target)


def dynamic(*, per_channel: bool, reduce_range: bool) -> Callable[[Path, Arrays, Path], None]:
    """Return a builder of dynamic int8: weights now, activations with a fresh scale at each call."""

    def build(source: Path, calibration: Arrays, target: Path) -> None:
        with _quiet():
            quantization.quantize_dynamic(
                str(source),
                str(target),
                per_channel=per_channel,
                reduce_range=reduce_range,
                weight_type=quantization.QuantType.QInt8,
            )

    return build


def static(
    method: str, *, reduce_range: bool, exclude: Sequence[str] = ()
) -> Callable[[Path, Arrays, Path], None]:
    """Return a builder of static int8 (QDQ): scales from calibration by ``minmax``, ``entropy`` or ``percentile``.

    Nodes named in ``exclude`` stay in FP32.
    """
    kind = getattr(CalibrationMethod, {"minmax": "MinMax"}.get(method, method.capitalize()))

    def build(source: Path, calibration: Arrays, target: Path) -> None:
        arrays: Arrays = calibration
        if method != "minmax":
            arrays = {name: value[:HISTOGRAM_ROWS] for name, value in calibration.items()}
        with _quiet():
            quantization.quantize_static(
                str(source),
                str(target),
                _Rows(arrays, CALIBRATION_BATCH),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=list(exclude),
                calibrate_method=kind,
                extra_options=_static_options(),
            )

    return build


def rungs(*, reduce_range: bool) -> tuple[Rung, ...]:
    """Return the rungs in the order in which they are tried."""
    made = [
        Rung("int8-dynamic", "int8", dynamic(per_channel=False, reduce_range=reduce_range)),
        Rung(
            "int8-dynamic-per-channel", "int8", dynamic(per_channel=True, reduce_range=reduce_range)
        ),
    ]
    made += [
        Rung(f"int8-static-{method}", "int8", static(method, reduce_range=reduce_range))
        for method in ("minmax", "entropy", "percentile")
    ]
    return tuple(made)


def _static_options() -> dict[str, Any]:
    return {"CalibPercentile": 99.99}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizers' advice to developers off the user's screen, and off stdout above all."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
