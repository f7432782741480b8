"""The rungs: ways to make one ONNX file smaller or faster, each a function from file to file.

ONNX Runtime's own quantizers do the work; what they write is stripped of names of this machine and saved
with sorted keys, so that the same input gives the same bytes.
"""

from __future__ import annotations

import io
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process

from deployer.optimization import graph, half, integer, tail
from deployer.optimization.embeddings import shrink_tables
from deployer.optimization.onnxfile import external_files, save
from deployer.optimization.searches import Store
from deployer.optimization.session import Array, Arrays, Session, batches
from inference_code.contract import ONNXRUNTIME

CALIBRATION_BATCH = 8
OPTIMIZED = "fp32-optimized"
FUSED = "fp32-fused"
NO_BF16 = "ONNX Runtime has no bfloat16 kernels for CPUs; the rung openvino computes in it where the processor has AMX"
HISTOGRAM_ROWS = 64
"""Entropy and percentile hold every activation in memory; this many rows fill their histograms well enough."""

_NO_HISTOGRAM = {
    "is not finite": "a value inside is infinite, which no histogram holds",
    "inhomogeneous": "the size of a value inside depends on the rows, which no histogram holds",
}
"""What NumPy says when ONNX Runtime makes the histogram of such a value, and what it means."""

_WARNINGS, _ERRORS = 2, 3  # of ONNX Runtime's logger; its default is the first

FED_ROWS = 256
"""Of a model with one batch size; rows are fed more than once so that each fills its batches as often as the next."""

Build = Callable[[Path, Arrays, Path, frozenset[str]], str | None]


@dataclass(frozen=True)
class Rung:
    """One way down: ``build(source, calibration, target, exclude)`` writes the file ``target``.

    It returns what is to be told of the rung beside its verdict, such as what stays float and why, or None.
    ``mixes`` says that ``exclude`` (names of layers that stay FP32) is honoured. With ``dynamic_scales`` an answer
    depends on the rows that share its batch. ``engine`` runs it.
    """

    name: str
    precision: str
    build: Build
    mixes: bool = False
    dynamic_scales: bool = False
    engine: str = ONNXRUNTIME


class _Rows:
    """Hands calibration rows to ONNX Runtime in batches of its size, or of ``size`` where it takes any."""

    def __init__(self, arrays: Arrays, fixed: int | None, size: int = CALIBRATION_BATCH) -> None:
        self._batches = batches(arrays, fixed or size, fixed=fixed is not None)

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch, None at the end."""
        return next(self._batches, None)


def _equal_rows(arrays: Arrays, fixed: int | None) -> _Rows:
    """Hand out the rows in batches of one size, as ONNX Runtime's histograms need them, each as often as the next.

    Of a model with one batch size the rows go round until they fill whole batches; where that takes too many, the
    last rows are left out.
    """
    count = min(HISTOGRAM_ROWS, len(next(iter(arrays.values()))))
    if fixed is None:
        size = max(n for n in range(1, CALIBRATION_BATCH + 1) if count % n == 0)
        return _Rows({name: value[:count] for name, value in arrays.items()}, None, size)
    while count > 1 and math.lcm(count, fixed) > FED_ROWS:
        count -= 1
    fed = np.arange(math.lcm(count, fixed)) % count
    return _Rows({name: value[fed] for name, value in arrays.items()}, fixed)


def prepare(source: Path, target: Path) -> None:
    """Write ``source`` with constants folded and every node named, as the quantizers want it.

    A model with external data is too large for ONNX Runtime's preparation and keeps its graph as it is.
    """
    if external_files(source):
        model = onnx.load(str(source))
    else:
        with quiet():
            quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        model = onnx.load(str(target))
    graph.name_nodes(model)
    graph.flatten_biases(model)
    # Shapes noted by the exporter outlive the transposing of weights and then contradict it.
    del model.graph.value_info[:]
    save(model, target)


def rungs(*, reduce_range: bool, searches: Path | None = None) -> tuple[Rung, ...]:
    """Return the rungs in the order in which they are tried; ``reduce_range`` is for CPUs without VNNI.

    Those that equalise share what they search for, in the folder ``searches`` also with other processes: a set of
    rungs serves one climb.
    """
    recipes = integer.Recipes(searches)
    fixed = partial(static, reduce_range=reduce_range, store=Store(searches))
    equalized = partial(integer.build, reduce_range=reduce_range, recipes=recipes)
    return (
        Rung(OPTIMIZED, "fp32", _optimized),
        Rung(FUSED, "fp32", _fused),
        Rung("int8-equalized-static", "int8", partial(equalized, static=True), mixes=True),
        Rung(
            "int8-equalized-lean",
            "int8",
            partial(equalized, static=True, slack=integer.LEAN),
            mixes=True,
        ),
        Rung(
            "int8-equalized-dynamic",
            "int8",
            partial(equalized, static=False),
            mixes=True,
            dynamic_scales=True,
        ),
        Rung(
            "int8-int4-tables",
            "int8+int4",
            _int4_tables(partial(equalized, static=True, table_bits=4)),
            mixes=True,
        ),
        *(
            Rung(f"int8-static-{method}", "int8", fixed(method), mixes=True)
            for method in ("minmax", "entropy", "percentile")
        ),
        *(
            Rung(f"int8-static-{types}", "int8", fixed("minmax", types=types), mixes=True)
            # Weights without sign are for processors on which those with a sign must lose a bit.
            for types in ("s8s8", *(("u8u8",) if reduce_range else ()))
        ),
        Rung(
            "int8-dynamic-per-channel",
            "int8",
            _dynamic(True, reduce_range),
            mixes=True,
            dynamic_scales=True,
        ),
        Rung(
            "int8-dynamic", "int8", _dynamic(False, reduce_range), mixes=True, dynamic_scales=True
        ),
        Rung("int8-weights", "int8-weights", _weights(8)),
        Rung("int4-weights", "int4-weights", _weights(4)),
        Rung("fp16", "fp16", _fp16),
    )


def _optimized(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
    if external_files(source):
        raise graph.Unfit("the graph of a model with external data is left as it is")
    shutil.copyfile(source, target)


def _fused(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
    """Whole attention blocks as one operator each, by ONNX Runtime's optimizer for transformers."""
    if external_files(source):
        raise graph.Unfit("the graph of a model with external data is left as it is")
    with quiet():
        from onnxruntime.transformers.optimizer import optimize_model

        made = optimize_model(str(source), model_type="bert", opt_level=0)
    if all("Attention" not in node.op_type for node in made.model.graph.node):
        raise graph.Unfit("ONNX Runtime's optimizer finds no attention to fuse")
    save(made.model, target)


