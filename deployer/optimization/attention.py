"""Attention with fewer copies, for graphs whose products are on ONNX Runtime's integer kernels.

An export moves the heads of queries, keys and values to the front: three copies of floats a layer. ``FusedMatMul``
(``transBatchA``, ``transBatchB``: ContribOperators.md of ONNX Runtime) reads heads where they lie if the sequence
comes before the batch. So the activation is turned once, quantized, a byte for each value, and nothing after it.
The heads' answers are quantized before they are put together again, which moves bytes in place of floats too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import helper, numpy_helper

from deployer.optimization import graph
from deployer.optimization.onnxfile import copied

HEADS_FIRST, HEADS_FIRST_TURNED = [0, 2, 1, 3], [0, 2, 3, 1]
"""From (batch, sequence, head, size) to a product's left and right operand."""

SEQUENCE_FIRST = [1, 0, 2]
_QUANTIZE = ("QuantizeLinear", "DynamicQuantizeLinear")


def lighten(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a copy of ``model`` that copies less, or None where nothing of the kind is found.

    That an activation is (batch, sequence, width) shows in its use, not for certain: compare the answers.
    """
    made = copied(model)
    graph.name_nodes(made)
    quantize_before_moving(made)
    read_heads_in_place(made)
    graph.drop_unused(made)
    del made.graph.value_info[:]  # shapes of before
    return made if _kinds(made) != _kinds(model) else None


def quantize_before_moving(model: onnx.ModelProto) -> None:
    """Quantize what is transposed, reshaped and only then quantized: one scale for all commutes with moving."""
    view = _View(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type not in _QUANTIZE:
            continue
        joined = view.alone(node.input[0], "Reshape")
        turned = view.alone(joined.input[0], "Transpose") if joined else None
        if joined is None or turned is None:
            continue
        early, whole, between = f"{node.name}.early", node.output[0], f"{node.name}.turned"
        first, second, third = _copy(node), _copy(turned), _copy(joined)
        first.input[0], first.output[0] = turned.input[0], early
        second.input[0], second.output[0] = early, between
        third.input[0], third.output[0] = between, whole
        new |= {turned.name: [first], joined.name: [], node.name: [second, third]}
    graph.replace_nodes(model, new)


def read_heads_in_place(model: onnx.ModelProto) -> None:
    """Give products of heads their operands sequence first, unmoved."""
    view = _View(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    after: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type != "MatMul":
            continue
        left = view.heads(node.input[0], HEADS_FIRST)
        right = view.heads(node.input[1], HEADS_FIRST_TURNED if left else HEADS_FIRST)
        if right is None:
            continue
        inputs, settings = list(node.input), {"transBatchB": 1}
        inputs[1] = right.split.output[0]
        if left:
            inputs[0] = left.split.output[0]
            settings |= {"transBatchA": 1, "transB": 1}
        for heads in (left, right) if left else (right,):
            new |= _sequence_first(model, heads, after)
        product = helper.make_node(
            "FusedMatMul", inputs, node.output, name=node.name, domain="com.microsoft", **settings
        )
        new[node.name] = [product]
    graph.replace_nodes(model, new)
    graph.insert_after(model, after)
    graph.use_contrib(model)


@dataclass(frozen=True)
class _Heads:
    """An integer product, the Reshape that splits its answer into heads, and the Transpose that moves them."""

    product: onnx.NodeProto
    split: onnx.NodeProto
    moved: onnx.NodeProto
    shape: onnx.NodeProto | onnx.TensorProto


class _View:
    """Who makes and who reads each value of a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._made = {name: node for node in model.graph.node for name in node.output}
        self._reads = Counter(name for node in model.graph.node for name in node.input)
        self._reads.update(item.name for item in model.graph.output)
        self._known = graph.weights(model)

    def alone(self, value: str, kind: str) -> onnx.NodeProto | None:
        """Return the node of this kind that makes a value which is read once, else None."""
        node = self._made.get(value)
        return node if node and node.op_type == kind and self._reads[value] == 1 else None

    def heads(self, value: str, order: list[int]) -> _Heads | None:
        """Return what makes the heads that ``value`` holds in ``order``, else None."""
        moved = self.alone(value, "Transpose")
        if moved is None or graph.permutation(moved) != order:
            return None
        split = self.alone(moved.input[0], "Reshape")
        product = self.alone(split.input[0], "MatMulIntegerToFloat") if split else None
        shape = self._shape(split.input[1]) if split else None
        if split is None or product is None or shape is None:
            return None
        return _Heads(product, split, moved, shape)

    def _shape(self, name: str) -> onnx.NodeProto | onnx.TensorProto | None:
        """Return what states the four sizes of a Reshape, if its first two can be told apart."""
        if name in self._known:
            return self._known[name] if list(self._known[name].dims) == [4] else None
        node = self._made.get(name)
        return node if node and node.op_type == "Concat" and len(node.input) == 4 else None


def _sequence_first(
    model: onnx.ModelProto, heads: _Heads, after: dict[str, list[onnx.NodeProto]]
) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that replace those of ``heads``; what they need besides is added to ``after``, once."""
    whole, sizes = heads.product.input[0], heads.split.input[1]
    turned, swapped = f"{whole}.sequence_first", f"{sizes}.sequence_first"
    if whole not in after:
        turn = helper.make_node("Transpose", [whole], [turned], name=turned, perm=SEQUENCE_FIRST)
        after[whole] = [turn]
    if isinstance(heads.shape, onnx.TensorProto):
        if swapped not in graph.weights(model):
            graph.add_constant(model, swapped, numpy_helper.to_array(heads.shape)[[1, 0, 2, 3]])
    elif sizes not in after:
        stated = _copy(heads.shape)
        stated.name, stated.output[0] = swapped, swapped
        stated.input[0], stated.input[1] = heads.shape.input[1], heads.shape.input[0]
        after[sizes] = [stated]
    product, split = _copy(heads.product), _copy(heads.split)
    product.input[0], split.input[1] = turned, swapped
    return {heads.product.name: [product], heads.split.name: [split], heads.moved.name: []}


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    return onnx.NodeProto.FromString(node.SerializeToString())


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]
