"""Operators that reckon value by value, along axes, or with matrices."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deployer.bundle.axes import sizes
from deployer.bundle.axes.shapes import axes_of
from deployer.bundle.axes.sizes import Named, Size
from deployer.bundle.axes.values import (
    Given,
    MixedError,
    Node,
    Results,
    Rules,
    Value,
    at,
    constant,
    first,
    fixed,
    kept,
    numbers,
    off,
    place,
    present,
    together,
)

RULES = Rules()
_LONGEST = 64


def _equal(one: Any, other: Any) -> Any:
    if one == other:
        return True
    if isinstance(one, Named) or isinstance(other, Named):
        below = [each for each in (one, other) if not isinstance(each, Named)]
        return False if below and below[0] <= 0 else None  # a length is at least 1
    return False


def _compared(sign: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def compare(one: Any, other: Any) -> Any:
        return None if isinstance(one, Named) or isinstance(other, Named) else sign(one, other)

    return compare


_RECKONED: dict[str, Callable[[Any, Any], Any]] = {
    "Add": sizes.plus,
    "Sub": sizes.minus,
    "Mul": sizes.times,
    "Div": sizes.divided,
    "Equal": _equal,
    **{op: _compared(getattr(operator, name)) for op, name in (
        ("Greater", "gt"), ("Less", "lt"), ("GreaterOrEqual", "ge"), ("LessOrEqual", "le"),
        ("Mod", "mod"), ("And", "and_"), ("Or", "or_"),
    )},
    "Max": _compared(max),
    "Min": _compared(min),
}  # fmt: skip
"""What operators make of two small values; None where a length leaves it open."""

_EACH = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu",
    "Clip", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "QuickGelu", "Reciprocal", "Relu",
    "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "BitShift", "BitwiseAnd", "BitwiseOr",
    "BitwiseXor", "Mod", "Pow", "Xor", "Sum", "Mean", "PRelu", "BiasGelu", "FastGelu",
    "BiasSplitGelu", "ParametricSoftplus", "Affine", "ImageScaler", "ScaledTanh",
)  # fmt: skip


@RULES.of(*_RECKONED, *_EACH, takes_sizes=True, numbers=True)
def _each(node: Node, given: Given) -> Results:
    values = present(given)
    result = together(values)
    known = _reckoned(node.op, values)
    if known is not None and not result.rows:
        return [constant(known)]
    if any(value.sized for value in values):
        raise MixedError("it reckons with the number of rows")
    if any(value.numbered for value in values):  # its shape may still be asked for
        return [replace(result, why=f"{node.op}: it reckons with the numbers of rows")]
    return [result]


# A scale that the whole batch shares may be multiplied with scales and with rows.
@RULES.of("Mul", "Div", takes_sizes=True, scales=True, numbers=True)
def _scaled(node: Node, given: Given) -> Results:
    return _each(node, given)


def _reckoned(op: str, values: Sequence[Value]) -> Any:
    known = [value.known for value in values]
    if any(each is None or each.size > _LONGEST for each in known):
        return None
    if op == "Where":
        return _chosen(known)
    if op == "Neg":
        return np.frompyfunc(lambda one: None if isinstance(one, Named) else -one, 1, 1)(known[0])
    if op not in _RECKONED or len(known) != 2:
        return None
    found = np.asarray(_by_pairs(_RECKONED[op])(*known), dtype=object)
    return None if any(each is None for each in found.flat) else found


def _by_pairs(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def pair(one: Any, other: Any) -> Any:
        try:
            return function(one, other)
        except (TypeError, AttributeError):  # numbers that are no lengths
            return None

    paired: Callable[..., Any] = np.frompyfunc(pair, 2, 1)
    return paired


def _chosen(known: Sequence[Any]) -> Any:
    return np.frompyfunc(lambda which, one, other: one if which else other, 3, 1)(*known)


@RULES.of("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2",
          "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", takes_sizes=True)  # fmt: skip
def _reduce(node: Node, given: Given) -> Results:
    value = first(given)
    axes = axes_of(node, given, 1, 13 if node.op == "ReduceSum" else 18)
    if not axes and node.get("noop_with_empty_axes", 0):
        return [value]
    if node.op == "ReduceProd" and value.known is not None and value.rank == 1:
        total = np.asarray(sizes.product(value.known), dtype=object)
        return [constant(total.reshape([1] if node.get("keepdims", 1) else []))]
    if value.sized:
        raise MixedError("it reckons with the number of rows")
    over = range(value.rank) if not axes else [place(axis, value.rank) for axis in axes]
    return [_reduced(value, list(over), bool(node.get("keepdims", 1)))]


@RULES.of("ArgMax", "ArgMin")
def _arg(node: Node, given: Given) -> Results:
    value = first(given)
    axis = place(node.get("axis", 0), value.rank)
    return [_reduced(value, [axis], bool(node.get("keepdims", 1)))]


def _reduced(value: Value, axes: Sequence[int], keep: bool) -> Value:
    off(value, axes, "takes what it reckons over")
    if keep:
        return kept(value, tuple(1 if i in axes else size for i, size in enumerate(value.dims)))
    left = [index for index in range(value.rank) if index not in axes]
    axis = None if value.axis is None else left.index(value.axis)
    return kept(value, tuple(value.dims[index] for index in left), axis=axis)


@RULES.of("TopK")
def _top_k(node: Node, given: Given) -> Results:
    value = first(given)
    axis = place(node.get("axis", -1), value.rank)
    off(value, [axis], "sorts along")
    count = at(given, 1)
    known = None if count is None or count.known is None else count.known.flat[0]
    length = node.get("k") if count is None else known
    dims = (
        *value.dims[:axis],
        node.fresh(axis) if length is None else length,
        *value.dims[axis + 1 :],
    )
    fixed(given, 1, "how many it picks")
    return [kept(value, dims), kept(value, dims)]


@RULES.of("Softmax", "LogSoftmax", "Hardmax")
def _softmax(node: Node, given: Given) -> Results:
    value = first(given)
    axis = place(node.get("axis", -1 if node.opset >= 13 else 1), value.rank)
    # Before opset 13 all axes from this one on were taken as one.
    off(value, [axis] if node.opset >= 13 else range(axis, value.rank), "normalizes along")
    return [kept(value, value.dims)]


@RULES.of("LpNormalization")
def _lp(node: Node, given: Given) -> Results:
    value = first(given)
    off(value, [place(node.get("axis", -1), value.rank)], "normalizes along")
    return [kept(value, value.dims)]


@RULES.of("CumSum", "CumProd")
def _cumulated(node: Node, given: Given) -> Results:
    value = first(given)
    axes = numbers(at(given, 1), "the axis")
    off(value, [place(int(axes[0]), value.rank)], "adds up along")
    return [kept(value, value.dims)]


@RULES.of("Trilu")
def _trilu(node: Node, given: Given) -> Results:
    value = first(given)
    off(value, (value.rank - 2, value.rank - 1), "cuts a triangle out of")
    fixed(given, 1, "the diagonal")
    return [kept(value, value.dims)]


@RULES.of("Range", takes_sizes=True)
def _range(node: Node, given: Given) -> Results:
    bounds = present(given)
    fixed(given, 0, "a bound")
    known = [value.known.flat[0] if value.known is not None else None for value in bounds]
    whole = [each for each in known if isinstance(each, int)]
    if len(whole) == 3 and whole[2]:
        steps = np.arange(whole[0], whole[1], whole[2])
        if len(steps) <= _LONGEST:
            return [constant(steps.astype(object))]
        return [Value((len(steps),))]
    if known == [0, sizes.BATCH, 1]:
        return [Value((sizes.BATCH,), 0, numbered=(True,))]
    if any(value.sized for value in bounds):
        raise MixedError("it counts the rows")
    if known[0] == 0 and known[2] == 1 and isinstance(known[1], Named):
        return [Value((known[1],))]
    return [Value((node.fresh(0),))]


@RULES.of("OneHot")
def _one_hot(node: Node, given: Given) -> Results:
    value, depth = present(given)[:2]
    fixed(given, 1, "the depth or a value")
    axis = place(node.get("axis", -1), value.rank + 1)
    length = node.fresh(axis) if depth.known is None else depth.known.flat[0]
    moved = None if value.axis is None else value.axis + (value.axis >= axis)
    return [kept(value, (*value.dims[:axis], length, *value.dims[axis:]), axis=moved)]


@RULES.of("MatMul", "FusedMatMul", "TransposeMatMul")
def _matmul(node: Node, given: Given) -> Results:
    one, other = present(given)[:2]
    one = _batch_turned(one) if node.get("transBatchA", 0) else one
    other = _batch_turned(other) if node.get("transBatchB", 0) else other
    one = _swapped(one) if node.get("transA", 0) else one
    return [multiplied(one, _swapped(other) if node.get("transB", 0) else other)]


def _batch_turned(value: Value) -> Value:
    """Return a stack whose first axis is moved to the last but one, as ONNX Runtime's transBatch does."""
    return _permuted(value, [*range(1, value.rank - 1), 0, value.rank - 1])


