"""What an ONNX graph tells of the inputs that it takes, for those who must guess some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from deployer.errors import InputError
from deployer.optimization.session import Arrays
from inference_code.plausible import Hints

_SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
_FIRST = (
    "optimize takes rows on the first axis of every input: export the model with its batch first"
)


def read(path: Path) -> Hints:
    """Return the hints of a file, read without its weights."""
    return hints(onnx.load(str(path), load_external_data=False))


def hints(model: onnx.ModelProto) -> Hints:
    """Return the declared axes of each input, and the size of the smallest table that it is an index into."""
    graph = model.graph
    tables = {each.name: tuple(each.dims) for each in graph.initializer}
    given = [each for each in graph.input if each.name not in tables]
    axes = {
        each.name: tuple(
            dim.dim_value or dim.dim_param or None for dim in each.type.tensor_type.shape.dim
        )
        for each in given
    }
    return Hints(axes=axes, below=_below(graph, {each.name: each.name for each in given}, tables))


def check(known: Hints, arrays: Arrays, where: str) -> None:
    """Raise InputError for rows that the graph shows to be none of its inputs: a batch on another axis, an id outside.

    ``where`` names the set; shapes and types were checked.
    """
    firsts = {axes[0] for axes in known.axes.values() if axes and isinstance(axes[0], str)}
    for name, axes in known.axes.items():
        moved = [axis for axis, size in enumerate(axes) if axis and size in firsts]
        if moved and isinstance(axes[0], int):
            raise InputError(
                f"{where}: {name!r} has its rows on axis {moved[0]} ({axes[moved[0]]!r} in the model's file), "
                "not on the first",
                hint=_FIRST,
            )
    for name, size in known.below.items():
        wrong = np.argwhere((arrays[name] >= size) | (arrays[name] < -size))
        if len(wrong):
            value, row = arrays[name][tuple(wrong[0])], wrong[0][0]
            raise InputError(
                f"{where}: {name!r} holds {value} in row {row}, and the model's table has {size} entries",
                hint=f"ids go from 0 to {size - 1}: encode the rows with this model's own vocabulary",
            )


def _below(
    graph: onnx.GraphProto, origin: dict[str, str], tables: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """``origin`` tells of which input a tensor holds the numbers, in another form perhaps."""
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _SAME_NUMBERS and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        elif node.op_type == "Gather" and node.input[0] in tables and node.input[1] in origin:
            axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
            name, size = origin[node.input[1]], tables[node.input[0]][axis]
            found[name] = min(size, found.get(name, size))
    return found
