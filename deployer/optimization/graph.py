"""The few graph surgeries that quantization needs, on an onnx.ModelProto in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.optimization.session import Array

QUANTIZABLE = ("MatMul", "Gemm", "Conv")


class Unfit(ValueError):
    """The model has nothing of the kind that a rung changes."""


@dataclass(frozen=True)
class Layer:
    """A matrix product with constant weights: ``activation`` (..., k) times ``weight`` (k, n)."""

    name: str
    activation: str
    weight: str
    output: str


def weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers by name."""
    return {item.name: item for item in model.graph.initializer}


def weighted_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of the nodes that hold weights and can be quantized: MatMul, Gemm, Conv."""
    known = weights(model)
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in QUANTIZABLE and node.input[1] in known
    )


def layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Return every MatMul whose second operand is a constant float matrix."""
    known = weights(model)
    return tuple(
        Layer(node.name, node.input[0], node.input[1], node.output[0])
        for node in model.graph.node
        if node.op_type == "MatMul" and _is_matrix(known.get(node.input[1]))
    )


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node that has none, or another's, a name by its place, so that it can be spoken of."""
    taken = {node.name for node in model.graph.node}
    seen = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = _free_name(f"{node.op_type}_{place}", taken)
            taken.add(node.name)
        seen.add(node.name)


def rename_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Name the outputs ``names``; an inner value that has one of these names already gets another.

    Raises ValueError when there are not as many.
    """
    old = [item.name for item in model.graph.output]
    if len(set(old)) != len(names):
        raise ValueError(f"{len(set(old))} outputs were exported of {len(names)}")
    changed = {a: b for a, b in zip(old, names, strict=True) if a != b}
    new = {name: f"{name}.inner" for name in changed.values() if name not in changed} | changed
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(value, value) for value in values]
    for items in (model.graph.value_info, model.graph.initializer, model.graph.output):
        for item in items:
            item.name = new.get(item.name, item.name)


def gemm_to_matmul(model: onnx.ModelProto) -> None:
    """Rewrite plain Gemm as MatMul and Add, which is what the integer kernels replace."""
    known = weights(model)
    rewritten: list[onnx.NodeProto] = []
    for node in model.graph.node:
        settings = _settings(node)
        plain = settings.get("alpha", 1.0) == 1.0 and settings.get("beta", 1.0) == 1.0
        weight = known.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type != "Gemm" or not plain or settings.get("transA") or not _is_matrix(weight):
            rewritten.append(node)
            continue
        rewritten += _matmul_add(model, node, bool(settings.get("transB")))
    _set_nodes(model, rewritten)
    drop_unused(model)


def flatten_biases(model: onnx.ModelProto) -> None:
    """Give each constant that is added to a product of n columns the shape (n,) where it is (1, n) or one number.

    The quantizers take nothing else for a bias. A bias that differs by row becomes an addition of its own.
    """
    known = weights(model)
    ranks = _ranks(model)
    widths = _widths(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "Gemm" and node.output[0] in widths:
            new |= _plain_gemm(model, node, widths[node.output[0]])
        if node.op_type != "Add":
            continue
        for place in (0, 1):
            value, constant = node.input[1 - place], known.get(node.input[place])
            width = widths.get(value)
            if width is None or constant is None or len(constant.dims) > ranks.get(value, 0):
                continue
            flat = _flat(constant, width)
            if flat is not None:
                node.input[place] = add_constant(model, f"{node.name}.row", flat)
    replace_nodes(model, new)
    drop_unused(model)


def _plain_gemm(
    model: onnx.ModelProto, node: onnx.NodeProto, width: int
) -> dict[str, list[onnx.NodeProto]]:
    """Make the bias of a Gemm a row, its alpha and beta 1; return what replaces one whose bias can be no row."""
    _fold_factors(model, node)
    bias = weights(model).get(node.input[2]) if len(node.input) > 2 else None
    if bias is None or list(bias.dims) == [width]:
        return {}
    flat = _flat(bias, width)
    if flat is not None:
        node.input[2] = add_constant(model, f"{node.name}.row", flat)
        return {}
    product = f"{node.name}.product"
    add = helper.make_node("Add", [product, bias.name], node.output, name=f"{node.name}.bias")
    gemm = onnx.NodeProto.FromString(node.SerializeToString())
    del gemm.input[2:]
    gemm.output[0] = product
    return {node.name: [gemm, add]}


def _fold_factors(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Multiply alpha and beta of a Gemm into its constants: ONNX Runtime's quantizer loses them."""
    known = weights(model)
    for place, name in ((1, "alpha"), (2, "beta")):
        factor = _settings(node).get(name, 1.0)
        value = known.get(node.input[place]) if len(node.input) > place else None
        if factor == 1.0 or (value is None and len(node.input) > place):
            continue
        if value is not None:
            held = numpy_helper.to_array(value)
            made = np.asarray(held * factor, dtype=held.dtype)
            node.input[place] = add_constant(model, f"{node.name}.{name}", made)
        kept = [item for item in node.attribute if item.name != name]
        copies = [onnx.AttributeProto.FromString(item.SerializeToString()) for item in kept]
        del node.attribute[:]
        node.attribute.extend(copies)


