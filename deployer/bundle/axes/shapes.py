"""Operators that move, cut or join tensors, and those that reckon with shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deployer.bundle.axes import sizes
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
    kept,
    numbers,
    off,
    place,
    present,
)

RULES = Rules()
_LONGEST = 64


@RULES.of("Shape", takes_sizes=True, numbers=True)
def _shape(node: Node, given: Given) -> Results:
    dims = first(given).dims
    return [constant([*dims[node.get("start", 0) : node.get("end", len(dims))]])]


@RULES.of("Size")
def _size(node: Node, given: Given) -> Results:
    return [constant(sizes.product(first(given).dims))]


@RULES.of("Identity", "Cast", "CastLike", takes_sizes=True, scales=True, numbers=True)
def _same(node: Node, given: Given) -> Results:
    value = first(given)
    narrow = node.op == "Cast" and node.get("to") in (10, 16)  # float16, bfloat16: they round
    if value.known is not None and node.op == "Cast" and node.get("to") == 9:
        return [replace(value, known=None)] if value.known.size > _LONGEST else [_truth(value)]
    return [replace(value, tied=value.tied or (narrow and value.rows))]


def _truth(value: Value) -> Value:
    assert value.known is not None
    if any(isinstance(each, Named) for each in value.known.flat):
        return _unless_sized(value, Value(value.shape))
    return replace(value, known=value.known.astype(bool).astype(object))


def _unless_sized(value: Value, result: Value) -> Value:
    if value.sized:
        raise MixedError("it reckons with the number of rows")
    return result


@RULES.of("Transpose")
def _transpose(node: Node, given: Given) -> Results:
    value = first(given)
    order = list(node.get("perm") or reversed(range(value.rank)))
    axis = None if value.axis is None else order.index(value.axis)
    return [kept(value, tuple(value.dims[each] for each in order), axis=axis)]


@RULES.of("Reshape", takes_sizes=True, scales=True)
def _reshape(node: Node, given: Given) -> Results:
    value = first(given)
    shape = at(given, 1) if node.opset >= 5 else constant(list(node.get("shape", [])))
    wanted = numbers(shape, "the shape")
    return [reshaped(value, wanted, keeps_zero=bool(node.get("allowzero", 0)))]


@RULES.of("Flatten")
def _flatten(node: Node, given: Given) -> Results:
    value = first(given)
    axis = node.get("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    return [reshaped(value, [sizes.product(value.dims[:axis]), sizes.product(value.dims[axis:])])]


def reshaped(value: Value, wanted: Sequence[Any], *, keeps_zero: bool = False) -> Value:
    """Return a tensor in another shape; rows must stay whole and in order."""
    dims = _resolved(value.dims, wanted, keeps_zero)
    if value.axis is None:
        if any(sizes.has_rows(size) for size in dims):
            raise MixedError("a constant is cut into rows")
        known = value.known
        if known is not None and all(isinstance(size, int) for size in dims):
            return replace(
                value, shape=tuple(dims), known=known.reshape([int(str(d)) for d in dims])
            )
        return kept(value, tuple(dims))
    before = sizes.times(sizes.product(value.dims[: value.axis]), value.outer)
    ahead: Size = 1
    for axis, size in enumerate(dims):
        if sizes.has_rows(size):
            outer = sizes.over(before, ahead)
            if outer is None or sizes.over(size, sizes.times(outer, sizes.BATCH)) is None:
                break
            return kept(value, tuple(dims), axis=axis, outer=outer)
        ahead = sizes.times(ahead, size)
    raise MixedError("the new shape cuts through the rows")


def _resolved(dims: Sequence[Size], wanted: Sequence[Any], keeps_zero: bool) -> list[Size]:
    found: list[Any] = [
        dims[index] if size == 0 and not keeps_zero and index < len(dims) else size
        for index, size in enumerate(wanted)
    ]
    if -1 in found:
        rest = sizes.product(size for size in found if size != -1)
        missing = sizes.over(sizes.product(dims), rest)
        if missing is None:
            raise MixedError("the length that -1 stands for cannot be told")
        found[found.index(-1)] = missing
    if sizes.product(found) != sizes.product(dims) and not _led_by_rows(dims, found):
        raise MixedError(f"it is not clear that {_words(dims)} can be laid out as {_words(found)}")
    return found


def _led_by_rows(dims: Sequence[Size], found: Sequence[Size]) -> bool:
    """Whether the first axis is the rows before and after: then each row keeps its own, or nothing fits."""
    return bool(dims and found) and dims[0] == found[0] == sizes.BATCH


def _words(dims: Sequence[Size]) -> str:
    return "(" + ", ".join(str(size).replace(sizes.ROWS, "rows") for size in dims) + ")"


def axes_of(node: Node, given: Given, index: int, opset: int) -> list[int] | None:
    """Return the axes of an attribute (before ``opset``) or of input ``index``; None when none are named."""
    if node.opset < opset or "axes" in node.attributes:
        axes = node.get("axes")
        return None if axes is None else list(axes)
    value = at(given, index)
    return None if value is None else [int(each) for each in numbers(value, "the list of axes")]


@RULES.of("Squeeze", takes_sizes=True, scales=True)
def _squeeze(node: Node, given: Given) -> Results:
    value = first(given)
    axes = axes_of(node, given, 1, 13)
    if axes is None:
        if any(isinstance(size, Named) for size in value.dims):
            raise MixedError("it drops every axis of length 1, and some lengths are not known")
        axes = [index for index, size in enumerate(value.dims) if size == 1]
    gone = [place(axis, value.rank) for axis in axes]
    off(value, gone, "drops")
    return [_with_axes(value, [index for index in range(value.rank) if index not in gone])]


@RULES.of("Unsqueeze", takes_sizes=True, scales=True, numbers=True)
def _unsqueeze(node: Node, given: Given) -> Results:
    value = first(given)
    axes = axes_of(node, given, 1, 13) or []
    _whole(value)
    rank = value.rank + len(axes)
    new = {place(axis, rank) for axis in axes}
    old = iter(range(value.rank))
    return [_with_axes(value, [None if index in new else next(old) for index in range(rank)])]


def _with_axes(value: Value, order: Sequence[int | None]) -> Value:
    """Return a tensor whose axes are those old ones, a new one of length 1 for each None."""
    dims = tuple(1 if old is None else value.dims[old] for old in order)
    axis = None if value.axis is None else order.index(value.axis)
    known = None if value.known is None else value.known.reshape([int(str(d)) for d in dims])
    return replace(value, shape=dims, axis=axis, known=known)


@RULES.of("Concat", takes_sizes=True, numbers=True)
def _concat(node: Node, given: Given) -> Results:
    values = present(given)
    if all(value.known is not None for value in values):
        parts = [value.known for value in values if value.known is not None]
        return [constant(np.concatenate(parts, node.get("axis", 1)))]
    if any(value.sized for value in values):
        raise MixedError("it joins the number of rows with what is not known")
    rank = first(given).rank
    axis = place(node.get("axis", 1), rank)
    for value in values:
        off(value, [axis], "joins tensors along")
    return [_joined(values, axis)]


def _joined(values: Sequence[Value], axis: int) -> Value:
    whole = next((value for value in values if value.rows), values[0])
    length: Size | None = 0
    for value in values:
        if (value.axis, value.outer) != (whole.axis, whole.outer):
            raise MixedError("it joins rows with a constant, or with rows on another axis")
        if whole.axis is not None and value.dims[whole.axis] != whole.dims[whole.axis]:
            raise MixedError("it joins tensors of different numbers of rows")
        length = None if length is None else sizes.plus(length, value.dims[axis])
    assert length is not None  # the axis carries no rows
    dims = (*whole.dims[:axis], length, *whole.dims[axis + 1 :])
    tied = any(value.tied for value in values)
    return kept(whole, dims, tied=tied, numbered=_columns(values, axis))


def _columns(values: Sequence[Value], axis: int) -> tuple[bool, ...]:
    """Return which columns hold numbers of rows when ``values`` are joined along their last axis."""
    if not any(value.numbered for value in values):
        return ()
    columns: list[bool] = []
    for value in values:
        width = value.dims[-1]
        if axis != value.rank - 1 or not isinstance(width, int):
            raise MixedError("it joins numbers of rows with others")
        many = len(value.numbered) > 1
        columns += value.numbered if many else [bool(value.numbered)] * width
    return tuple(columns)


@RULES.of("Split", "SplitToSequence")
def _split(node: Node, given: Given) -> Results:
    value = first(given)
    if node.op != "Split":
        raise MixedError("it makes a sequence")
    axis = place(node.get("axis", 0), value.rank)
    off(value, [axis], "splits")
    parts = node.get("split")
    named = at(given, 1)
    if named is not None:
        parts = named.known.tolist() if named.known is not None else None
    count = len(node.outputs)
    if parts is None and named is None:
        each = sizes.over(value.dims[axis], count)
        parts = None if each is None else [each] * count
    lengths = parts or [node.fresh(index) for index in range(count)]
    return [
        kept(value, (*value.dims[:axis], length, *value.dims[axis + 1 :])) for length in lengths
    ]


@RULES.of("Expand", takes_sizes=True, numbers=True)
def _expand(node: Node, given: Given) -> Results:
    value = first(given)
    wanted = numbers(at(given, 1), "the shape")
    _whole(value)
    return [expanded(value, tuple(wanted))]


def _whole(value: Value) -> None:
    if len(value.numbered) > 1:
        raise MixedError("it turns columns of which some are numbers of rows")


def expanded(value: Value, wanted: Sequence[Size]) -> Value:
    """Return a tensor repeated to a shape; a length that is the number of rows makes an axis of rows."""
    rank = max(value.rank, len(wanted))
    dims: list[Size] = [*[1] * (rank - value.rank), *value.dims]
    axis = None if value.axis is None else value.axis + rank - value.rank
    for index, size in enumerate(wanted, rank - len(wanted)):
        if sizes.has_rows(size) and axis is None:
            if dims[index] != 1 or size != sizes.BATCH:
                raise MixedError("a constant is laid along the rows")
            axis, dims[index] = index, size
            continue
        joined = sizes.broadcast(dims[index], size)
        if joined is None or (sizes.has_rows(joined) and index != axis):
            raise MixedError("each row is repeated for every other row")
        if index == axis and joined != dims[index]:
            raise MixedError("rows are repeated")
        dims[index] = joined
    return Value(tuple(dims), axis, value.outer, value.tied, numbered=value.numbered)


@RULES.of("ConstantOfShape", takes_sizes=True)
def _constant_of_shape(node: Node, given: Given) -> Results:
    wanted = numbers(first(given), "the shape")
    fill = node.get("value")
    total = sizes.product(wanted)
    plain = all(isinstance(size, int) for size in wanted)  # no rows of length 0
    if plain and isinstance(total, int) and total <= _LONGEST:
        flat = np.full(int(total), 0 if fill is None else fill.flat[0].item(), dtype=object)
        return [constant(flat.reshape([int(size) for size in wanted]))]
    return [expanded(Value(()), wanted)]


@RULES.of("Tile")
def _tile(node: Node, given: Given) -> Results:
    value = first(given)
    counts = numbers(at(given, 1), "the count of repeats")
    if value.axis is not None and counts[value.axis] != 1:
        raise MixedError("it repeats the batch")
    return [kept(value, tuple(sizes.times(s, c) for s, c in zip(value.dims, counts, strict=True)))]
