"""What packaging must know of an ONNX file: inputs, outputs, precision, and the files its weights lie in.

Reads the file forward once and keeps no weight, so that a bundle can be verified while it streams and
where ``onnx`` is not installed: serving needs only ONNX Runtime. The field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader

from deployer.bundle.protobuf import Malformed, Wire
from deployer.errors import InputError
from inference_code.contract import ENGINE_KEY, TensorSpec

_HINT = "export the model again, or copy the whole file"
_DEEPEST = 64  # messages in messages; a graph in a loop in a graph takes four

# Where a tensor can hide, by kind of message and field number. "weight" is a tensor that stands in for an
# input of the same name.
_INSIDE_GRAPH = {1: "node", 15: "sparse"}
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "main graph", 14: "note", 20: "training", 25: "function"},
    "main graph": {**_INSIDE_GRAPH, 5: "weight", 11: "input", 12: "output"},
    "graph": {**_INSIDE_GRAPH, 5: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "weight": {8: "name", 13: "place"},
    "tensor": {13: "place"},
}
# Fields of a tensor: its type, and the parts that hold values.
_TYPE_FIELD, _VALUE_FIELDS = 2, (4, 5, 6, 7, 9, 10, 11)
_FLOATS = {1: "fp32", 10: "fp16", 11: "fp64", 16: "bf16"}
_EIGHT_BITS, _FOUR_BITS = (2, 3), (21, 22)
_INTEGER = re.compile(
    r"QuantizeLinear|DequantizeLinear|DynamicQuantize.*|(MatMul|Conv)Integer.*|QLinear.*|Q(Gemm|Attention)"
)
"""Operators that compute on 8-bit integers, ONNX's and ONNX Runtime's."""

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "str",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}


@dataclass(frozen=True)
class OnnxFile:
    """``unclear`` names each input or output that is no tensor of known type and rank, with the reason.

    ``data_files`` are the locations of external weights, as the file gives them, sorted. ``engine`` is what
    the file says that it was measured by, None where it says nothing. ``precision`` is that of the operators, else
    of most of the weights: int4, int8, fp16, bf16, fp64 or fp32.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    unclear: Mapping[str, str]
    data_files: tuple[str, ...]
    engine: str | None = None
    precision: str = "fp32"


def read_onnx(path: str, stream: BufferedReader) -> OnnxFile:
    """Read an ONNX file; ``path`` is for messages. Raises InputError when it is none."""
    found = _Found(Wire(stream))
    try:
        found.walk("model", None, 0)
    except Malformed as error:
        raise InputError(f"{path!r} is not an ONNX model: {error}", hint=_HINT) from error
    if not found.graphs:
        raise InputError(f"{path!r} is not an ONNX model: it holds no graph", hint=_HINT)
    return OnnxFile(
        inputs=tuple(spec for spec in found.inputs if spec.name not in found.weights),
        outputs=tuple(found.outputs),
        unclear={name: why for name, why in found.unclear.items() if name not in found.weights},
        data_files=tuple(sorted(found.places)),
        engine=found.engine,
        precision=found.precision,
    )


def data_member(onnx_path: str, location: str) -> str | None:
    """Return the member that external data at ``location`` is, or None when it leaves the bundle's folder.

    ``location`` is relative to the folder of the ONNX file.
    """
    if "\\" in location or location.startswith("/") or ".." in location.split("/"):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(onnx_path), location))


