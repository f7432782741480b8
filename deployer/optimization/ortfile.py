"""A model in ONNX Runtime's own format, with the lists of operators that a reduced runtime would be built from.

The stock converter optimises for a kind of processor and writes. One table, that of the operators' types, it lays out
in the order of addresses in its memory, which differ from run to run. Here that table is laid out anew, by name: the
same model gives the same bytes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from deployer.errors import InputError
from deployer.optimization.onnxfile import external_files
from deployer.optimization.quantize import quiet
from inference_code.contract import TensorSpec

TARGETS = {"amd64": None, "arm64": "arm", "native": "amd64"}
"""What a file may be for, with the converter's word. To it "amd64" is this very kind of processor: convolutions are
laid out in blocks of 8 or 16 numbers, as it has AVX2 or AVX-512, and on the other kind the answers are wrong, without
an error (seen with 1.31.1). None leaves that out; so does "arm", which keeps signed 8-bit integers as they are."""

MODEL = "model.ort"
OPERATORS = "required_operators.config"
OPERATORS_AND_TYPES = "required_operators_and_types.config"
LARGEST_BYTES = 2**31 - 2**24
"""A FlatBuffer holds less than 2 GiB."""

_ALIGNED = 64
_INTEGER = re.compile("Quant|Integer|QLinear|QGemm|NBits")


def convert(model: Path, folder: Path, target: str) -> None:
    """Write the .ort file of an ONNX ``model`` and its two lists of operators to ``folder``."""
    tool: Any = importlib.import_module("onnxruntime.tools.convert_onnx_models_to_ort")
    format_tools: Any = importlib.import_module("onnxruntime.tools.ort_format_model")
    made = folder / "converted"
    with quiet():
        tool.convert_onnx_models_to_ort(
            model, made, [tool.OptimizationStyle.Fixed], target_platform=TARGETS[target]
        )
    (found,) = made.glob("*.ort")
    path = folder / MODEL
    path.write_bytes(in_order(found.read_bytes()))
    for name, with_types in ((OPERATORS, False), (OPERATORS_AND_TYPES, True)):
        with quiet():
            format_tools.create_config_from_models([path], folder / name, with_types)
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if not line.startswith("#")]
        text = "\n".join([f"# Operators of {MODEL}", *said])
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


def check(model: Path, outputs: Sequence[TensorSpec]) -> None:
    """Raise InputError for a model that is too large for the format, or whose answers are no tensors of numbers."""
    size = sum(part.stat().st_size for part in (model, *external_files(model)))
    if size > LARGEST_BYTES:
        raise InputError(
            f"{model.name} has {size / 1e9:.1f} GB; a file in this format has 2.1 at most"
        )
    for spec in outputs:
        if not re.fullmatch(r"bool|float\d+|u?int\d+", spec.dtype):
            raise InputError(
                f"output {spec.name!r} is a {spec.dtype}: only tensors of numbers can be compared",
                hint="export it so; scikit-learn's converters without ZipMap",
            )


def facts(model: Path) -> dict[str, Any]:
    """Return the opset of an ONNX file, and whether it computes in 8-bit integers or holds half precision."""
    graph = onnx.load(str(model), load_external_data=False)
    opset = max(
        (each.version for each in graph.opset_import if each.domain in ("", "ai.onnx")), default=0
    )
    kinds = {each.data_type for each in graph.graph.initializer}
    kinds |= {each.type.tensor_type.elem_type for each in graph.graph.input}
    return {
        "opset": opset,
        "integer": any(_INTEGER.search(node.op_type) for node in graph.graph.node),
        "half": bool(kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}),
    }


def operators(folder: Path) -> list[str]:
    """Return the operators that a converted model needs, as ``domain;opset;name``."""
    lines = (folder / OPERATORS).read_text(encoding="utf-8").splitlines()
    rows = [line.split(";") for line in lines if line and not line.startswith("#")]
    return [
        f"{domain};{opset};{name}" for domain, opset, names in rows for name in names.split(",")
    ]


def in_order(data: bytes) -> bytes:
    """Return the same .ort file with the table of the operators' types laid out by name.

    A FlatBuffer is written from its end, and what is written later refers to what was written before, never the other
    way round: the model's part is kept as it is, and the table and the root are written before it anew.
    """
    importlib.import_module("onnxruntime.tools.ort_format_model")  # makes the next one known
    readers: Any = importlib.import_module("ort_flatbuffers_py.fbs.InferenceSession")
    flatbuffers: Any = importlib.import_module("flatbuffers")
    root = readers.InferenceSession.GetRootAs(bytearray(data), 0)
    model, resolver = root.Model()._tab, root.KernelTypeStrResolver()
    if resolver is None:
        return data
    at = model.Pos - root._tab.Get(flatbuffers.number_types.SOffsetTFlags, model.Pos)
    kept = data[min(at, model.Pos) :]
    builder = flatbuffers.Builder(len(kept) + _ALIGNED)
    builder.Bytes[-len(kept) :] = kept
    builder.head -= len(kept)
    builder.minalign = _ALIGNED
    types = _types(builder, resolver)
    version = root._tab.Indirect(root._tab.Offset(4) + root._tab.Pos)
    builder.StartObject(4)
    for slot, place in ((0, len(data) - version), (1, len(data) - model.Pos), (3, types)):
        builder.PrependUOffsetTRelativeSlot(slot, place, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"ORTM")
    return bytes(builder.Output())


def _types(builder: Any, resolver: Any) -> int:
    """Write the operators' types in the order in which they are listed, which is by name; return their place."""
    entries = []
    for number in range(resolver.OpKernelTypeStrArgsLength()):
        operator = resolver.OpKernelTypeStrArgs(number)
        kinds = []
        for part in range(operator.KernelTypeStrArgsLength()):
            kind = operator.KernelTypeStrArgs(part)
            args = [kind.Args(each) for each in range(kind.ArgsLength())]
            places = []
            for arg in args:
                builder.StartObject(2)
                builder.PrependUint32Slot(1, arg.Index(), 0)
                builder.PrependInt8Slot(0, arg.ArgType(), 0)
                places.append(builder.EndObject())
            kinds.append((kind.KernelTypeStr(), _named(builder, kind.KernelTypeStr(), places)))
        entries.append(
            (operator.OpId(), _named(builder, operator.OpId(), [at for _, at in sorted(kinds)]))
        )
    listed = _vector(builder, [at for _, at in sorted(entries)])
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, listed, 0)
    return int(builder.EndObject())


def _named(builder: Any, name: bytes, places: list[int]) -> int:
    listed, text = _vector(builder, places), builder.CreateSharedString(name)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, listed, 0)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    return int(builder.EndObject())


def _vector(builder: Any, places: list[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())
