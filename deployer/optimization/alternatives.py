"""Other models for the same job ("use a smaller model"): each a rung, as it is and in int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from deployer.errors import InputError
from deployer.optimization import integer
from deployer.optimization.onnxfile import save
from deployer.optimization.quantize import Build, Rung, prepare
from deployer.optimization.session import Arrays
from inference_code.contract import TensorSpec


def rungs(models: Mapping[str, Path], *, reduce_range: bool) -> tuple[Rung, ...]:
    """Return two rungs for each ONNX file: itself, and equalised static int8 of it."""
    made: list[Rung] = []
    for name, path in models.items():
        made.append(Rung(name, "fp32", _as_it_is(path)))
        made.append(Rung(f"{name}-int8", "int8", _in_int8(path, reduce_range)))
    return tuple(made)


def check(name: str, given: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> None:
    """Raise InputError for a model of a wrong name, or with other inputs than the one that it would replace."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"alternative {name!r}: name it with letters, digits, - and _")
    have = {spec.name: spec.dtype for spec in given}
    need = {spec.name: spec.dtype for spec in wanted}
    if have != need:
        raise InputError(f"alternative {name!r} takes {have}, the model to replace {need}")


def _as_it_is(path: Path) -> Build:
    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        # Loaded and written anew: weights beside it come along under a name of their own.
        save(onnx.load(str(path)), target)

    return build


def _in_int8(path: Path, reduce_range: bool) -> Build:
    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        prepared = target.with_suffix(".prepared")
        try:
            prepare(path, prepared)
            integer.build(
                prepared, calibration, target, exclude, static=True, reduce_range=reduce_range
            )
        finally:
            prepared.unlink(missing_ok=True)

    return build
