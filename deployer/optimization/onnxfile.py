"""ONNX on disk: the same model always as the same bytes, with its weights beside it when they are too many."""

from __future__ import annotations

from pathlib import Path

import onnx

_PROTO_LIMIT = 2**31 - 1
"""Protobuf's own bound on one message; above it weights move to a file beside the model."""


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model without the traces of the machine that exported it: equal inputs give equal bytes."""
    strip(model)
    if model.ByteSize() > _PROTO_LIMIT:
        onnx.save(model, str(path), save_as_external_data=True, location=path.name + ".data")
        return
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip(model: onnx.ModelProto) -> None:
    """Remove notes that name source files, stack traces and tool versions."""
    del model.metadata_props[:]
    model.producer_version = ""
    model.doc_string = ""
    graph = model.graph
    del graph.metadata_props[:]
    for items in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for item in items:
            del item.metadata_props[:]
            item.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def external_data(path: Path) -> Path | None:
    """Return the file beside ``path`` that holds its weights (``NAME.data``), None when they are inside."""
    data = path.with_name(path.name + ".data")
    return data if data.is_file() else None


def uses_external_data(model: onnx.ModelProto) -> bool:
    """Say whether any weight lies outside the file."""
    return any(item.data_location == onnx.TensorProto.EXTERNAL for item in model.graph.initializer)
