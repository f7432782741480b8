"""A model in its own file format made alike to all others, before anything is built from it or timed against it.

One network saved at opset 7 or 21, with its weights as inputs or not, in half precision or with its weights beside
it: the rungs see the same graph. Nothing is believed: a changed model must answer as the one given, on the
calibration rows and on random ones, or the given one stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from deployer.errors import InputError
from deployer.optimization import tidy
from deployer.optimization.onnxfile import copied, external_files, save
from deployer.optimization.session import Array, Arrays, Session, batches
from deployer.optimization.variant import adopt

OPSETS = (17, 13)
"""Tried in this order: 17 has the operators that the rungs know, 13 the first scales by channel."""

ROWS = 32
BATCHES = (1, 8)
RTOL, ATOL = 1e-4, 1e-5
"""Allowed between a value and that of the model given: relative to itself, and to the largest of its output."""

RTOL_HALF, ATOL_HALF = 2e-2, 1e-2
"""The same for a model in half precision, whose own answers carry 11 bits at each step."""

SEED = 0

INSIDE_LIMIT = 2**30


@dataclass(frozen=True)
class Normalised:
    """What was changed in the model given, and why not more: both empty where it was as it should be.

    ``difference`` is the largest that was seen, relative to the largest value of its output; ``rtol`` and ``atol``
    are what was allowed.
    """

    changes: tuple[str, ...] = ()
    not_changed: tuple[str, ...] = ()
    difference: float = 0.0
    rtol: float = RTOL
    atol: float = ATOL

    def to_json(self) -> dict[str, Any]:
        """Return the record for ``ladder.json``."""
        return {
            "changes": list(self.changes),
            "not_changed": list(self.not_changed),
            "difference": self.difference,
            "rtol": self.rtol,
            "atol": self.atol,
        }


class Unequal(Exception):
    """A changed model does not answer as the one given; the text says where."""


def normalise(source: Path, target: Path, calibration: Arrays) -> Normalised:
    """Write ``source`` to ``target`` in the one form that rungs start from; the same bytes where it has it already.

    The most that answers as the source does is taken: all changes, then those without a raised opset, then none.
    """
    beside = external_files(source)
    refused: list[str] = []
    if sum(path.stat().st_size for path in (source, *beside)) > INSIDE_LIMIT:
        refused.append("nothing is changed in a model of more than 1 GiB")
    else:
        moved = [f"weights of {path.name} put into the file" for path in beside]
        given = onnx.load(str(source))
        known: _Known | None = None
        for name, attempt in attempts(given):
            model = copied(given)
            try:
                changes = [*moved, *filter(None, [change(model) for change in attempt])]
                if changes:
                    save(model, target)
                    known = known or _Known(Session(source), calibration)
                    return _proven(known, target, changes, refused)
            except Exception as error:  # the converter and ONNX Runtime have no common base
                refused.append(f"{name}: {_line(error)}")
                continue
            break
    adopt(source, target)
    return Normalised(not_changed=tuple(refused))


def attempts(model: onnx.ModelProto) -> Iterator[tuple[str, list[tidy.Change]]]:
    """Yield names and lists of changes, the most wanted first; which of them hold, a proof has to show."""
    tidying = [
        tidy.inline_functions,
        tidy.inputs_without_weights,
        tidy.drop_dead,
        tidy.merge_equal,
    ]
    raising = [(f"opset {v}", [tidy.raised_to(v)]) for v in OPSETS if 0 < tidy.opset(model) < v]
    is_half = tidy.widened(copied(model)) is not None
    for wide in ([tidy.widened], []) if is_half else ([],):
        for name, raised in (*raising, ("no raised opset", [])):
            yield f"{name}, in float" if wide else name, [*tidying, *raised, *wide]


class _Known:
    """The model given, with its answers to the first calibration rows and to random ones, asked once."""

    def __init__(self, given: Session, calibration: Arrays) -> None:
        self.given = given
        self.names = [spec.name for spec in given.outputs]
        self.answers: list[tuple[Arrays, list[Any]]] = []
        for feeds in _questions(given, calibration):
            with contextlib.suppress(InputError):  # random rows need not make sense to it
                self.answers.append((feeds, given.run_all(feeds, self.names)))
        if not self.answers:
            raise Unequal("the model given answers nothing to compare with")


def _proven(known: _Known, target: Path, changes: list[str], refused: list[str]) -> Normalised:
    """Return the record of a changed model that answers as the given one; raise Unequal where it does not."""
    given, names = known.given, known.names
    half = any(spec.dtype == "float16" for spec in (*given.inputs, *given.outputs))
    rtol, atol = (RTOL_HALF, ATOL_HALF) if half else (RTOL, ATOL)
    changed = Session(target)
    if changed.inputs != given.inputs or changed.outputs != given.outputs:
        raise Unequal("its inputs or outputs are declared otherwise")
    worst = 0.0
    for feeds, wanted in known.answers:
        answers = zip(names, wanted, changed.run_all(feeds, names), strict=True)
        worst = max(worst, *(gap(*answer, rtol=rtol, atol=atol) for answer in answers))
    return Normalised(tuple(changes), tuple(refused), worst, rtol, atol)


def check_first(session: Session, calibration: Arrays) -> None:
    """Raise InputError, with the model's reason, when it does not answer the first calibration rows."""
    fixed = session.fixed_batch
    few = {spec.name: calibration[spec.name][: fixed or 1] for spec in session.inputs}
    feeds = next(batches(few, fixed or 1, fixed=fixed is not None))
    try:
        session.run_all(feeds, [spec.name for spec in session.outputs])
    except InputError as error:
        reason = error.message.removeprefix(f"{session.path.name}: ")
        raise InputError(
            f"calibration: the first row is not answered: {reason}",
            hint="give rows as the model will be asked them",
        ) from error


