"""A request's body as a model's inputs by name, shape and type; a model's outputs as an answer's body.

JSON comes in three forms, told apart by their keys, and is answered in the form it came in::

    {"instances": [[1, 2], [3, 4]]}                       one row per example (TensorFlow Serving)
    {"inputs": [[1, 2], [3, 4]]}                          whole tensors, by name when there are several
    {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
                                                          KServe v2, the Open Inference Protocol

CSV is one example per line, npy is one array; both need a model with one input.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from inference_code.codecs import csvtext, jsontext, npy
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
_DTYPES = {name: np.dtype(name) for name in V2_TYPES.values() if name != "str"}
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
    return Inputs({spec.name: _fit(array, spec)}, "instances")


def write(outputs: Mapping[str, Array], form: Form, kind: str, request_id: str = "") -> bytes:
    """Return the answer's body in media type ``kind``; JSON in the form of the request."""
    if kind == JSON_TYPE:
        return jsontext.write(_as_json(outputs, form, request_id))
    if len(outputs) != 1:
        names = ", ".join(outputs)
        raise NotAcceptable(
            f"{kind} holds one array; this model answers {names}: ask for {JSON_TYPE}"
        )
    (array,) = outputs.values()
    return npy.write(array) if kind == NPY_TYPE else csvtext.write(array)


