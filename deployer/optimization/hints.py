"""What an ONNX graph tells of the inputs that it takes, for those who must guess some."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from inference_code.plausible import Hints

_SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")


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
