"""Calibration and evaluation sets: arrays by the model's input names, checked before anything is built."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from deployer.errors import InputError
from deployer.optimization.session import Array, Arrays
from inference_code.contract import TensorSpec

_FINITE = "drop those rows, or put numbers there, as for training"
_WRITE = "write one with numpy.savez(file, input_name=array, label=labels)"
LABELS = ("label", "target")
"""Names under which an evaluation set holds the right answers, one per row."""

PART = "label_"
"""Begins the names of right answers that take several arrays: ``label_boxes``, ``label_classes``."""


def load_npz(path: Path) -> dict[str, Array]:
    """Read an .npz file without unpickling. Raises InputError naming the file and what is wrong with it."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) not in (b"PK\x03\x04", b"PK\x05\x06", b"\x93NUM"):
                raise ValueError("it is no archive of arrays")
            stream.seek(0)
            held = np.load(stream, allow_pickle=False)
            if isinstance(held, np.ndarray):
                raise InputError(f"{str(path)!r} holds one bare array, not named ones", hint=_WRITE)
            return {name: _array_of(held, name, path) for name in held.files}
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(
            f"cannot read {str(path)!r} as .npz: it is cut short or damaged ({error})",
            hint=f"copy the whole file again, or {_WRITE}",
        ) from error
    except Exception as error:  # OSError, ValueError, zlib.error: no common base
        raise InputError(f"cannot read {str(path)!r} as .npz: {error}", hint=_WRITE) from error


def _array_of(held: Mapping[str, Array], name: str, path: Path) -> Array:
    try:
        return held[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise InputError(
            f"cannot read {str(path)!r}: the array {name!r} holds Python objects, and files are never unpickled",
            hint=f"make it numbers or texts: numpy.savez(file, {name}=array.astype('float32'))",
        ) from error


def arrays(source: Path | Arrays) -> Arrays:
    """Return named arrays, read from .npz where a path is given."""
    return load_npz(source) if isinstance(source, Path) else source


def check(arrays: Arrays, inputs: Sequence[TensorSpec], where: str) -> dict[str, Array]:
    """Return the arrays that the model takes, in its order; ``label``, ``target`` or ``label_...`` may lie beside them.

    Raises InputError naming the array: a wrong or missing name, dtype or shape, no rows, unequal rows, NaN.
    """
    wanted = [spec.name for spec in inputs]
    for name in arrays:
        if name not in wanted and not is_label(name):
            raise InputError(
                f"{where}: the model has no input {name!r}",
                hint=f"its inputs: {', '.join(wanted)}; rename the array, or leave it out",
            )
    for spec in inputs:
        if spec.name not in arrays:
            raise InputError(
                f"{where}: no array for the model's input {spec.name!r}",
                hint=f"found: {', '.join(arrays) or 'nothing'}; {_WRITE}",
            )
        _check_array(arrays[spec.name], spec, where)
    _check_rows(arrays, inputs, where)
    return {name: arrays[name] for name in wanted}


def labels(arrays: Mapping[str, Array], where: str) -> Array | None:
    """Return the right answers, or None when there are none. Raises InputError when there are two kinds."""
    found = [name for name in LABELS if name in arrays]
    if len(found) > 1:
        raise InputError(
            f"{where}: holds both {found[0]!r} and {found[1]!r}", hint="keep one of the two"
        )
    return arrays[found[0]] if found else None


def no_labels(where: str, metric: str) -> InputError:
    """Return the error that a metric needs right answers and there are none."""
    return InputError(
        f"{where}: {metric} needs an array 'label' or 'target'",
        hint="numpy.savez(file, label=labels, ...) beside the inputs, or --metric fidelity, which needs none",
    )


def truth(arrays: Mapping[str, Array], where: str) -> Array | dict[str, Array] | None:
    """Return the right answers as ``labels`` does, or those of ``label_...`` by what follows in their names."""
    one = labels(arrays, where)
    parts = {name.removeprefix(PART): x for name, x in arrays.items() if name.startswith(PART)}
    if one is not None and parts:
        raise InputError(
            f"{where}: holds both 'label' and {PART + next(iter(parts))!r}",
            hint="keep one of the two",
        )
    return parts or one


def is_label(name: str) -> bool:
    """Whether an array of this name holds right answers, not an input."""
    return name in LABELS or name.startswith(PART)


def shared_rows(some: Arrays, others: Arrays) -> int:
    """Return how many rows of ``others`` are in ``some`` as well, all inputs equal."""
    known = set(_rows(some))
    return sum(row in known for row in _rows(others))


def _rows(arrays: Arrays) -> Iterator[tuple[bytes, ...]]:
    columns = [arrays[name] for name in sorted(arrays) if not is_label(name)]
    for cells in zip(*columns, strict=True):
        yield tuple(hashlib.sha256(cell.tobytes()).digest() for cell in cells)


def _check_array(array: Array, spec: TensorSpec, where: str) -> None:
    what = f"{where}: {spec.name!r}"
    if array.dtype.name != spec.dtype:
        is_text = array.dtype.kind in "USO"
        raise InputError(
            f"{what} has dtype {'str' if is_text else array.dtype.name}, the model takes {spec.dtype}",
            hint=f"turn the texts into numbers, as for training, and then .astype({spec.dtype!r})"
            if is_text
            else f"convert it with .astype({spec.dtype!r})",
        )
    # The first axis is the rows of the set, whatever batch the model takes.
    wanted = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        want is None or want == have for want, have in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        shown = ", ".join("any" if size is None else str(size) for size in ("rows", *wanted))
        raise InputError(
            f"{what} has shape {array.shape}, the model takes ({shown})",
            hint="the first axis is the rows of the set; the others are as the model declares them",
        )
    if array.size == 0:
        raise InputError(f"{what} is empty: shape {array.shape}", hint="give a row at least")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InputError(f"{what} holds NaN or infinity, first in row {row}", hint=_FINITE)


def _check_rows(arrays: Arrays, inputs: Sequence[TensorSpec], where: str) -> None:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise InputError(
            f"{where}: the arrays differ in rows: {shown}",
            hint=_elsewhere(arrays, inputs)
            or "the first axis of every array is its rows: give each as many",
        )
    for name in arrays:
        if (
            is_label(name)
            and arrays[name].dtype.kind == "f"
            and not np.isfinite(arrays[name]).all()
        ):
            raise InputError(f"{where}: {name!r} holds NaN or infinity", hint=_FINITE)


def _elsewhere(arrays: Arrays, inputs: Sequence[TensorSpec]) -> str | None:
    """Return what to do about an input whose rows lie along another axis than the first; None when none shows that."""
    counts = [len(arrays[spec.name]) for spec in inputs if spec.shape]
    for spec in inputs:
        array = arrays[spec.name]
        for axis in range(1, array.ndim):
            others = [count for count in counts if count != len(array)]
            if spec.shape[axis] is None and array.shape[axis] in others:
                return (
                    f"{spec.name!r} has {array.shape[axis]} on its axis {axis}: optimize takes rows on the first axis "
                    "of every input, so export the model with its batch first"
                )
    return None
