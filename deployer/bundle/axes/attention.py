"""Attention and what goes with it, as ONNX and ONNX Runtime's own domain name it."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.bundle.axes.sizes import Size
from deployer.bundle.axes.values import (
    Given,
    MixedError,
    Node,
    Results,
    Rules,
    Value,
    at,
    first,
    fixed,
    kept,
    off,
    present,
)

RULES = Rules()


def _one_by_one(given: Given, places: Sequence[int]) -> Value:
    """Return the first input; rows of it and of those at ``places`` must lie on axis 0, or nowhere."""
    value = first(given)
    for index in (0, *places):
        other = at(given, index)
        if other is None:
            continue
        if other.rows and (other.axis, other.outer) != (0, 1):
            raise MixedError(
                f"it takes the first axis for the batch; input {index} has it elsewhere"
            )
        if other.rows != value.rows and (value.rows is False or _long(other)):
            raise MixedError(
                f"input {index} is the same for every row, or the only one that has rows"
            )
    return value


def _long(value: Value) -> bool:
    """Whether a constant may be longer than 1 along the batch."""
    return not value.rows and bool(value.dims) and value.dims[0] != 1


@RULES.of("MultiHeadAttention")
def _multi_head(node: Node, given: Given) -> Results:
    value = _one_by_one(given, (1, 2, 4, 5, 6, 7))
    fixed(given[3:4], 0)
    if len(given) > 8 and present(given[8:]):
        raise MixedError("it keeps a cache")
    _all_rows(given, (1, 2), value)
    last: Size = value.dims[-1] if value.rank == 3 else node.fresh("width")
    return _outputs(node, value, (value.dims[0], value.dims[1], last), cache_axis=0)


@RULES.of("Attention", "QAttention")
def _attention(node: Node, given: Given) -> Results:
    value = first(given)
    if node.op == "Attention" and (
        at(given, 1) is not None and given[1] is not None and given[1].rows
    ):
        return _standard(node, given)
    quantized = node.op == "QAttention"
    fixed(given[1:5] if quantized else given[1:3], 0)
    places = (5,) if quantized else (3, 5)
    _one_by_one(given, places)
    past = at(given, 8 if quantized else 4)
    if past is not None:
        raise MixedError("it keeps a cache")
    moved = kept(value, (value.dims[0], value.dims[1], node.fresh("width")))
    results = _outputs(node, moved, moved.dims, cache_axis=1)
    return [kept(one, one.shape, tied=value.tied or quantized) for one in results]


def _standard(node: Node, given: Given) -> Results:
    """The operator of ONNX 23: query, key, value, and a mask that is broadcast."""
    value = _one_by_one(given, (1, 2))
    if present(given[4:]):
        raise MixedError("it keeps a cache")
    mask = at(given, 3)
    if mask is not None and (mask.rows and (mask.rank != 4 or mask.axis != 0)):
        raise MixedError("its mask has the batch on another axis")
    if mask is not None and not mask.rows and mask.rank == 4 and mask.dims[0] != 1:
        raise MixedError("its mask is a constant along the batch")
    _all_rows(given, (1, 2), value)
    shape = (*value.dims[:-1], node.fresh("width"))
    if len(node.outputs) > 1:
        raise MixedError("it gives its cache away")
    return [kept(value, shape)]


def _all_rows(given: Given, places: Sequence[int], value: Value) -> None:
    for index in places:
        other = at(given, index)
        if other is not None and other.rows != value.rows:
            raise MixedError("keys or values are not one per row")


def _outputs(node: Node, value: Value, shape: tuple[Size, ...], cache_axis: int) -> Results:
    found = [kept(value, shape)]
    while len(found) < len(node.outputs):
        output = len(found)
        dims: list[Size] = [node.fresh(index, output) for index in range(5 if cache_axis else 4)]
        dims[cache_axis] = value.dims[0]
        found.append(kept(value, tuple(dims), axis=cache_axis if value.rows else None))
    return found


@RULES.of("EmbedLayerNormalization")
def _embed(node: Node, given: Given) -> Results:
    value = _one_by_one(given, (1, 7, 8))
    fixed(given[2:7], 0)
    batch, length = value.dims
    table = at(given, 2)
    width = table.dims[-1] if table is not None else node.fresh("width")
    whole = kept(value, (batch, length, width))
    return [whole, kept(value, (batch,)), whole][: len(node.outputs)]


@RULES.of("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def _skip(node: Node, given: Given) -> Results:
    value, skip = present(given)[:2]
    off(value, [value.rank - 1], "takes the mean over")
    fixed(given, 2)
    if not value.rows and skip.rows:
        raise MixedError("only what is added has rows")
    if skip.rows and (skip.axis, skip.outer, skip.rank) != (value.axis, value.outer, value.rank):
        raise MixedError("what is added has its rows on another axis")
    if (
        value.rows
        and not skip.rows
        and skip.rank == value.rank
        and value.axis is not None
        and skip.dims[value.axis] != 1
    ):
        raise MixedError("a constant lies along the batch")
    tied = value.tied or skip.tied
    small = kept(value, (*value.dims[:-1], 1), tied=tied)
    whole = kept(value, value.dims, tied=tied)
    return [whole, small, small, whole][: len(node.outputs)]


@RULES.of("RotaryEmbedding")
def _rotary(node: Node, given: Given) -> Results:
    raise MixedError("no rule says how its positions go with rows")