def _flat(constant: onnx.TensorProto, width: int) -> Array | None:
    """Return the row of ``width`` that a constant adds to every row; None where it has that form, or another."""
    if list(constant.dims) == [width] or constant.data_type != onnx.TensorProto.FLOAT:
        return None
    value = numpy_helper.to_array(constant)
    if value.size == 1:
        return np.full(width, value.reshape(()), value.dtype)
    return value.reshape(width) if value.size == width == value.shape[-1] else None


def _widths(model: onnx.ModelProto) -> dict[str, int]:
    """Return the columns of each product with a constant matrix, by its answer."""
    known = weights(model)
    found = {}
    for node in model.graph.node:
        weight = known.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type in ("MatMul", "Gemm") and weight is not None and len(weight.dims) == 2:
            turned = node.op_type == "Gemm" and _settings(node).get("transB")
            found[node.output[0]] = weight.dims[0 if turned else 1]
    return found


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Return the rank of each value whose shape is noted, and of what Gemm makes."""
    part = model.graph
    noted = {
        item.name: len(item.type.tensor_type.shape.dim)
        for item in (*part.value_info, *part.input, *part.output)
        if item.type.tensor_type.HasField("shape")
    }
    return noted | {node.output[0]: 2 for node in part.node if node.op_type == "Gemm"}


def insert_after(model: onnx.ModelProto, additions: Mapping[str, list[onnx.NodeProto]]) -> None:
    """Insert nodes right after the producer of each named value (at the front for graph inputs)."""
    produced = {name for node in model.graph.node for name in node.output}
    nodes = [n for name, added in additions.items() if name not in produced for n in added]
    for node in model.graph.node:
        nodes.append(node)
        for name in node.output:
            nodes += additions.get(name, [])
    _set_nodes(model, nodes)


def replace_nodes(model: onnx.ModelProto, new: Mapping[str, list[onnx.NodeProto]]) -> None:
    """Replace each named node by others in its place (by none where the list is empty)."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += new.get(node.name, [node])
    _set_nodes(model, nodes)


def replace_nodes_at(
    model: onnx.ModelProto, new: Mapping[int, list[onnx.NodeProto] | None]
) -> None:
    """Replace the nodes at the given places by others; by none where there is no list."""
    if new:
        _set_nodes(
            model,
            [x for at, old in enumerate(model.graph.node) for x in (new.get(at, [old]) or [])],
        )


def permutation(node: onnx.NodeProto) -> list[int] | None:
    """Return the order in which a Transpose puts the axes; None where it turns all of them round, unnamed."""
    found = [item for item in node.attribute if item.name == "perm"]
    return list(found[0].ints) if found else None


def every_node(part: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the branches of its conditions and loops."""
    for node in part.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from every_node(inner)


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, those that only its branches read included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names |= _read(inner)
    return names


def add_constant(model: onnx.ModelProto, name: str, value: Array) -> str:
    """Add an initializer and return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove the initializers that no node reads any more."""
    used = _read(model.graph)
    kept = [item for item in model.graph.initializer if item.name in used]
    if len(kept) < len(model.graph.initializer):
        copies = [onnx.TensorProto.FromString(item.SerializeToString()) for item in kept]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)


def use_contrib(model: onnx.ModelProto) -> None:
    """Declare ONNX Runtime's own operators, once."""
    if all(item.domain != "com.microsoft" for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _matmul_add(
    model: onnx.ModelProto, node: onnx.NodeProto, transposed: bool
) -> list[onnx.NodeProto]:
    weight = numpy_helper.to_array(weights(model)[node.input[1]])
    name = add_constant(model, f"{node.name}.weight", weight.T if transposed else weight)
    if len(node.input) < 3:
        return [helper.make_node("MatMul", [node.input[0], name], node.output, name=node.name)]
    product = f"{node.name}.product"
    return [
        helper.make_node("MatMul", [node.input[0], name], [product], name=node.name),
        helper.make_node("Add", [product, node.input[2]], node.output, name=f"{node.name}.bias"),
    ]


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _set_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    # Copies first: clearing the list would free the nodes that it holds.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _read(part: onnx.GraphProto) -> set[str]:
    """Return the names that a graph reads or answers with, those in the branches of its conditions included."""
    names = {item.name for item in part.output}
    for node in part.node:
        names |= reads(node)
    return names


def _free_name(wanted: str, taken: set[str]) -> str:
    """Return ``wanted``, with underscores behind it while it is taken."""
    while wanted in taken:
        wanted += "_"
    return wanted


def _is_matrix(tensor: onnx.TensorProto | None) -> bool:
    return (
        tensor is not None and len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT
    )
