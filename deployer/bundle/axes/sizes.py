"""Lengths of axes that may not be known: a whole number, or a product of a number and named lengths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ROWS = "*rows*"
"""The name of the batch's length."""


@dataclass(frozen=True)
class Named:
    """``factor`` times the product of ``names`` (sorted, at least one)."""

    factor: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "*".join(([str(self.factor)] if self.factor != 1 else []) + list(self.names))


Size = int | Named
BATCH = Named(1, (ROWS,))


def named(name: str) -> Named:
    """Return an unknown length of this name."""
    return Named(1, (name,))


def has_rows(size: object) -> bool:
    """Return whether a length depends on how many rows there are."""
    return isinstance(size, Named) and ROWS in size.names


def times(one: Size, other: Size) -> Size:
    """Return the product."""
    factor = _factor(one) * _factor(other)
    return _sized(factor, _names(one) + _names(other)) if factor else 0


def over(one: Size, other: Size) -> Size | None:
    """Return the quotient when it is whole whatever the named lengths are, else None."""
    divisor = _factor(other)
    left, right = Counter(_names(one)), Counter(_names(other))
    if divisor == 0 or _factor(one) % divisor or right - left:
        return None
    return _sized(_factor(one) // divisor, tuple((left - right).elements()))


def product(sizes: Iterable[Size]) -> Size:
    """Return the product of lengths, 1 for none."""
    total: Size = 1
    for size in sizes:
        total = times(total, size)
    return total


def combined(sign: str, one: Size, other: Size) -> Size | None:
    """Return a new name for what ``sign`` makes of two lengths; None when the number of rows is in it.

    Equal terms get equal names, so that what a graph computes twice is known to be one length.
    """
    if has_rows(one) or has_rows(other):
        return None
    terms = [str(one), str(other)]
    return named(f"({sign.join(sorted(terms) if sign in '+^' else terms)})")


def plus(one: Size, other: Size) -> Size | None:
    """Return the sum, None when it depends on the number of rows."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if other == 0:
        return one
    return other if one == 0 else combined("+", one, other)


def minus(one: Size, other: Size) -> Size | None:
    """Return the difference, None when it depends on the number of rows."""
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    if other == 0:
        return one
    return 0 if one == other else combined("-", one, other)


def divided(one: Size, other: Size) -> Size | None:
    """Return the quotient as ONNX divides whole numbers (towards zero), None when rows are in it."""
    if isinstance(one, int) and isinstance(other, int):
        return math.trunc(one / other) if other else None
    exact = over(one, other)
    return combined("/", one, other) if exact is None else exact


def broadcast(one: Size, other: Size) -> Size | None:
    """Return the length of an axis that two lengths are broadcast to, None when they cannot be."""
    if one == 1 or one == other:
        return other
    if other == 1:
        return one
    if isinstance(one, int) and isinstance(other, int):
        return None
    if isinstance(one, int) or isinstance(other, int):  # the named one is 1 or as long
        return None if has_rows(one) or has_rows(other) else one if isinstance(one, int) else other
    return combined("^", one, other)


def _factor(size: Size) -> int:
    return size if isinstance(size, int) else size.factor


def _names(size: Size) -> tuple[str, ...]:
    return () if isinstance(size, int) else size.names


def _sized(factor: int, names: tuple[str, ...]) -> Size:
    return Named(factor, tuple(sorted(names))) if names and factor else factor
