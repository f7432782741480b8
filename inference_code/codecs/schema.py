"""The JSON schemas of a model's requests and answers, as far as JSON schema can say them.

What it cannot say: that rows are of one length, that inputs have the same number of rows, that the data of the Open
Inference Protocol fills its shape (so that form, which is read too, is left out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference_code.contract import TensorSpec


def request_schema(specs: Sequence[TensorSpec], pieces: bool = True) -> dict[str, Any]:
    """Return the JSON schema of a request.

    ``pieces`` tells whether a model with a fixed first axis is fed several requests' worth of rows, piece by piece.
    """
    forms = [_form({"inputs": value}) for value in _whole(specs, pieces)]
    rows = _rows(specs, pieces) if by_rows(specs) else []
    instances = [_form({"instances": form}) for form in rows]
    return {"anyOf": [*instances, *forms, *rows]}


def answer_schema(specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    whole = {spec.name: _answer(spec) for spec in specs}
    outputs = next(iter(whole.values())) if len(specs) == 1 else _object(whole)
    return {"anyOf": [_object({"predictions": {"type": "array"}}), _object({"outputs": outputs})]}


def by_rows(specs: Sequence[TensorSpec]) -> bool:
    """Return whether each input can hold one row per example: all have a first axis, free or fixed alike."""
    if len(specs) == 1:
        return bool(specs[0].shape)
    return len({spec.shape[:1] for spec in specs} - {()}) == 1 and all(spec.shape for spec in specs)


def _answer(spec: TensorSpec) -> dict[str, Any]:
    # ONNX Runtime tells an output of unknown shape as one without axes.
    return _tensor(spec.dtype, spec.shape, nullable=True) if spec.shape else {}


def _whole(specs: Sequence[TensorSpec], pieces: bool) -> list[dict[str, Any]]:
    several = pieces and by_rows(specs)
    whole = {spec.name: _first_axis(spec, several) for spec in specs}
    named = {**_object(whole), "additionalProperties": False}
    return [*whole.values(), named] if len(specs) == 1 else [named]


def _first_axis(spec: TensorSpec, several: bool) -> dict[str, Any]:
    schema = _tensor(spec.dtype, spec.shape)
    if several:
        schema.pop("maxItems", None)
    return schema


def _rows(specs: Sequence[TensorSpec], pieces: bool) -> list[dict[str, Any]]:
    cells = {spec.name: _tensor(spec.dtype, spec.shape[1:]) for spec in specs}
    row = {**_object(cells), "additionalProperties": False}
    step = specs[0].shape[0]
    limits = {"minItems": step or 1, **({"maxItems": step} if step and not pieces else {})}
    items = [*cells.values(), row] if len(specs) == 1 else [row]
    return [{"type": "array", "items": item, **limits} for item in items]


def _form(properties: dict[str, Any]) -> dict[str, Any]:
    # Whoever sends both is taken at its instances.
    alone = {} if "instances" in properties else {"not": {"required": ["instances"]}}
    return {**_object(properties), "additionalProperties": True, **alone}


def _tensor(dtype: str, shape: Sequence[int | None], nullable: bool = False) -> dict[str, Any]:
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
    if dtype == "str":
        return {"type": "string"}
    if dtype == "bool":
        return {"type": ["boolean", "integer"], "minimum": 0, "maximum": 1}
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


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}
