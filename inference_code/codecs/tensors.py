"""A request's body as a model's inputs by name, shape and type; a model's outputs as an answer's body.

JSON comes in three forms, told apart by their keys, and is answered in the form it came in::

    {"instances": [[1, 2], [3, 4]]}                       one row per example (TensorFlow Serving)
    {"inputs": [[1, 2], [3, 4]]}                          whole tensors, by name when there are several
    {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
                                                          KServe v2, the Open Inference Protocol

CSV is one example per line, npy is one array; both need a model with one input. An answer to instances holds one
prediction for each; where an output has not one row per example, whole tensors are answered, as to "inputs".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from inference_code.codecs import csvtext, jsontext, npy, values
from inference_code.codecs.schema import by_rows
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE, TensorSpec
from inference_code.errors import BadRequest, NotAcceptable, UnsupportedMediaType

Array = NDArray[Any]
Form = Literal["instances", "inputs", "v2"]
Body = bytes | bytearray | memoryview

V2_TYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "str",
}
#: No axis is longer: numpy and ONNX Runtime multiply lengths.
_LONGEST = 2**31 - 1
V2_NAMES = {numpy_name: v2_name for v2_name, numpy_name in V2_TYPES.items()}


class Inputs(NamedTuple):
    """The arrays of one request by input name, and the form to answer in."""

    arrays: dict[str, Array]
    form: Form
    request_id: str = ""


def read(body: Body, kind: str, specs: Sequence[TensorSpec]) -> Inputs:
    """Return the inputs in ``body`` of media type ``kind``; raise BadRequest or UnsupportedMediaType."""
    if kind == JSON_TYPE:
        return _from_json(jsontext.read(body), specs)
    if kind not in (NPY_TYPE, CSV_TYPE):
        raise UnsupportedMediaType(
            f"Content-Type {kind!r} is not read; send {JSON_TYPE}, {CSV_TYPE} or {NPY_TYPE}"
        )
    spec = _only(specs, kind)
    array = npy.read(body) if kind == NPY_TYPE else _csv(body, spec)
    return Inputs({spec.name: values.fit(array, spec, folded=True)}, "instances")


def write(outputs: Mapping[str, Array], form: Form, kind: str, request_id: str = "") -> bytes:
    """Return the answer's body in media type ``kind``; JSON in the form of the request.

    The form "instances" wants outputs of equally many rows.
    """
    if kind == JSON_TYPE:
        return jsontext.write(_as_json(outputs, form, request_id))
    if len(outputs) != 1:
        names = ", ".join(outputs)
        raise NotAcceptable(
            f"{kind} holds one array; this model answers {names}: ask for {JSON_TYPE}"
        )
    (array,) = outputs.values()
    return npy.write(array) if kind == NPY_TYPE else csvtext.write(array)


def _only(specs: Sequence[TensorSpec], kind: str) -> TensorSpec:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise BadRequest(f"{kind} holds one array; this model takes {names}: send {JSON_TYPE}")
    return specs[0]


def _csv(body: Body, spec: TensorSpec) -> Array:
    if spec.dtype in ("str", "bool"):
        return values.from_cells(csvtext.read_rows(body), spec)
    array = csvtext.read_numbers(body)
    if values.loses_digits(array, spec):
        return values.from_cells(csvtext.read_rows(body), spec)
    return array


def _from_json(value: Any, specs: Sequence[TensorSpec]) -> Inputs:
    if isinstance(value, list):
        value = {"instances": value}
    if isinstance(value, dict):
        if "instances" in value:
            return Inputs(_instances(value["instances"], specs), "instances")
        inputs = value.get("inputs")
        if _is_v2(inputs):
            return Inputs(_v2(inputs, specs), "v2", str(value.get("id", "")))
        if inputs is not None:
            return Inputs(_named(inputs, specs), "inputs")
    raise BadRequest('json: expected {"instances": [...]} or {"inputs": ...}')


def _is_v2(inputs: Any) -> TypeGuard[list[Any]]:
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict)


def _instances(rows: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if not isinstance(rows, list) or not rows:
        raise BadRequest("json: 'instances' must be a list of at least one example")
    if not by_rows(specs):
        raise BadRequest(
            f"json: 'instances' is one row of every input for each example, and "
            f'{_no_row(specs)}: send {{"inputs": {{name: value}}}}'
        )
    if len(specs) == 1 and not isinstance(rows[0], dict):
        return {specs[0].name: _tensor(rows, specs[0])}
    columns: dict[str, list[Any]] = {spec.name: [] for spec in specs}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != columns.keys():
            raise BadRequest(
                f"json: instances[{number}] must have the keys {sorted(columns)}{_odd_keys(row, columns)}"
            )
        for name, cells in columns.items():
            cells.append(row[name])
    return {spec.name: _tensor(columns[spec.name], spec) for spec in specs}


def _odd_keys(row: Any, wanted: Mapping[str, Any]) -> str:
    if not isinstance(row, dict):
        return ", each with its value"
    missing, unknown = sorted(wanted.keys() - row.keys()), sorted(row.keys() - wanted.keys())
    lacks = f": it lacks {missing[0]!r}" if missing else ""
    return lacks + (f"{',' if lacks else ':'} leave out {unknown[0]!r}" if unknown else "")


def _no_row(specs: Sequence[TensorSpec]) -> str:
    if not specs:
        return "this model takes no input"
    odd = next((spec for spec in specs if not spec.shape), None)
    if odd is not None:
        return f"input {odd.name!r} is one value for the whole request"
    firsts = ", ".join(f"{spec.name!r}: {spec.shape[0] or 'any'}" for spec in specs)
    return f"the first axes of this model's inputs differ ({firsts})"


def _named(inputs: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if not isinstance(inputs, dict):
        if len(specs) != 1:
            raise BadRequest(f"json: 'inputs' must name {sorted(spec.name for spec in specs)}")
        inputs = {specs[0].name: inputs}
    _check_names(inputs, specs)
    return {spec.name: _tensor(inputs[spec.name], spec) for spec in specs}


def _v2(tensors: list[Any], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    by_name: dict[str, Any] = {}
    for number, tensor in enumerate(tensors):
        if (
            not isinstance(tensor, dict)
            or not {"name", "shape", "datatype", "data"} <= tensor.keys()
        ):
            raise BadRequest(f"json: inputs[{number}] needs name, shape, datatype and data")
        name = str(tensor["name"])
        if name in by_name:
            raise BadRequest(f"json: inputs[{number}] is named {name!r}, as one before it")
        by_name[name] = tensor
    _check_names(by_name, specs)
    return {spec.name: values.fit(_v2_array(by_name[spec.name], spec), spec) for spec in specs}


def _v2_array(tensor: Mapping[str, Any], spec: TensorSpec) -> Array:
    if V2_TYPES.get(str(tensor["datatype"])) != spec.dtype:
        wanted = V2_NAMES.get(spec.dtype, spec.dtype)
        raise BadRequest(
            f"input {spec.name!r} takes {wanted}, not {tensor['datatype']!r}: "
            f'send "datatype": "{wanted}", and data of that type'
        )
    shape = tensor["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= _LONGEST for n in shape):
        raise BadRequest(f"input {spec.name!r}: shape must be a list of whole numbers")
    data, size = tensor["data"], prod(shape)
    if not size and data == []:
        return np.empty(shape, values.NUMPY_TYPES.get(spec.dtype, object))
    array = values.from_json(data, spec)
    if array.ndim != 1 and array.shape != tuple(shape):
        raise BadRequest(
            f"input {spec.name!r}: data is nested as {array.shape}, its shape is {shape}"
        )
    if size != array.size:
        raise BadRequest(
            f"input {spec.name!r}: shape {shape} does not hold {array.size} values: "
            f"send {size} in data, or their own shape"
        )
    return array.reshape(shape)


def _check_names(given: Mapping[str, Any], specs: Sequence[TensorSpec]) -> None:
    names = {spec.name for spec in specs}
    missing, unknown = sorted(names - given.keys()), sorted(map(str, given.keys() - names))
    if missing:
        raise BadRequest(f"json: input {missing[0]!r} is missing; this model takes {sorted(names)}")
    if unknown:
        raise BadRequest(f"json: unknown input {unknown[0]!r}; this model takes {sorted(names)}")


def _tensor(value: Any, spec: TensorSpec) -> Array:
    packed = _packed_rows(value, spec)
    return values.fit(values.from_json(value, spec), spec) if packed is None else packed


def _packed_rows(value: Any, spec: TensorSpec) -> Array | None:
    """Return rows of as many floats as the model takes, four times as fast as numpy converts them.

    None when they are anything else: the slow way then accepts them or says what is wrong. Packing is as
    strict as that way: it takes numbers only, and none beyond the largest float.
    """
    if spec.dtype != "float32" or len(spec.shape) != 2 or spec.shape[0] is not None:
        return None
    width = spec.shape[1]
    if not width or type(value) is not list or not value:
        return None
    pack = _packer(width).pack
    try:
        data = b"".join([pack(*row) for row in value])
    except (struct.error, OverflowError, TypeError):
        return None
    return np.frombuffer(data, np.float32).reshape(-1, width)


@lru_cache
def _packer(width: int) -> struct.Struct:
    return struct.Struct(f"={width}f")


def _as_json(outputs: Mapping[str, Array], form: Form, request_id: str) -> dict[str, Any]:
    if form == "v2":
        tensors = [_v2_tensor(name, array) for name, array in outputs.items()]
        return {"outputs": tensors, **({"id": request_id} if request_id else {})}
    if len(outputs) == 1:
        (array,) = outputs.values()
        return {"predictions" if form == "instances" else "outputs": array}
    if form == "inputs":
        return {"outputs": dict(outputs)}
    rows = len(next(iter(outputs.values())))
    return {"predictions": [{k: v[i] for k, v in outputs.items()} for i in range(rows)]}


def _v2_tensor(name: str, array: Array) -> dict[str, Any]:
    datatype = V2_NAMES.get(array.dtype.name, "BYTES")
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel()}
