"""How far an output is from FP32's on the same rows: few measures, each with the place where it is worst.

Each measure gives a drop from 0 (as FP32) to 1. Nothing here knows labels, and no output is flattened to one number.

- ``error``: root mean square error of a channel over the channel's own spread: what tells one row from another, the
  deviation from FP32's mean answer at each position. 0.1 is a signal-to-noise ratio of 20 dB (Widrow & Kollár 2008,
  Quantization Noise, ch. 1); 1 is as wrong as the constant answer (Nash & Sutcliffe 1970). Which axis holds the
  channels is not known: each axis is tried, and the worst slice of all is told.
- ``rows``: share of rows whose own error is above half of their spread.
- ``first places``: share of rows, where these are probabilities, with another class on top.
- ``ranks``: 1 - Spearman's rank correlation, of one number per row.
- ``unequal``: share of elements that differ, of whole numbers, truth values and strings.
- ``shape``: share of rows whose shape differs.
- ``collapse``: 1 where a channel that varies in FP32 does not in the candidate: at most ``FEW`` distinct values in
  place of ``TIMES`` as many, or none of FP32's variation followed. It is blind to scale and offset, so that a model of
  other units, trained to the same labels, is not taken for a collapsed one.

A distance of distributions (Kolmogorov-Smirnov) is not among them: rounding to 256 levels moves nine tenths of sparse
scores by less than a level, which it calls 0.9; the transport distance is at most ``error`` (Villani 2009, ch. 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployer.optimization.answers import Answer, Parts
from deployer.optimization.session import Array
from deployer.stats import Floats

ALIVE = 0.05
"""Of the largest spread among slices of like scale: what varies less is noise of a channel that is not in use."""

STILL = 1e-3
"""Of a slice's largest value: a spread below that is rounding (float16 rounds to 0.5e-3), not signal."""

NOTHING = 1e-5
"""Of the output's largest value: a spread below that is float16's rounding beside it, and no slice is alive."""

GAP = 10.0
"""A step between neighbours, by spread, that parts slices of one scale from those of another (boxes from scores)."""

FEW, TIMES = 4, 16
"""Four levels leave an error of 0.34 or more of a normal channel (Max 1960, Quantizing for Minimum Distortion)."""

PICTURE = 64
"""Bytes of so many values are a picture's."""

FOLLOWED = 0.3
"""Correlation with FP32 below which a channel follows none of its variation."""

NEAR = 0.1
"""An error below that is no collapse, however few the values."""

LOST_ROW = 0.5
_WIDEST = 16384
_SAMPLE = 4096
_BLOCK = 1 << 22
_HUGE = 1e30
"""Beyond that a number masks a place; it is no value."""

_EXTREME = 1e4


@dataclass(frozen=True)
class Finding:
    """The drop of one measure (0: as FP32, 1: lost) with the place and a sentence that tells both."""

    measure: str
    drop: float
    told: str


@dataclass(frozen=True)
class Sums:
    """Of one axis: by row and slice the sums of squares, so that any choice of rows is a weighted sum of them."""

    axis: int | None
    error: Floats
    signal: Floats
    given: Floats
    product: Floats
    count: int
    floor: Floats
    alive: Array

    def drops(self, weights: Floats) -> Floats:
        """Return each slice's error over its spread, by choice of rows: (choices, slices) for (choices, rows)."""
        rows = weights.sum(axis=1, keepdims=True) * self.count
        noise = weights @ self.error / rows
        spread = weights @ self.signal / rows + self.floor**2
        return np.asarray(_capped(np.sqrt(noise / np.maximum(spread, np.finfo(float).tiny))))

    def slices(self, places: Array) -> Sums:
        """Return the sums of these slices alone."""
        error, signal, given, product = (
            x[:, places] for x in (self.error, self.signal, self.given, self.product)
        )
        floor, alive = self.floor[places], self.alive[places]
        return Sums(self.axis, error, signal, given, product, self.count, floor, alive)

    def row_drops(self) -> Floats:
        """Return each row's error over the larger of its own spread and the rows' mean one, slices scaled alike."""
        scale = self.signal.mean(axis=0) + self.count * self.floor**2
        scale = np.where(scale > 0, scale, np.inf)
        # A constant slice that the candidate keeps constant says nothing; one that it moves is an error of its own.
        moved = (scale == np.inf) & (self.error > 0)
        error = (self.error / scale + moved).mean(axis=1)
        signal = ((self.signal + self.count * self.floor**2) / scale).mean(axis=1)
        return np.asarray(np.sqrt(error / np.maximum(np.maximum(signal, signal.mean()), 1e-300)))