def _swapped(value: Value) -> Value:
    last = value.rank - 1
    return _permuted(value, [*range(value.rank - 2), last, last - 1])


def _permuted(value: Value, order: Sequence[int]) -> Value:
    axis = None if value.axis is None else order.index(value.axis)
    return kept(value, tuple(value.dims[index] for index in order), axis=axis)


def multiplied(one: Value, other: Value) -> Value:
    """Return the product of two matrices, or stacks of them. Raises MixedError when it sums over rows."""
    left, right = one.rank, other.rank
    off(one, [left - 1], "sums over")
    off(other, [max(right - 2, 0)], "sums over")
    lead = together([_stack(one), _stack(other)])
    rank = len(lead.dims)
    by_row = one.axis is not None and left > 1 and one.axis == left - 2
    by_column = other.axis is not None and right > 1 and other.axis == right - 1
    if by_row + by_column + lead.rows > 1:
        raise MixedError("each row meets every other row")
    tail = [*one.dims[-2:-1], *(other.dims[-1:] if right > 1 else ())]
    axis, outer = lead.axis, lead.outer
    if by_row:
        axis, outer = rank, one.outer
    elif by_column:
        axis, outer = rank + len(tail) - 1, other.outer
    return Value((*lead.dims, *tail), axis, outer, one.tied or other.tied)


