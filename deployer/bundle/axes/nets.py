"""Layers of networks: convolutions, pools, norms, recurrent layers, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deployer.bundle.axes import sizes
from deployer.bundle.axes.sizes import Size
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
    numbers,
    off,
    place,
    present,
)

RULES = Rules()


@RULES.of("Conv", "FusedConv", "ConvTranspose", "NhwcFusedConv", "DeformConv")
def _conv(node: Node, given: Given) -> Results:
    return [convolved(node, given, weights=1)]


def convolved(node: Node, given: Given, *, weights: int) -> Value:
    """Return what a convolution makes; its kernel is input ``weights``, the values are input 0."""
    if node.op in ("NhwcFusedConv", "DeformConv"):
        raise MixedError("no rule says how its axes lie")
    value, kernel = first(given), at(given, weights)
    batch_first(value)
    fixed(given, 1)
    if kernel is None:
        raise MixedError("its kernel is missing")
    turned = node.op == "ConvTranspose"
    count = value.rank - 2
    spatial = window(node, value.dims[2:], list(kernel.dims[2:]), count, turned=turned)
    channels = sizes.times(kernel.dims[1], node.get("group", 1)) if turned else kernel.dims[0]
    return kept(value, (value.dims[0], channels, *spatial))


def window(
    node: Node, dims: Sequence[Size], kernel: Sequence[Any], count: int, *, turned: bool = False
) -> list[Size]:
    """Return the lengths that a window leaves of ``dims``; new unknown ones where they cannot be told."""
    strides = node.get("strides") or [1] * count
    gaps = node.get("dilations") or [1] * count
    pads = node.get("pads") or [0] * 2 * count
    kernel = node.get("kernel_shape") or kernel
    auto = node.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    found: list[Size] = []
    for index, size in enumerate(dims):
        span = None if kernel[index] is None else gaps[index] * (kernel[index] - 1)
        length = None
        if not turned and auto == "NOTSET" and isinstance(span, int):
            room = pads[index] + pads[index + count] - span
            up = strides[index] - 1 if node.get("ceil_mode", 0) else 0
            length = _slid(size, room, strides[index], up)
        found.append(node.fresh(index + 2) if length is None else length)
    return found


def _slid(size: Size, room: int, stride: int, up: int) -> Size | None:
    if isinstance(size, int):
        return (size + room - 1 + up) // stride + 1
    return size if room == 0 and stride == 1 else None


@RULES.of("MaxPool", "AveragePool", "LpPool")
def _pool(node: Node, given: Given) -> Results:
    value = first(given)
    off(value, range(2, value.rank), "slides its window over")
    count = value.rank - 2
    dims = (*value.dims[:2], *window(node, value.dims[2:], [None] * count, count))
    # The indices of the second output count through the whole batch.
    where = Value(why="MaxPool's indices count through the whole batch")
    return [kept(value, dims), where][: len(node.outputs)]


@RULES.of("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(node: Node, given: Given) -> Results:
    value = first(given)
    off(value, range(2, value.rank), "takes what it reckons over")
    return [kept(value, (*value.dims[:2], *[1] * (value.rank - 2)))]


@RULES.of("BatchNormalization")
def _batch_norm(node: Node, given: Given) -> Results:
    value = first(given)
    trains = node.get("training_mode", 0) or (node.opset < 14 and len(node.outputs) > 1)
    if trains or (node.opset < 7 and not node.get("is_test", 0)):
        raise MixedError("it takes the mean over the batch: it was exported in training mode")
    off(value, [1], "takes its channels along")
    fixed(given, 1)
    return [kept(value, value.dims)]


@RULES.of("InstanceNormalization", "GroupNormalization", "LRN", "MeanVarianceNormalization")
def _norm_of_channels(node: Node, given: Given) -> Results:
    value = first(given)
    if node.op == "MeanVarianceNormalization":
        off(value, node.get("axes", [0, 2, 3]), "takes the mean over")
    batch_first(value)
    fixed(given, 1)
    return [kept(value, value.dims)]


@RULES.of("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def _layer_norm(node: Node, given: Given) -> Results:
    value = first(given)
    axis = place(node.get("axis", -1), value.rank)
    off(value, range(axis, value.rank), "takes the mean over")
    fixed(given, 1)
    small = kept(value, (*value.dims[:axis], *[1] * (value.rank - axis)))
    return [kept(value, value.dims), small, small][: len(node.outputs)]


@RULES.of("LSTM", "GRU", "RNN")
def _recurrent(node: Node, given: Given) -> Results:
    value = first(given)
    last = node.get("layout", 0) == 1
    axis = 0 if last else 1
    if value.rows and value.axis != axis:
        raise MixedError(f"it takes axis {axis} for the batch; here that is axis {value.axis}")
    fixed(given[:4], 1)
    fixed(given, 7)
    for index in (4, 5, 6):
        state = at(given, index)
        wanted = 0 if index == 4 else axis
        where = (wanted, value.outer) if value.rows else (None, 1)
        if state is not None and (state.axis, state.outer) != where:
            raise MixedError("its lengths or its first state are not one per row")
    return _recurrent_results(node, value, last)


def _recurrent_results(node: Node, value: Value, last: bool) -> Results:
    both = 2 if _text(node.get("direction", b"forward")) == "bidirectional" else 1
    batch, time = (value.dims[0], value.dims[1]) if last else (value.dims[1], value.dims[0])
    hidden = node.get("hidden_size") or node.fresh("hidden")
    whole = (batch, time, both, hidden) if last else (time, both, batch, hidden)
    end = (batch, both, hidden) if last else (both, batch, hidden)
    axes = (0, 0) if last else (2, 1)
    axes_ = axes if value.rows else (None, None)
    states = [kept(value, end, axis=axes_[1])] * 2
    return [kept(value, whole, axis=axes_[0]), *states][: len(node.outputs)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@RULES.of("Resize", "Upsample", takes_sizes=True)
def _resize(node: Node, given: Given) -> Results:
    value = first(given)
    fixed(given, 1, "how it resizes")
    named = node.get("axes")
    axes = list(range(value.rank)) if named is None else [place(a, value.rank) for a in named]
    old = node.op == "Upsample" or node.opset < 11
    scales = at(given, 1 if old else 2)
    attribute = node.get("scales")
    wanted = None if old else at(given, 3)
    dims = list(value.dims)
    for index, axis in enumerate(axes):
        factor = attribute[index] if attribute else _entry(scales, index)
        length = _entry(wanted, index)
        if factor == 1 or (length is not None and length == dims[axis]):
            continue
        off(value, [axis], "resizes")
        dims[axis] = (
            length if length is not None else _scaled(dims[axis], factor) or node.fresh(axis)
        )
    if (
        value.rows
        and node.get("antialias", 0) == 0
        and _text(node.get("coordinate_transformation_mode", b"")) == "tf_crop_and_resize"
    ):
        raise MixedError("it crops by regions")
    return [kept(value, tuple(dims))]


def _entry(value: Value | None, index: int) -> Any:
    if value is None or value.known is None or index >= value.known.size:
        return None
    return value.known.flat[index]


def _scaled(size: Size, factor: Any) -> Size | None:
    if factor is None or factor != int(factor):
        return None
    return sizes.times(size, int(factor))


@RULES.of("Pad")
def _pad(node: Node, given: Given) -> Results:
    value = first(given)
    fixed(given, 1, "how it pads")
    amounts = node.get("pads") or node.get("paddings")
    amounts = list(amounts) if amounts else numbers(at(given, 1), "how much it pads")
    named = at(given, 3)
    axes = range(value.rank) if named is None else numbers(named, "the list of axes")
    count, dims = len(amounts) // 2, list(value.dims)
    for index, axis in enumerate(axes):
        axis = place(int(axis), value.rank)
        before, after = amounts[index], amounts[index + count]
        if before == 0 and after == 0:
            continue
        off(value, [axis], "pads")
        added = sizes.plus(before, after)
        length = None if added is None else sizes.plus(dims[axis], added)
        dims[axis] = node.fresh(axis) if length is None else length
    return [kept(value, tuple(dims))]


@RULES.of("DepthToSpace", "SpaceToDepth")
def _blocks(node: Node, given: Given) -> Results:
    value, size = first(given), node.get("blocksize", 1)
    batch_first(value)
    batch, channels, high, wide = value.dims
    if node.op == "DepthToSpace":
        fewer = sizes.over(channels, size * size)
        dims = (batch, fewer or node.fresh(1), sizes.times(high, size), sizes.times(wide, size))
    else:
        small = [sizes.over(each, size) or node.fresh(i) for i, each in ((2, high), (3, wide))]
        dims = (batch, sizes.times(channels, size * size), small[0], small[1])
    return [kept(value, dims)]


@RULES.of("GridSample")
def _grid(node: Node, given: Given) -> Results:
    value, grid = present(given)
    if (value.axis, value.outer) != (grid.axis, grid.outer) or value.axis not in (0, None):
        raise MixedError("its grid is not one per row")
    return [replace(value, shape=(*value.dims[:2], *grid.dims[1:-1]), known=None)]


@RULES.of("Dropout")
def _dropout(node: Node, given: Given) -> Results:
    value, mode = first(given), at(given, 2)
    if node.opset < 7 and not node.get("is_test", 0):
        raise MixedError("it drops at random: it was exported in training mode")
    if mode is not None and (mode.known is None or bool(mode.known.flat[0])):
        raise MixedError("it drops at random: it was exported in training mode")
    return [value, kept(value, value.shape)][: len(node.outputs)]
