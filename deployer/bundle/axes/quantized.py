"""Operators on whole numbers. A scale of the whole batch ties rows: their answers move, by little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployer.bundle.axes import sizes
from deployer.bundle.axes.maths import multiplied
from deployer.bundle.axes.nets import convolved
from deployer.bundle.axes.values import (
    Given,
    MixedError,
    Node,
    Results,
    Rules,
    Value,
    at,
    batch_first,
    first,
    fixed,
    kept,
    off,
    place,
    present,
    together,
)

RULES = Rules()


def _tied(value: Value) -> Value:
    return replace(value, tied=True) if value.rows else value


@RULES.of("QuantizeLinear", "DequantizeLinear", scales=True)
def _by_scale(node: Node, given: Given) -> Results:
    value, scale = present(given)[:2]
    fixed(given, 1, "a scale")
    single = scale.shape is not None and all(size == 1 for size in scale.shape)
    if value.rows and not single:
        off(value, [place(node.get("axis", 1), value.rank)], "takes one scale each along")
        if node.get("block_size", 0) or len(scale.dims) > 1:
            raise MixedError("it takes scales by block")
    tied = value.rows and (value.tied or scale.tied or node.op == "QuantizeLinear")
    return [replace(value, known=None, tied=tied)]


@RULES.of("DynamicQuantizeLinear")
def _dynamic(node: Node, given: Given) -> Results:
    value = first(given)
    scale = Value((), tied=value.rows)
    return [replace(value, known=None, tied=value.rows), scale, scale]


@RULES.of(
    "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger16", scales=True
)
def _matmul_integer(node: Node, given: Given) -> Results:
    one, other = present(given)[:2]
    fixed(given, 2, "a scale, a zero point or a bias")
    return [_tied(multiplied(one, other))]


@RULES.of("ConvInteger", scales=True)
def _conv_integer(node: Node, given: Given) -> Results:
    return [_tied(convolved(node, [*given[:2]], weights=1))]


@RULES.of("QLinearConv")
def _qlinear_conv(node: Node, given: Given) -> Results:
    fixed(given, 1)
    return [_tied(convolved(node, given, weights=3))]


@RULES.of("QLinearMatMul", "QGemm")
def _qlinear_matmul(node: Node, given: Given) -> Results:
    one, other = first(given), at(given, 3)
    if other is None or node.get("transA", 0):
        raise MixedError("its matrices are not laid out as usual")
    for index in (1, 2, 4, 5, 6, 7, 8):
        fixed(given[index : index + 1], 0, "a scale or a bias")
    if node.get("transB", 0):
        other = replace(other, shape=(other.dims[1], other.dims[0]))
        fixed([other], 0)
    return [_tied(multiplied(one, other))]


@RULES.of("QLinearAdd", "QLinearMul", scales=True)
def _qlinear_pair(node: Node, given: Given) -> Results:
    one, other = first(given), at(given, 3)
    for index in (1, 2, 4, 5, 6, 7):
        fixed(given[index : index + 1], 0, "a scale")
    return [_tied(together([one] if other is None else [one, other]))]


@RULES.of("QLinearSigmoid", "QLinearLeakyRelu")
def _qlinear_each(node: Node, given: Given) -> Results:
    fixed(given, 1, "a scale")
    return [_tied(kept(first(given), first(given).shape))]


@RULES.of("QLinearSoftmax")
def _qlinear_softmax(node: Node, given: Given) -> Results:
    value = first(given)
    axis = place(node.get("axis", -1), value.rank)
    off(value, range(axis, value.rank), "normalizes along")
    fixed(given, 1, "a scale")
    return [_tied(kept(value, value.dims))]


@RULES.of("QLinearGlobalAveragePool", "QLinearAveragePool")
def _qlinear_pool(node: Node, given: Given) -> Results:
    value = first(given)
    batch_first(value)
    fixed(given, 1, "a scale")
    if node.get("channels_last", 0):
        raise MixedError("its channels lie last")
    spatial: Sequence[sizes.Size] = [1] * (value.rank - 2)
    if node.op == "QLinearAveragePool":
        spatial = [node.fresh(index) for index in range(2, value.rank)]
    return [_tied(kept(value, (*value.dims[:2], *spatial)))]


@RULES.of("QLinearConcat")
def _qlinear_concat(node: Node, given: Given) -> Results:
    values = present(given[2::3])
    axis = place(node.get("axis", 0), values[0].rank)
    fixed([value for index, value in enumerate(given) if index < 2 or index % 3 != 2], 0, "a scale")
    whole = values[0]
    for value in values:
        off(value, [axis], "joins tensors along")
        if (value.axis, value.outer) != (whole.axis, whole.outer):
            raise MixedError("it joins rows with a constant")
    dims = (*whole.dims[:axis], node.fresh(axis), *whole.dims[axis + 1 :])
    return [_tied(kept(whole, dims))]


@RULES.of("MatMulNBits", "MatMulBnb4", "MatMulFpQ4")
def _by_bits(node: Node, given: Given) -> Results:
    value = first(given)
    fixed(given, 1)
    off(value, [value.rank - 1], "sums over")
    # With an accuracy level it rounds each row by blocks, by scales of its own.
    return [kept(value, (*value.dims[:-1], node.get("N") or node.fresh("N")))]
