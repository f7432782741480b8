"""Which rungs a climb tries on this machine, and why others are left out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization import alternatives, hardware, openvino, quantize, recipe, tuned
from deployer.optimization.session import Arrays

AS_GIVEN = "fp32-as-given"
GIVEN = "given.onnx"
"""The model given, in the climb's folder, where the baseline is not the same file."""


@dataclass(frozen=True)
class Tried:
    """The rungs of a climb, the machine that they are for, and why others are left out."""

    machine: Mapping[str, str]
    reduce_range: bool
    rungs: tuple[quantize.Rung, ...]
    left_out: Mapping[str, str]


def tried(names: Sequence[str] | None) -> Tried:
    """Return the rungs of the given names, by default all that this machine has the packages for.

    Raises InputError for an unknown name and EnvironmentProblem for one that lacks its package.
    """
    machine = hardware.detect()
    reduce_range = not hardware.has_int8_dot(machine)
    left_out = {"bf16": quantize.NO_BF16, **openvino.not_tried()} if names is None else {}
    chosen = _chosen(names, machine, reduce_range=reduce_range)
    return Tried(machine, reduce_range, chosen, left_out)


def as_given(folder: Path) -> quantize.Rung:
    """Return the rung that is the model as it was given, where the baseline was made from it."""

    def build(source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]) -> None:
        shutil.copyfile(folder / GIVEN, target)

    return quantize.Rung(AS_GIVEN, "fp32", build)


def known(reduce_range: bool, others: Mapping[str, Path], folder: Path) -> dict[str, quantize.Rung]:
    """Return every rung that a climb in ``folder`` may have, by name; searches are shared through the folder."""
    ours = quantize.rungs(reduce_range=reduce_range, searches=folder)
    every = (
        as_given(folder),
        *ours,
        *(recipe.corrected(rung) for rung in ours if rung.mixes and not rung.dynamic_scales),
        *(
            recipe.rung(found, reduce_range=reduce_range, searches=folder, others=others)
            for found in recipe.load(folder)
        ),
        tuned.rung(folder, reduce_range=reduce_range),
        *openvino.rungs(hardware.detect()),
        *alternatives.rungs(others, reduce_range=reduce_range),
    )
    return {rung.name: rung for rung in every}


def _chosen(
    names: Sequence[str] | None, machine: Mapping[str, str], *, reduce_range: bool
) -> tuple[quantize.Rung, ...]:
    ours = {rung.name: rung for rung in quantize.rungs(reduce_range=reduce_range)}
    more = {rung.name: rung for rung in openvino.rungs(machine)}
    if names is None:
        return (*ours.values(), *(() if openvino.missing() else more.values()))
    for name in names:
        if name not in {**ours, **more}:
            raise InputError(f"no rung {name!r}", hint=f"known: {', '.join({**ours, **more})}")
        if name in more and (reason := openvino.missing()):
            raise EnvironmentProblem(f"rung {name!r} cannot be tried: {reason}")
    return tuple({**ours, **more}[name] for name in names)