def findings(given: Answer, reference: Answer) -> list[Finding]:
    """Return every measure that fits the output, each at its worst place."""
    if isinstance(given, Parts) or isinstance(reference, Parts):
        return _of_parts(given, reference)
    if given.shape != reference.shape:
        return [Finding("shape", 1.0, f"its shape is {given.shape}, FP32's {reference.shape}")]
    if not numeric(given, reference):
        return [_unequal(given, reference)]
    given, reference, broken = masked(given, reference)
    if broken is not None:
        return [broken]
    every = list(sums(given, reference))
    found = [_error(every), _rows(every), *_collapses(every, given, reference)]
    return [*found, *_order(given, reference)]


def sums(given: Array, reference: Array) -> Iterator[Sums]:
    """Yield the sums of each axis whose slices can be told apart, or of the whole where there is none."""
    shape = reference.shape
    axes: list[int | None] = [n for n in range(1, len(shape)) if 1 < shape[n] <= _WIDEST]
    for axis in axes or [None]:
        yield _sums(given, reference, axis)


def _sums(given: Array, reference: Array, axis: int | None) -> Sums:
    rows = len(reference)
    g, r = (_sliced(x, axis) for x in (given, reference))  # (rows, slices, elements)
    slices, elements = r.shape[1:]
    # One row alone has no other to differ from: its size is its spread.
    mean_r, mean_g = (x.mean(axis=0, dtype=np.float64) * (rows > 1) for x in (r, g))
    parts = np.zeros((4, rows, slices))
    step = max(1, _BLOCK // max(1, slices * elements))
    for start in range(0, rows, step):
        block = slice(start, start + step)
        wide_r, wide_g = r[block].astype(np.float64), g[block].astype(np.float64)
        a, b = wide_r - mean_r, wide_g - mean_g
        pairs = ((wide_g - wide_r,) * 2, (a, a), (b, b), (a, b))
        for part, (one, other) in zip(parts, pairs, strict=True):
            part[block] = np.einsum("rse,rse->rs", one, other)
    spread = np.sqrt(parts[1].mean(axis=0) / max(1, elements))
    size = np.abs(r).max(axis=(0, 2), initial=0.0).astype(np.float64)
    still = np.maximum(STILL * size, NOTHING * size.max(initial=0.0))
    low, high = r.min(axis=(0, 2)), r.max(axis=(0, 2))
    top = _top(spread, (low >= 0) & (high <= 1))
    floor = np.maximum(still, ALIVE * top)
    alive = (spread > still) & (spread >= ALIVE * top)
    error, signal, squares, product = parts
    return Sums(axis, error, signal, squares, product, elements, floor, alive)


def _top(spread: Floats, share: Array) -> Floats:
    """Return the largest spread among the slices of like scale; those within 0 to 1 are of one scale, a share."""
    top = np.zeros_like(spread)
    if share.any():
        top[share] = spread[share].max()
    rest = np.flatnonzero(~share)
    order = rest[np.argsort(spread[rest], kind="stable")]
    if len(order):
        known = np.maximum(spread[order], np.finfo(float).tiny)
        groups = np.split(order, np.flatnonzero(known[1:] > GAP * known[:-1]) + 1)
        for group in groups:
            top[group] = spread[group].max()
    return top


def _error(every: list[Sums]) -> Finding:
    best: tuple[float, str] = (-1.0, "")
    for one in every:
        drops = one.drops(np.ones((1, len(one.error))))[0]
        place = int(drops.argmax())
        if drops[place] > best[0]:
            best = float(drops[place]), _place(one.axis, place)
    return Finding("error", best[0], f"{best[1]}the error is {best[0]:.2g} of FP32's spread")


def _rows(every: list[Sums]) -> Finding:
    """Judge rows along the axis whose slices differ most in scale."""

    def unlike(one: Sums) -> float:
        spread = np.sqrt(one.signal.mean(axis=0))
        return float(np.log(spread[spread > 0]).std()) if (spread > 0).any() else 0.0

    drops = max(every, key=unlike).row_drops()
    lost = drops > LOST_ROW
    share = float(lost.mean())
    where = f", the worst row {int(drops.argmax())}" if lost.any() else ""
    return Finding("rows", share, f"{share:.1%} of rows are off by half of FP32's spread{where}")


def _collapses(every: list[Sums], given: Array, reference: Array) -> Iterator[Finding]:
    for one in every:
        both = np.sqrt(one.signal.sum(axis=0) * one.given.sum(axis=0))
        followed = one.product.sum(axis=0) / np.where(both > 0, both, np.inf)
        g, r = (_sliced(x, one.axis) for x in (given, reference))
        close = one.drops(np.ones((1, len(one.error))))[0] < NEAR
        for place in np.flatnonzero(one.alive & ~close):
            before, now = _distinct(r[:, place], g[:, place])
            if now <= FEW and before >= TIMES * now:
                told = f"FP32 has {before} distinct values, this rung {now}"
            elif followed[place] < FOLLOWED:
                told = f"its correlation with FP32 is {followed[place]:.2f}"
            else:
                continue
            yield Finding("collapse", 1.0, f"{_place(one.axis, int(place))}{told}")
            return


def _distinct(reference: Array, given: Array) -> tuple[int, int]:
    """Return how many distinct values both have among the places where FP32 is farthest from its mean answer."""
    away = np.abs(reference - reference.mean(axis=0, dtype=np.float64)).ravel()
    size = min(_SAMPLE, away.size)
    picked = np.argpartition(-away, size - 1)[:size]
    return len(np.unique(reference.ravel()[picked])), len(np.unique(given.ravel()[picked]))


def _order(given: Array, reference: Array) -> Iterator[Finding]:
    if reference[0].size == 1 and len(reference) > 1:
        a, b = ranks(given.ravel()), ranks(reference.ravel())
        if b.std() > 0:
            found = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 else 0.0
            yield Finding(
                "ranks", _clip(1 - found), f"its rank correlation with FP32 is {found:.4f}"
            )
    elif reference.ndim == 2 and _probabilities(reference):
        moved = float((given.argmax(axis=1) != reference.argmax(axis=1)).mean())
        yield Finding("first places", moved, f"{moved:.1%} of rows have another class on top")


def _probabilities(values: Array) -> bool:
    return bool(
        (values >= 0).all() and np.allclose(values.sum(axis=1, dtype=np.float64), 1, atol=1e-3)
    )


def ranks(values: Array) -> Floats:
    """Return ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return np.asarray((first + (counts - 1) / 2)[inverse], dtype=np.float64)


def _of_parts(given: Answer, reference: Answer) -> list[Finding]:
    """Judge rows of differing shapes: those of equal shape by value, along the last axis, where it is of one size."""
    pairs = [(np.asarray(g), np.asarray(r)) for g, r in zip(given, reference, strict=True)]
    same = [(g, r) for g, r in pairs if g.shape == r.shape]
    share = 1 - len(same) / len(pairs)
    found = [Finding("shape", share, f"{share:.1%} of rows have another shape than FP32's")]
    widths = {r.shape[-1] if r.ndim > 1 else 1 for _, r in same}
    width = widths.pop() if len(widths) == 1 else 1
    flat = [(g.reshape(-1, width), r.reshape(-1, width)) for g, r in same if r.size]
    if flat:
        g, r = (np.concatenate(side) for side in zip(*flat, strict=True))
        found += findings(g, r)
    return found


def numeric(given: Array, reference: Array) -> bool:
    """Say whether values are amounts; bytes of many values are those of a picture, other whole numbers are names."""
    if reference.dtype.kind == "f":
        return given.dtype.kind == "f"
    return bool(reference.dtype == np.uint8 == given.dtype and len(np.unique(reference)) >= PICTURE)


def _unequal(given: Array, reference: Array) -> Finding:
    differ = given != reference
    share = float(np.mean(differ)) if differ.size else 0.0
    first = f", first in row {int(np.argwhere(differ)[0][0])}" if share else ""
    return Finding("unequal", share, f"{share:.1%} of its values are not FP32's{first}")


def masked(given: Array, reference: Array) -> tuple[Array, Array, Finding | None]:
    """Take out what FP32 masks (infinity, NaN, 1e30 and more), where the candidate may hold anything as extreme."""
    if reference.dtype.kind != "f":
        return given.astype(np.float32), reference.astype(np.float32), None
    given, reference = (x.astype(np.promote_types(x.dtype, np.float32)) for x in (given, reference))
    with np.errstate(invalid="ignore"):
        mask = ~(np.abs(reference) < _HUGE)
        wrong = ~(np.abs(given) < _HUGE) & ~mask
        # A masked place stays one: as extreme on the same side, float16's largest number included.
        wrong |= np.isinf(reference) & ~(given * np.sign(reference) > _EXTREME)
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        told = f"NaN or infinity in row {row} is not where FP32 has it"
        return given, reference, Finding("collapse", 1.0, told)
    if mask.any():
        return np.where(mask, 0, given), np.where(mask, 0, reference), None
    return given, reference, None


def _sliced(values: Array, axis: int | None) -> Array:
    """Return (rows, slices, elements)."""
    if axis is None:
        return values.reshape(len(values), 1, -1)
    return np.moveaxis(values, axis, 1).reshape(len(values), values.shape[axis], -1)


def _place(axis: int | None, place: int) -> str:
    return "" if axis is None else f"{'channel' if axis == 1 else f'axis {axis}, place'} {place}: "


def _capped(values: Floats) -> Floats:
    return np.minimum(values, 1.0)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
