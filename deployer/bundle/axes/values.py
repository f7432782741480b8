"""What is known of a tensor: its shape, the axis that carries the batch, and small values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployer.bundle.axes import sizes
from deployer.bundle.axes.sizes import Named, Size

Shape = tuple[Size, ...]
Known = NDArray[Any]


class MixedError(Exception):
    """Rows meet in an operator, or nothing shows that they do not; the message says how."""


@dataclass(frozen=True)
class Value:
    """A tensor. ``axis`` carries the batch; without one nothing in it depends on any row.

    An axis that carries it has ``outer`` × rows × inner places in this order, ``outer`` is 1 but after time and batch
    became one axis. ``tied`` says that the rows meet in a scale or a rounding, and in nothing else; with no
    axis it is such a scale. ``known`` holds the values of small tensors, as objects: numbers, texts, or Named for a
    length. ``numbered`` says that all it holds are the numbers of its rows (one entry), or which of its last
    axis's columns do: indices by which a graph lets each row find itself. ``why`` is set when rows are mixed. A
    ``shape`` of None is unknown.
    """

    shape: Shape | None = None
    axis: int | None = None
    outer: Size = 1
    tied: bool = False
    known: Known | None = None
    numbered: tuple[bool, ...] = ()
    why: str = ""

    @property
    def rows(self) -> bool:
        """Whether it carries the batch."""
        return self.axis is not None

    @property
    def sized(self) -> bool:
        """Whether its values tell the number of rows."""
        return self.known is not None and any(sizes.has_rows(each) for each in self.known.flat)

    @property
    def dims(self) -> Shape:
        """Its shape. Raises MixedError when that is unknown."""
        if self.shape is None:
            raise MixedError("the shape of what it takes is not known")
        return self.shape

    @property
    def rank(self) -> int:
        """How many axes it has. Raises MixedError when that is unknown."""
        return len(self.dims)


Given = Sequence[Value | None]
Results = list[Value]


@dataclass(frozen=True)
class Node:
    """An operator with its attributes as Python values; ``opset`` is that of its domain."""

    op: str
    opset: int
    attributes: Mapping[str, Any]
    outputs: Sequence[str]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def fresh(self, place: int | str, output: int = 0) -> Named:
        """Return a new unknown length; of the same node and place it is the same."""
        return sizes.named(f"{self.outputs[output] or self.outputs[0]}.{output}.{place}")


Rule = Callable[[Node, Given], Results]


@dataclass
class Rules:
    """Operators by name, and whose rules take lengths that tell rows, scales that tie them, or numbers of rows."""

    by_op: dict[str, Rule] = field(default_factory=dict)
    take_sizes: set[str] = field(default_factory=set)
    take_scales: set[str] = field(default_factory=set)
    take_numbers: set[str] = field(default_factory=set)

    def of(
        self, *ops: str, takes_sizes: bool = False, scales: bool = False, numbers: bool = False
    ) -> Callable[[Rule], Rule]:
        """Make the decorated function the rule of ``ops``."""

        def add(rule: Rule) -> Rule:
            for op in ops:
                self.by_op[op] = rule
            self.take_sizes.update(ops if takes_sizes else ())
            self.take_scales.update(ops if scales else ())
            self.take_numbers.update(ops if numbers else ())
            return rule

        return add

    def add(self, other: Rules) -> None:
        """Take over the rules of another table."""
        self.by_op.update(other.by_op)
        self.take_sizes |= other.take_sizes
        self.take_scales |= other.take_scales
        self.take_numbers |= other.take_numbers


def first(given: Given) -> Value:
    """Return the first input, which must be there."""
    if not given or given[0] is None:
        raise MixedError("an input is missing")
    return given[0]


def at(given: Given, place: int) -> Value | None:
    """Return an input that may be left out."""
    return given[place] if place < len(given) else None


def present(given: Given) -> list[Value]:
    """Return the inputs that are there."""
    return [value for value in given if value is not None]


def fixed(given: Given, start: int, what: str = "a weight") -> None:
    """Raise MixedError when an input from ``start`` on carries rows."""
    for value in given[start:]:
        if value is not None and value.rows:
            raise MixedError(f"{what} is computed from the batch")


def numbers(value: Value | None, what: str) -> list[Any]:
    """Return the known values of a small tensor. Raises MixedError when they are not known."""
    if value is None or value.known is None:
        raise MixedError(f"{what} is not known before the model runs")
    return list(value.known.flat)


def kept(value: Value, shape: Shape | None, **changes: Any) -> Value:
    """Return a tensor of another shape with the batch on the same axis."""
    return replace(value, shape=shape, known=None, **changes)


def place(axis: int, rank: int) -> int:
    """Return an axis counted from the front. Raises MixedError for one that is not there."""
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < max(rank, 1):
        raise MixedError(f"there is no axis {axis} in {rank}")
    return found


def off(value: Value, axes: Sequence[int], doing: str) -> None:
    """Raise MixedError when one of ``axes`` carries the batch."""
    if value.rows and value.axis in axes:
        raise MixedError(f"it {doing} the batch (axis {value.axis})")


def batch_first(value: Value, doing: str = "takes the first axis for the batch") -> None:
    """Raise MixedError when rows lie on another axis than the first, or not one by one."""
    if value.rows and value.axis != 0:
        raise MixedError(f"it {doing}, which is on axis {value.axis}")


def together(values: Sequence[Value]) -> Value:
    """Return what broadcasting makes of tensors: each row meets its own, constants meet every row."""
    tied = any(value.tied for value in values)
    if any(value.shape is None for value in values):
        if any(value.rows for value in values):
            raise MixedError("the shape of a constant is not known")
        return Value(None, tied=tied)
    rank = max(value.rank for value in values)
    axis, outer = _shared_axis(values, rank)
    dims: list[Size] = [1] * rank
    for value in values:
        for index, size in enumerate(value.dims, rank - value.rank):
            if index == axis and not value.rows and size != 1:
                raise MixedError(f"a constant of length {size} lies along the batch")
            joined = sizes.broadcast(dims[index], size)
            if joined is None:
                raise MixedError(f"lengths {dims[index]} and {size} do not fit")
            dims[index] = joined
    return Value(tuple(dims), axis, outer, tied)


def _shared_axis(values: Sequence[Value], rank: int) -> tuple[int | None, Size]:
    found = {
        (value.axis + rank - value.rank, value.outer, value.dims[value.axis])
        for value in values
        if value.axis is not None
    }
    if len(found) > 1:
        raise MixedError("each row meets every other row")
    for axis, outer, _ in found:
        return axis, outer
    return None, 1


def constant(known: Any) -> Value:
    """Return a constant of known values."""
    array = np.array(known, dtype=object)
    return Value(tuple(array.shape), known=array)