def _questions(session: Session, calibration: Arrays) -> Iterator[Arrays]:
    """Yield the first calibration rows and as many random ones, alone and together."""
    few = {name: calibration[name][:ROWS] for name in (spec.name for spec in session.inputs)}
    rng = np.random.default_rng(SEED)
    drawn = {name: _random_like(value, rng) for name, value in few.items()}
    fixed = session.fixed_batch
    for arrays in (few, drawn):
        for size in (fixed,) if fixed else BATCHES:
            yield from batches(arrays, size, fixed=fixed is not None)


def _random_like(array: Array, rng: np.random.Generator) -> Array:
    """Return random values of the same shape, type and range; texts and truths are shuffled."""
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        middle, spread = (low + high) / 2, max((high - low) / 4, 1e-3)
        return np.asarray(rng.normal(middle, spread, array.shape), dtype=array.dtype)
    if array.dtype.kind in "iu":
        drawn = rng.integers(int(array.min()), int(array.max()), array.shape, endpoint=True)
        return np.asarray(drawn, dtype=array.dtype)
    return rng.permuted(array, axis=0)


def gap(name: str, wanted: Any, given: Any, *, rtol: float, atol: float) -> float:
    """Return the largest difference of two answers relative to the output's scale; raise Unequal where it is too large.

    Allowed is ``rtol`` of each value and ``atol`` of the largest one.
    """
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "fiub":
        if not _same(wanted, given):
            raise Unequal(f"output {name!r} differs")
        return 0.0
    if wanted.shape != given.shape or wanted.dtype != given.dtype:
        raise Unequal(
            f"output {name!r} is {given.dtype} {given.shape}, was {wanted.dtype} {wanted.shape}"
        )
    a, b = wanted.astype(np.float64), given.astype(np.float64)
    finite = a[np.isfinite(a)]
    scale = float(np.abs(finite).max(initial=0.0))
    if not np.allclose(b, a, rtol=rtol, atol=atol * scale, equal_nan=True):
        far = float(np.nanmax(np.abs(np.where(np.isfinite(a), b - a, 0.0)), initial=0.0))
        raise Unequal(f"output {name!r} is off by {far:.3g} where the largest value is {scale:.3g}")
    off = np.abs(np.where(np.isfinite(a), b - a, 0.0))
    return float(off.max(initial=0.0)) / scale if scale else 0.0


def _same(wanted: Any, given: Any) -> bool:
    """Whether two answers that are no arrays of numbers (texts, sequences, mappings) are equal."""
    if isinstance(wanted, np.ndarray):
        return isinstance(given, np.ndarray) and np.array_equal(wanted, given)
    return repr(wanted) == repr(given)


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[0] if lines else ""
    return words if isinstance(error, (Unequal, InputError)) else f"{type(error).__name__}: {words}"
