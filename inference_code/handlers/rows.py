"""Which inputs and outputs hold one row per example, as far as their declared axes and what came tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from inference_code.codecs import values
from inference_code.contract import TensorSpec
from inference_code.errors import BadRequest
from inference_code.runtime import Axes

Arrays = Mapping[str, NDArray[Any]]
#: Names that exporters make where nobody gave one; they say nothing: unk__7, Addy_dim_0, p2o.DynamicDimension.2.
_MADE = re.compile(r".*\d|\?|")


class Rows:
    """The rows of a model: ``step`` is the first axis that all inputs have fixed, 0 when they have not."""

    def __init__(
        self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], axes: Mapping[str, Axes]
    ) -> None:
        """Read the declared axes."""
        firsts = {spec.shape[:1] for spec in inputs}
        first = firsts.pop() if len(firsts) == 1 else ()
        self.by_rows = bool(first)
        self._first = inputs[0].name if inputs else ""
        self._only = outputs[0].name if len(outputs) == 1 else None
        self.step = (first[0] or 0) if first else 0
        self._exact = () if self.step else tuple(s for s in inputs if s.shape and s.shape[0])
        names = {_stated(axes, spec.name) for spec in inputs}
        self._odd = [s.name for s in outputs if self._is_odd(s, _stated(axes, s.name), names)]
        #: Whether nothing declared speaks against one row of output for each row of all inputs.
        self.alike = not self._odd and len(names - {None}) < 2
        self._may_be_answered = self.by_rows and self.alike
        #: Whether a fixed first axis may be fed more rows than it has, piece by piece.
        self.pieces = not self._odd and all(s.shape[:1] in ((None,), first) for s in outputs)
        self._groups = [{spec.name: 0 for spec in inputs}] if self.step else _groups(inputs, axes)
        self._plain = len(inputs) == 1 and not self._exact

    def joined_along(self, inputs: Mapping[str, int], outputs: Mapping[str, int | None]) -> None:
        """Learn along which axes requests are joined: there the inputs have equally many rows."""
        self._groups = [inputs]
        self._may_be_answered = {*inputs.values(), *outputs.values()} == {0}

    def unjoined(self, outputs: Arrays) -> str | None:
        """Return the first output that has not the rows of ``step`` rows of input; None when pieces can be joined."""
        for name, output in outputs.items():
            if name in self._odd or not output.ndim or len(output) != self.step:
                return name
        return None

    def check(self, arrays: Arrays) -> None:
        """Raise BadRequest when an input has not the rows that it must, or that the others have."""
        if self._plain:
            return
        for spec in self._exact:
            if len(arrays[spec.name]) != spec.shape[0]:
                raise values.wrong_shape(arrays[spec.name], spec)
        for group in self._groups:
            _check_equal({name: arrays[name].shape[axis] for name, axis in group.items()})

    def answered(self, arrays: Arrays, outputs: Arrays) -> bool:
        """Return whether each output holds one row per row of the inputs."""
        if not self._may_be_answered:
            return False
        rows = arrays[self._first].shape[:1]
        if self._only is not None:
            return outputs[self._only].shape[:1] == rows
        return not [name for name, output in outputs.items() if output.shape[:1] != rows]

    def _is_odd(self, output: TensorSpec, name: str | None, names: set[str | None]) -> bool:
        """Return whether an output's first axis is declared as something else than the inputs': detections, layers."""
        if name is not None:
            return name not in names and (self.step > 0 or None not in names)
        size = output.shape[0] if output.shape else None
        # Careless exports leave the 1 of their example where any number comes out.
        return size is not None and size not in (1, self.step)


def _check_equal(rows: Mapping[str, int]) -> None:
    for name, count in rows.items():
        first, most = next(iter(rows.items()))
        if count != most:
            raise BadRequest(
                f"the inputs must have the same number of rows: input {first!r} has {most}, "
                f"input {name!r} has {count}"
            )


def _stated(axes: Mapping[str, Axes], name: str) -> str | None:
    """Return the name that somebody gave to the first axis of a tensor."""
    first = axes.get(name, ())[:1]
    if first and isinstance(first[0], str) and not _MADE.fullmatch(first[0]):
        return first[0]
    return None


def _groups(inputs: Sequence[TensorSpec], axes: Mapping[str, Axes]) -> list[Mapping[str, int]]:
    """Return the inputs whose first axes have one name."""
    found: dict[str, dict[str, int]] = {}
    for spec in inputs:
        name = _stated(axes, spec.name)
        if name is not None:
            found.setdefault(name, {})[spec.name] = 0
    return [group for group in found.values() if len(group) > 1]