def request_schema(specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the JSON schema of a request, as far as JSON schema can say it."""
    whole = {spec.name: _schema(spec.dtype, spec.shape) for spec in specs}
    rows = {spec.name: _schema(spec.dtype, spec.shape[1:]) for spec in specs}
    by_name, row = ({**_object(named), "additionalProperties": False} for named in (whole, rows))
    forms = [{"instances": _list(row)}, {"inputs": by_name}]
    if len(specs) == 1:
        (name,) = whole
        forms = [{"instances": _list(rows[name])}, {"inputs": whole[name]}, {"inputs": by_name}]
    return {"anyOf": [_form(form) for form in forms]}


def answer_schema(specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    whole = {spec.name: _schema(spec.dtype, spec.shape, nullable=True) for spec in specs}
    outputs = next(iter(whole.values())) if len(specs) == 1 else _object(whole)
    return {"anyOf": [_object({"predictions": {"type": "array"}}), _object({"outputs": outputs})]}


def _form(properties: dict[str, Any]) -> dict[str, Any]:
    # Whoever sends both is taken at its instances.
    alone = {} if "instances" in properties else {"not": {"required": ["instances"]}}
    return {**_object(properties), "additionalProperties": True, **alone}


def _schema(dtype: str, shape: Sequence[int | None], nullable: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [_kind(dtype), "null"]} if nullable else _cell(dtype)
    for size in reversed(shape):
        # An empty list has lost the shape of what it would hold, so a request's is refused.
        free = {} if nullable else {"minItems": 1}
        limits = free if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **limits}
    return schema


def _kind(dtype: str) -> str:
    return {"str": "string", "bool": "boolean"}.get(
        dtype, "number" if "float" in dtype else "integer"
    )


def _cell(dtype: str) -> dict[str, Any]:
    """Return what one number of a request may be: within its type's range; true and false count as 1 and 0."""
    if dtype in ("str", "bool"):
        return {"type": _kind(dtype)}
    return {"type": [_kind(dtype), "boolean"], **_range(dtype)}


def _range(dtype: str) -> dict[str, float]:
    if "float" not in dtype:
        whole = np.iinfo(dtype)
        return {"minimum": int(whole.min), "maximum": int(whole.max)}
    info = np.finfo(dtype)
    if dtype == "float64":
        return {"minimum": float(info.min), "maximum": float(info.max)}
    # What is nearer to the largest number than to the next power of two is rounded to it.
    limit = float(info.max) + 2.0 ** (info.maxexp - info.nmant - 2)
    return {"exclusiveMinimum": -limit, "exclusiveMaximum": limit}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _only(specs: Sequence[TensorSpec], kind: str) -> TensorSpec:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise BadRequest(f"{kind} holds one array; this model takes {names}: send {JSON_TYPE}")
    return specs[0]


def _csv(body: Body, spec: TensorSpec) -> Array:
    if spec.dtype == "str":
        return np.array(csvtext.read_rows(body), dtype=object)
    array = csvtext.read_numbers(body)
    if not np.issubdtype(np.dtype(spec.dtype), np.inexact):
        whole = array.astype(np.int64)
        if not np.array_equal(whole, array):
            raise BadRequest(f"input {spec.name!r} takes whole numbers ({spec.dtype})")
        return whole
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
    return (
        isinstance(inputs, list)
        and bool(inputs)
        and isinstance(inputs[0], dict)
        and "data" in inputs[0]
    )


def _instances(rows: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if not isinstance(rows, list) or not rows:
        raise BadRequest("json: 'instances' must be a list of at least one example")
    if len(specs) == 1 and not isinstance(rows[0], dict):
        return {specs[0].name: _tensor(rows, specs[0])}
    columns: dict[str, list[Any]] = {spec.name: [] for spec in specs}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != columns.keys():
            raise BadRequest(f"json: instances[{number}] must have the keys {sorted(columns)}")
        for name, cells in columns.items():
            cells.append(row[name])
    return {spec.name: _tensor(columns[spec.name], spec) for spec in specs}


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
        by_name[str(tensor["name"])] = tensor
    _check_names(by_name, specs)
    return {spec.name: _fit(_v2_array(by_name[spec.name], spec), spec) for spec in specs}


def _v2_array(tensor: Mapping[str, Any], spec: TensorSpec) -> Array:
    if V2_TYPES.get(str(tensor["datatype"])) != spec.dtype:
        wanted = V2_NAMES.get(spec.dtype, spec.dtype)
        raise BadRequest(f"input {spec.name!r} takes {wanted}, not {tensor['datatype']!r}")
    shape = tensor["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise BadRequest(f"input {spec.name!r}: shape must be a list of whole numbers")
    array = _array(tensor["data"], spec)
    if prod(shape) != array.size:
        raise BadRequest(f"input {spec.name!r}: shape {shape} does not hold {array.size} values")
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
    return _fit(_array(value, spec), spec) if packed is None else packed


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


def _array(value: Any, spec: TensorSpec) -> Array:
    if spec.dtype == "str":
        return _texts(value, spec)
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        raise BadRequest(f"input {spec.name!r}: rows of different lengths, or no numbers") from None


def _texts(value: Any, spec: TensorSpec) -> Array:
    array = np.array(value, dtype=object)
    if not all(isinstance(item, str) for item in array.flat):
        raise BadRequest(f"input {spec.name!r} takes text")
    return array


def _fit(array: Array, spec: TensorSpec) -> Array:
    # The usual case first: it is on the way of every request.
    if array.shape[1:] != spec.shape[1:] or spec.shape[:1] != (None,):
        array = _shaped(array, spec)
    if spec.dtype == "str":
        return array
    dtype = _DTYPES[spec.dtype]
    have, want = array.dtype.kind, dtype.kind
    if array.dtype == dtype:
        return array
    if have not in "biuf":
        raise BadRequest(f"input {spec.name!r} takes {spec.dtype} numbers only (no text, no null)")
    if want == "f":
        return _narrow(array, dtype, spec)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise BadRequest(f"input {spec.name!r} takes {spec.dtype}, the body holds {array.dtype}")
    cast = array.astype(dtype)
    if not np.array_equal(cast, array):
        raise _too_large(spec)
    return cast


def _narrow(array: Array, dtype: np.dtype[Any], spec: TensorSpec) -> Array:
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise _too_large(spec) from None


def _too_large(spec: TensorSpec) -> BadRequest:
    return BadRequest(f"input {spec.name!r}: a value does not fit into {spec.dtype}")


def _shaped(array: Array, spec: TensorSpec) -> Array:
    array = _unfolded(array, spec)
    if array.ndim == len(spec.shape) - 1:
        array = array[None]
    if array.ndim != len(spec.shape):
        raise _wrong_shape(array, spec)
    for position, (have, want) in enumerate(zip(array.shape, spec.shape, strict=True)):
        # A fixed first dimension is the model's batch; the handler feeds it in pieces.
        if want is not None and have != want and position > 0:
            raise _wrong_shape(array, spec)
    return array


def _unfolded(array: Array, spec: TensorSpec) -> Array:
    """Return flat rows (of CSV, say) in the shape of an input with more dimensions."""
    tail = [n for n in spec.shape[1:] if n is not None]
    if len(tail) < 2 or len(tail) != len(spec.shape) - 1 or array.ndim != 2:
        return array
    return array.reshape(len(array), *tail) if array.shape[1] == prod(tail) else array


def _wrong_shape(array: Array, spec: TensorSpec) -> BadRequest:
    want = ", ".join("any" if n is None else str(n) for n in spec.shape)
    return BadRequest(f"input {spec.name!r} takes shape ({want}), the body holds {array.shape}")


def _as_json(outputs: Mapping[str, Array], form: Form, request_id: str) -> dict[str, Any]:
    if form == "v2":
        tensors = [_v2_tensor(name, array) for name, array in outputs.items()]
        return {"outputs": tensors, **({"id": request_id} if request_id else {})}
    if len(outputs) == 1:
        (array,) = outputs.values()
        return {"predictions" if form == "instances" else "outputs": array}
    if form == "inputs":
        return {"outputs": dict(outputs)}
    rows = min(len(array) for array in outputs.values())
    return {"predictions": [{k: v[i] for k, v in outputs.items()} for i in range(rows)]}


def _v2_tensor(name: str, array: Array) -> dict[str, Any]:
    datatype = V2_NAMES.get(array.dtype.name, "BYTES")
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel()}