@dataclass
class _Found:
    wire: Wire
    graphs: int = 0
    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    unclear: dict[str, str] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    engine: str | None = None
    operators: set[str] = field(default_factory=set)
    sizes: Counter[int] = field(default_factory=Counter)

    @property
    def precision(self) -> str:
        """What the graph computes in, by the bytes of its weights where no operator tells."""
        integer = any(_INTEGER.fullmatch(name) for name in self.operators)
        four = any(self.sizes[kind] for kind in _FOUR_BITS)
        if integer and (not four or any(self.sizes[kind] for kind in _EIGHT_BITS)):
            return "int8"
        if four or "MatMulNBits" in self.operators:
            return "int4"
        floats = {kind: self.sizes[kind] for kind in _FLOATS if self.sizes[kind]}
        return _FLOATS[max(floats, key=lambda kind: floats[kind])] if floats else "fp32"

    def walk(self, kind: str, end: int | None, depth: int) -> None:
        """Note what the message up to ``end`` holds, and the messages in it."""
        if depth > _DEEPEST:
            raise Malformed(f"its messages are nested more than {_DEEPEST} deep")
        self.graphs += kind == "main graph"
        if kind in ("weight", "tensor"):
            self._tensor(kind, end)
            return
        for number, stop in _parts(self.wire, end):
            match _CHILDREN[kind].get(number):
                case None:
                    pass
                case "operator":
                    self.operators.add(self.wire.text(stop))
                case "note":
                    self._note(stop)
                case "input":
                    self._value(stop, self.inputs)
                case "output":
                    self._value(stop, self.outputs)
                case child:
                    self.walk(child, stop, depth + 1)

    def _note(self, end: int) -> None:
        """Keep a note of ours; those of others may be long (the alphabet of a reader of text) and in any encoding."""
        texts = {part: self.wire.short(stop) for part, stop in _parts(self.wire, end)}
        if texts.get(1) == ENGINE_KEY.encode():
            self.engine = (texts.get(2) or b"").decode(errors="replace")

    def _tensor(self, kind: str, end: int | None) -> None:
        """Note a tensor's name where it is a weight, its file, and how many bytes of which type it holds."""
        dtype, size = 0, 0
        for part in self.wire.fields(end):
            if not part.is_part:
                dtype = part.value if part.number == _TYPE_FIELD else dtype
                continue
            if part.number in _VALUE_FIELDS:
                size += part.value - self.wire.position
            match _CHILDREN[kind].get(part.number):
                case "name":
                    self.weights.add(self.wire.text(part.value))
                case "place":
                    size += self._place(part.value)
        self.sizes[dtype] += size

    def _place(self, end: int) -> int:
        """Note where values lie, and return their bytes where this says so."""
        texts = {number: self.wire.text(stop) for number, stop in _parts(self.wire, end)}
        key, value = texts.get(1), texts.get(2, "")
        if key == "location":
            self.places.add(value)
        return int(value) if key == "length" and value.isdecimal() else 0

    def _value(self, end: int, into: list[TensorSpec]) -> None:
        name, dtype, shape = "", None, None
        for number, stop in _parts(self.wire, end):
            if number == 1:
                name = self.wire.text(stop)
            elif number == 2:
                dtype, shape = _tensor_type(self.wire, stop)
        if dtype is None:
            self.unclear[name] = "is no tensor of a known type"
        elif shape is None:
            self.unclear[name] = "has no shape"
        else:
            into.append(TensorSpec(name, dtype, shape))


def _parts(wire: Wire, end: int | None) -> Iterator[tuple[int, int]]:
    return ((part.number, part.value) for part in wire.fields(end) if part.is_part)


def _tensor_type(wire: Wire, end: int) -> tuple[str | None, tuple[int | None, ...] | None]:
    dtype, shape = None, None
    for number, stop in _parts(wire, end):
        if number != 1:  # a sequence, a map, an optional
            continue
        for part in wire.fields(stop):
            if part.number == 1 and not part.is_part:
                dtype = _TYPES.get(part.value)
            elif part.number == 2 and part.is_part:
                shape = tuple(_size(wire, dim) for one, dim in _parts(wire, part.value) if one == 1)
    return dtype, shape


def _size(wire: Wire, end: int) -> int | None:
    sizes = [part.value for part in wire.fields(end) if part.number == 1 and not part.is_part]
    # A negative size, which some exporters write for a free one, is a huge number on the wire.
    return sizes[-1] if sizes and sizes[-1] < 1 << 63 else None
