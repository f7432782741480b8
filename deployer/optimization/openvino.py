"""The optional engine OpenVINO: its sessions, and the rungs that it runs.

Both rungs are plain ONNX files, which carry the engine's name in their metadata: ``openvino`` is the model as it
is, computed in bfloat16 where the processor has matrix units for it; ``openvino-int8`` was quantized by NNCF after
training, with the preset for transformers where there is no convolution. Without the packages neither is tried, and
the ladder says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from deployer.distribution import install_hint
from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization import graph, hardware
from deployer.optimization.onnxfile import external_files, save
from deployer.optimization.quantize import Rung, quiet
from deployer.optimization.session import Array, Arrays, Session, batches, usable_cores
from inference_code.contract import OPENVINO, TensorSpec, openvino_settings

NAMES = ("openvino", "openvino-int8")
PACKAGES = ("openvino", "nncf")
_DTYPES = {"boolean": "bool", "f16": "float16", "f32": "float32", "f64": "float64"}


def missing() -> str | None:
    """Return why these rungs cannot be tried, None when they can."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    return f"{' and '.join(lacking)} not installed: {install_hint('openvino')}"


def not_tried() -> dict[str, str]:
    """Return the rungs that lack their packages, each with the reason."""
    reason = missing()
    return dict.fromkeys(NAMES, reason) if reason else {}


def rungs(machine: Mapping[str, str]) -> tuple[Rung, ...]:
    """Return the rungs in the order in which they are tried."""
    half = "AMX-BF16" in machine["features"].split()
    return (
        Rung("openvino", "bf16" if half else "fp32", _as_it_is, engine=OPENVINO),
        Rung("openvino-int8", "int8", _int8, mixes=True, engine=OPENVINO),
    )


class OpenVinoSession(Session):
    """A model loaded by OpenVINO. Raises InputError when it cannot open it, EnvironmentProblem without it."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        openvino = _package("openvino")
        settings = openvino_settings(threads or usable_cores(), hardware.flags())
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        except Exception as error:  # RuntimeError and OpenVINO's own classes alike
            line = str(error).strip().splitlines()[0]
            raise InputError(f"OpenVINO cannot open {str(path)!r}: {line}") from error
        self._request = compiled.create_infer_request()
        self.path = path
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)

    def run(self, feeds: Arrays) -> Array:
        """Return the first output. Raises InputError naming what the model could not take."""
        try:
            return np.asarray(self._request.infer(dict(feeds), share_inputs=True)[0])
        except Exception as error:
            line = str(error).strip().splitlines()[0]
            raise InputError(f"{self.path.name}: the model failed: {line}") from error

    def run_every(self, feeds: Arrays) -> list[Array]:
        """Return all outputs in their order. Raises InputError naming what the model could not take."""
        self.run(feeds)
        places = range(len(self.outputs))
        return [np.array(self._request.get_output_tensor(place).data) for place in places]

    def run_all(self, feeds: Arrays, names: Sequence[str]) -> list[Array]:
        """Not for this engine: what lies inside a model is read by ONNX Runtime."""
        raise NotImplementedError


def _as_it_is(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
    save(onnx.load(str(source)), target, engine=OPENVINO)


def _int8(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
    if external_files(source):
        raise graph.Unfit("NNCF holds a model in one message: at most 2 GB")
    model = onnx.load(str(source))
    fixed = Session(source).fixed_batch
    rows = list(batches(calibration, fixed or 1, fixed=fixed is not None))
    has_convolution = any(node.op_type == "Conv" for node in model.graph.node)
    with quiet():
        nncf = _package("nncf")
        nncf.set_log_level(logging.ERROR)
        made = nncf.quantize(
            model,
            nncf.Dataset(rows),
            subset_size=len(rows),
            model_type=None if has_convolution else nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=sorted(exclude)) if exclude else None,
        )
    graph.drop_unused(made)
    save(made, target, engine=OPENVINO)


def _package(name: str) -> Any:
    # OpenVINO and NNCF report their use to a telemetry service; barred from its package they stay silent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentProblem(
            f"the package {name!r} cannot be imported: {error}",
            hint=install_hint("openvino"),
        ) from error


def _spec(port: Any) -> TensorSpec:
    kind = port.get_element_type().get_type_name()
    wide = kind.replace("i", "int", 1) if kind[0] == "i" else kind.replace("u", "uint", 1)
    shape = (None if n.is_dynamic else n.get_length() for n in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), _DTYPES.get(kind, wide), tuple(shape))
