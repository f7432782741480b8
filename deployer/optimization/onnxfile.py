"""ONNX on disk: the same model always as the same bytes, with its weights beside it when they are too many."""

from __future__ import annotations

from pathlib import Path

import onnx

from deployer.errors import InputError
from inference_code.contract import ENGINE_KEY

_WEIGHTS_LIMIT = 2**31 - 2**24
"""Protobuf holds less than 2 GiB in one message; with more weights than this they move to a file beside the model."""


def save(model: onnx.ModelProto, path: Path, engine: str | None = None) -> None:
    """Write the model without the traces of the machine that exported it: equal inputs give equal bytes.

    ``engine`` is noted in its metadata, where packaging finds it.
    """
    strip(model)
    if engine is not None:
        model.metadata_props.add(key=ENGINE_KEY, value=engine)
    if sum(len(item.raw_data) for item in model.graph.initializer) > _WEIGHTS_LIMIT:
        onnx.save(model, str(path), save_as_external_data=True, location=path.name + ".data")
        return
    path.write_bytes(model.SerializeToString(deterministic=True))


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy; unlike a round trip through bytes it knows no limit of 2 GiB."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


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


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside ``path`` that hold its weights; none when they are inside.

    Raises InputError for a weight that would be read from outside the model's folder.
    """
    names = external_names(onnx.load(str(path), load_external_data=False))
    for name in names:
        if Path(name).name != name:
            raise InputError(f"{path.name}: its weights lie at {name!r}, outside its own folder")
    return tuple(path.with_name(name) for name in sorted(names))


def external_names(model: onnx.ModelProto) -> set[str]:
    """Return the names of the files that hold weights of a model whose external data was not loaded."""
    return {
        entry.value
        for item in model.graph.initializer
        if item.data_location == onnx.TensorProto.EXTERNAL
        for entry in item.external_data
        if entry.key == "location"
    }
