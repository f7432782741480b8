"""One model with the threads it was given, run by ONNX Runtime or by OpenVINO."""

from __future__ import annotations

import ctypes
import importlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from inference_code.codecs import bfloat
from inference_code.contract import (
    ENGINES,
    MANIFEST_PATH,
    ONNXRUNTIME,
    ONNXRUNTIME_CONFIG,
    ONNXRUNTIME_WITHOUT,
    OPENVINO,
    ContractError,
    Manifest,
    TensorSpec,
    openvino_settings,
)
from inference_code.errors import HandlerInvalid, PackageMissing
from inference_code.words import cleaned

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], list[NDArray[Any]]]

#: ONNX's number of the type, and ONNX Runtime's name; served as float32.
_BFLOAT16, _BFLOAT16_NAME = 16, "tensor(bfloat16)"
_TYPES = {
    _BFLOAT16_NAME: "float32",
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
_OPENVINO_TYPES = {
    "boolean": "bool",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    **{
        f"{sign}{bits}": f"{name}{bits}"
        for sign, name in (("i", "int"), ("u", "uint"))
        for bits in (8, 16, 32, 64)
    },
}


class Model:
    """An ONNX model ready to run: ``inputs`` and ``outputs`` tell its names, shapes and types.

    ``axes`` tells by tensor what its file says of each axis: a size, a name, or None.
    """

    def __init__(self, path: Path, threads: int = 1, engine: str | None = None) -> None:
        """Load ``path`` with ``threads`` threads; raise HandlerInvalid when it is no model.

        ``engine`` is a key of ENGINES; by default the one that the bundle's manifest names.
        """
        chosen = engine or _engine_of_bundle(path)
        if chosen not in ENGINES:
            raise HandlerInvalid(f"no engine {chosen!r}; known: {', '.join(ENGINES)}")
        opened = _openvino if chosen == OPENVINO else _onnxruntime
        self.engine = chosen
        self.axes: dict[str, Axes] = {}
        self.inputs, self.outputs, self._run = opened(path, threads, self.axes)

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Return the outputs, in the order of ``outputs``."""
        return self._run(inputs)


def words_of(error: Exception) -> str | None:
    """Return in an engine's own words why a run failed, without its internals; None for any other failure."""
    engines = (InvalidArgument, Fail, RuntimeException, RuntimeError)
    return cleaned(str(error)) if isinstance(error, engines) else None


Axes = tuple[int | str | None, ...]
Opened = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], Run]


def _engine_of_bundle(path: Path) -> str:
    manifest = path.parent / MANIFEST_PATH
    if not manifest.is_file():
        return ONNXRUNTIME
    try:
        return Manifest.from_json(manifest.read_bytes()).engine
    except ContractError as error:
        raise HandlerInvalid(str(error)) from error


def _onnxruntime(path: Path, threads: int, axes: dict[str, Axes]) -> Opened:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what fails is raised, and told once
    for entry, value in ONNXRUNTIME_CONFIG.items():
        options.add_session_config_entry(entry, value)
    try:
        session = ort.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=ONNXRUNTIME_WITHOUT,
        )
    except Exception as error:  # onnxruntime raises a class of its own per status code
        words = cleaned(str(error))
        raise HandlerInvalid(
            f"{path.name}: ONNX Runtime {ort.__version__} cannot load it: {words}{_advice(words)}"
        ) from error
    nodes = (*session.get_inputs(), *session.get_outputs())
    axes.update((node.name, tuple(node.shape)) for node in nodes)
    inputs = tuple(_spec(node) for node in session.get_inputs())
    outputs = tuple(_spec(node) for node in session.get_outputs())
    names = [spec.name for spec in outputs]
    halves = {node.name for node in nodes if node.type == _BFLOAT16_NAME}
    if halves:
        return inputs, outputs, lambda arrays: _run_halves(session, names, arrays, halves)
    return inputs, outputs, lambda arrays: session.run(names, arrays)


def _advice(words: str) -> str:
    if "is not a registered function/op" in words:
        return (
            "; an operator that it lacks needs a handler that registers the operator's library: "
            "package --handler inference.py"
        )
    return ""


def _run_halves(
    session: Any, names: Sequence[str], arrays: Arrays, halves: set[str]
) -> list[NDArray[Any]]:
    """Run a model with bfloat16 among its inputs or outputs, which its Python API does not convert."""
    made = ort.OrtValue
    feeds = {
        name: made.ortvalue_from_numpy_with_onnx_type(bfloat.to_bits(array), _BFLOAT16)
        if name in halves
        else made.ortvalue_from_numpy(array)
        for name, array in arrays.items()
    }
    values = session.run_with_ort_values(names, feeds)
    return [
        _from_halves(value) if name in halves else value.numpy()
        for name, value in zip(names, values, strict=True)
    ]


def _from_halves(value: Any) -> NDArray[np.float32]:
    shape = tuple(value.shape())
    bits = np.empty(shape, np.uint16)
    if bits.size:
        ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bfloat.from_bits(bits)


def _spec(node: Any) -> TensorSpec:
    if node.type not in _TYPES:
        raise HandlerInvalid(
            f"tensor {node.name!r} is of type {node.type}, which is not served: {_way_out(node.type)}"
        )
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in node.shape)
    return TensorSpec(node.name, _TYPES[node.type], shape)


def _way_out(kind: str) -> str:
    if kind.startswith("seq(map"):
        return "export it without ZipMap (skl2onnx and onnxmltools: options={'zipmap': False})"
    if kind.startswith("tensor"):
        return "cast it to float32 in the graph"
    return "let the graph answer in tensors, or package --handler inference.py that serves it"


def _openvino(path: Path, threads: int, axes: dict[str, Axes]) -> Opened:
    # The package reports its own import to a telemetry service; barred from its reporter it stays silent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError as error:
        raise PackageMissing(
            f"{path.name} is to run on OpenVINO, which is not installed: pip install {ENGINES[OPENVINO][0]}"
        ) from error
    settings = openvino_settings(threads, _cpu_flags())
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except Exception as error:  # openvino raises RuntimeError and its own classes alike
        raise HandlerInvalid(
            f"{path.name}: OpenVINO {openvino.__version__} cannot load it: {error}"
        ) from error
    request = compiled.create_infer_request()
    one_at_a_time = threading.Lock()  # a request holds the tensors of one run

    def run(arrays: Arrays) -> list[NDArray[Any]]:
        with one_at_a_time:
            answer = request.infer(dict(arrays), share_inputs=True)
            return [np.asarray(answer[place]) for place in range(len(compiled.outputs))]

    inputs = tuple(_openvino_spec(port) for port in compiled.inputs)
    axes.update((spec.name, spec.shape) for spec in inputs)
    return inputs, tuple(_openvino_spec(port) for port in compiled.outputs), run


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.split())


def _openvino_spec(port: Any) -> TensorSpec:
    kind = port.get_element_type().get_type_name()
    if kind not in _OPENVINO_TYPES:
        raise HandlerInvalid(
            f"tensor {port.get_any_name()!r} is of type {kind}, which OpenVINO does not serve here: cast it to "
            "float32 in the graph"
        )
    shape = (None if n.is_dynamic else n.get_length() for n in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), _OPENVINO_TYPES[kind], tuple(shape))
