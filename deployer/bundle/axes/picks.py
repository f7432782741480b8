"""Operators that take parts of tensors: slices, and what indices point to."""

from __future__ import annotations

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
_END = 10**9
"""To the end, as tf2onnx writes it (others: 2**31 - 1 or more): an axis so long would take a gigabyte at least."""


@RULES.of("Slice", takes_sizes=True)
def _slice(node: Node, given: Given) -> Results:
    value = first(given)
    starts, ends, axes, steps = _slice_bounds(node, given, value.rank)
    if value.known is not None and None not in (*starts, *ends):
        cut: list[slice] = [slice(None)] * value.rank
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if not isinstance(start, int) or not isinstance(end, int):
                break
            cut[axis] = slice(start, None if end < -_END else end, step)
        else:
            return [constant(value.known[tuple(cut)])]
    if value.sized:
        raise MixedError("it reckons with the number of rows")
    dims = list(value.dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if start == 0 and step == 1 and (end == dims[axis] or _beyond(end)):
            continue  # all of it
        off(value, [axis], "cuts")
        dims[axis] = _cut(dims[axis], start, end, step) or node.fresh(axis)
    return [kept(value, tuple(dims))]


def _beyond(end: Any) -> bool:
    return isinstance(end, int) and end >= _END


def _cut(size: Size, start: Any, end: Any, step: Any) -> Size | None:
    if isinstance(size, int) and all(isinstance(each, int) for each in (start, end, step)):
        return len(range(size)[slice(start, None if end < -_END else end, step)])
    if start == 0 and step == 1 and isinstance(end, Named) and not sizes.has_rows(end):
        return end  # a shorter tensor would not fit what follows: an error, never other rows
    return None


def _slice_bounds(
    node: Node, given: Given, rank: int
) -> tuple[list[Any], list[Any], list[int], list[Any]]:
    """Return starts, ends, axes and steps; None for a bound that is not known."""
    if node.opset < 10:
        starts, ends = list(node.get("starts")), list(node.get("ends"))
        axes: Any = node.get("axes")
    else:
        starts, ends = (_bounds(at(given, index)) for index in (1, 2))
        named = at(given, 3)
        axes = None if named is None else numbers(named, "the list of axes")
    axes = [place(int(each), rank) for each in (range(len(starts)) if axes is None else axes)]
    steps = at(given, 4)
    return starts, ends, axes, [1] * len(axes) if steps is None else numbers(steps, "the step")


def _bounds(value: Value | None) -> list[Any]:
    if value is None:
        raise MixedError("a bound is missing")
    if value.rows:
        raise MixedError("it cuts where the batch says")
    if value.known is not None:
        return list(value.known.flat)
    length = value.dims[0] if value.rank else 1
    if not isinstance(length, int):
        raise MixedError("the bounds are not known")
    return [None] * length


def _own(value: Value, index: Value, dims: tuple[Size, ...], shared: int) -> Value:
    """Return what each row picks from itself: its number is the first of its indices."""
    by_number = index.numbered[:1] == (True,) and not any(index.numbered[1:]) and not shared
    plain = value.axis == 0 and value.outer == 1 and value.dims[0] == sizes.BATCH
    same = index.axis is not None and index.outer == 1 and index.dims[index.axis] == sizes.BATCH
    if value.numbered or index.axis == index.rank - 1 or not (by_number and plain and same):
        raise MixedError("it picks rows by number")
    return Value(dims, index.axis, 1, value.tied or index.tied)


@RULES.of("Gather", takes_sizes=True)
def _gather(node: Node, given: Given) -> Results:
    value, index = present(given)
    axis = place(node.get("axis", 0), value.rank)
    if value.known is not None and index.known is not None and not index.sized:
        wanted = index.known.astype(np.int64)
        return [constant(np.take(value.known, wanted, axis))]
    if value.sized or index.sized:
        raise MixedError("it reckons with the number of rows")
    off(value, [axis], "picks rows along")
    if value.rows and index.rows:
        raise MixedError("it picks from each row what other rows say")
    dims = (*value.dims[:axis], *index.dims, *value.dims[axis + 1 :])
    tied = value.tied or index.tied
    if index.axis is not None:
        return [Value(dims, axis + index.axis, index.outer, tied)]
    moved = value.axis is not None and value.axis > axis
    shifted = value.axis + index.rank - 1 if moved and value.axis is not None else value.axis
    return [Value(dims, shifted, value.outer, tied)]


@RULES.of("GatherElements", "ScatterElements")
def _gather_elements(node: Node, given: Given) -> Results:
    values = present(given)
    axis = place(node.get("axis", 0), values[0].rank)
    for value in values:
        off(value, [axis], "picks rows along")
    places = {(value.axis, value.outer) for value in values}
    if (
        len(places) > 1
        or len({value.dims[value.axis] for value in values if value.axis is not None}) > 1
    ):
        raise MixedError("its indices are not those of the same rows")
    shaped = values[1] if node.op == "GatherElements" else values[0]
    return [kept(shaped, shaped.dims, tied=any(value.tied for value in values))]


@RULES.of("GatherND", numbers=True)
def _gather_nd(node: Node, given: Given) -> Results:
    value, index = present(given)
    shared = node.get("batch_dims", 0)
    depth = index.dims[-1]
    if not isinstance(depth, int):
        raise MixedError("how deep its indices go is not known")
    dims = (*index.dims[:-1], *value.dims[shared + depth :])
    if index.numbered or value.numbered:
        return [_own(value, index, dims, shared)]
    if not value.rows:
        if index.axis is not None and index.axis < shared:
            raise MixedError("it pairs rows with constants")
        off(index, [index.rank - 1], "takes as one index")
        return [Value(dims, index.axis, index.outer, index.tied)]
    if (
        value.axis is None
        or value.axis >= shared
        or (index.axis, index.outer) != (value.axis, value.outer)
    ):
        raise MixedError("it picks rows by index")
    return [Value(dims, value.axis, value.outer, value.tied or index.tied)]