def _stack(value: Value) -> Value:
    axis = value.axis if value.axis is not None and value.axis < value.rank - 2 else None
    return Value(value.dims[:-2], axis, value.outer if axis is not None else 1)


@RULES.of("Gemm", "FusedGemm")
def _gemm(node: Node, given: Given) -> Results:
    one, other = present(given)[:2]
    one = _swapped(one) if node.get("transA", 0) else one
    result = multiplied(one, _swapped(other) if node.get("transB", 0) else other)
    added = at(given, 2)
    return [result if added is None else together([result, added])]


@RULES.of("Einsum")
def _einsum(node: Node, given: Given) -> Results:
    takes, _, gives = str(_text(node.get("equation"))).replace(" ", "").partition("->")
    if not gives or "." in takes:
        raise MixedError("its equation is not written out")
    lengths: dict[str, Size] = {}
    found: dict[int, str | None] = {}
    values = present(given)
    for index, (letters, value) in enumerate(zip(takes.split(","), values, strict=True)):
        lengths.update(zip(letters, value.dims, strict=True))
        found[index] = None if value.axis is None else letters[value.axis]
    batch = {letter for letter in found.values() if letter}
    if not batch:
        return [Value(tuple(lengths[letter] for letter in gives))]
    letter = batch.pop()
    clash = any(
        letter in part
        for part, own in zip(takes.split(","), found.values(), strict=True)
        if not own
    )
    if (
        batch
        or clash
        or letter not in gives
        or any(part.count(letter) > 1 for part in takes.split(","))
    ):
        raise MixedError("it sums over the batch, or each row meets every other row")
    outer = next(value.outer for value in values if value.rows)
    if any(value.rows and value.outer != outer for value in values):
        raise MixedError("rows lie in different orders")
    tied = any(value.tied for value in values)
    return [Value(tuple(lengths[each] for each in gives), gives.index(letter), outer, tied)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