def _int4_tables(equalized: Build) -> Build:
    """Equalised static int8, look-up tables in 4 bits."""

    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        nodes = onnx.load(str(source), load_external_data=False).graph.node
        if all(node.op_type != "Gather" for node in nodes):
            raise graph.Unfit("the model has no look-up tables")
        equalized(source, calibration, target, exclude)

    return build


def _fp16(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> str | None:
    """Half precision inside, float at the ends: faster where the processor computes in it."""
    with quiet():
        return half.write(source, target)


def _dynamic(per_channel: bool, reduce_range: bool) -> Build:
    """Weights now, activations with a fresh scale at each call."""

    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        with quiet():
            quantization.quantize_dynamic(
                str(source),
                str(target),
                per_channel=per_channel,
                reduce_range=reduce_range,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=sorted(exclude),
                use_external_data_format=bool(external_files(source)),
            )

    return build


def static(
    method: str,
    reduce_range: bool,
    types: str = "u8s8",
    percentile: float = 99.99,
    store: Store | None = None,
) -> Build:
    """Static int8 (QDQ) with scales from calibration by ``method``; ``types`` are of activations and weights.

    Ranges that are measured are shared through ``store``.

    Where there are convolutions every operator turns to int8, but for a tail that joins different ranges. Elsewhere
    only matrix products and tables do: the huge negative numbers of an attention mask would eat the whole range of
    an Add.
    """
    activation, weight = (
        quantization.QuantType.QUInt8 if sign == "u" else quantization.QuantType.QInt8
        for sign in (types[0], types[2])
    )
    kind = getattr(CalibrationMethod, {"minmax": "MinMax"}.get(method, method.capitalize()))

    def build(
        source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]
    ) -> str | None:
        operators = _static_operators(source)
        ending = tail.find(source, calibration, store or Store(None))
        left = ending.within(operators)
        fixed = Session(source).fixed_batch
        rows = (_Rows if method == "minmax" else _equal_rows)(calibration, fixed)
        with quiet(), _histograms_told():
            quantization.quantize_static(
                str(source),
                str(target),
                rows,
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range and types != "u8u8",
                activation_type=activation,
                weight_type=weight,
                nodes_to_exclude=sorted(tail.with_followers(source, exclude) | left),
                op_types_to_quantize=operators,
                calibrate_method=kind,
                extra_options={"CalibPercentile": percentile, "MatMulConstBOnly": True},
            )
        return ending.note(left)

    return build


@contextmanager
def _histograms_told() -> Iterator[None]:
    """Say what ONNX Runtime's histograms cannot hold as what it is."""
    try:
        yield
    except ValueError as error:
        for words, why in _NO_HISTOGRAM.items():
            if words in str(error):
                raise graph.Unfit(why) from error
        raise


def _static_operators(source: Path) -> list[str] | None:
    kinds = {node.op_type for node in onnx.load(str(source), load_external_data=False).graph.node}
    return None if "Conv" in kinds else ["MatMul", "Gemm", "Gather"]


def _weights(bits: int) -> Build:
    """Weights alone, in blocks of 32 with a scale each; activations stay float."""

    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        model = onnx.load(str(source))
        graph.gemm_to_matmul(model)
        if not graph.layers(model):
            raise graph.Unfit("the model has no matrix products with constant weights")
        with quiet():
            # Importing this module configures the process's root logger, which quiet undoes.
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            quantizer = MatMulNBitsQuantizer(
                model, bits=bits, block_size=32, is_symmetric=True, accuracy_level=4
            )
            quantizer.process()
        made = quantizer.model.model
        shrink_tables(made)
        graph.drop_unused(made)
        save(made, target)

    return build


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizers' advice to developers off the user's screen, and off stdout above all."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(_ERRORS)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
