"""Calibration and evaluation sets: arrays by the model's input names, checked before anything is built."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from deployer.errors import InputError
from deployer.optimization.session import Array, Arrays
from inference_code.contract import TensorSpec

LABELS = ("label", "target")
"""Names under which an evaluation set holds the right answers, one per row."""

PART = "label_"
"""Begins the names of right answers that take several arrays: ``label_boxes``, ``label_classes``."""


def load_npz(path: Path) -> dict[str, Array]:
    """Read an .npz file without unpickling. Raises InputError naming the file and what is wrong with it."""
    hint = "write one with numpy.savez(file, input_name=array, label=labels)"
    try:
        with path.open("rb") as stream:
            if stream.read(4) not in (b"PK\x03\x04", b"PK\x05\x06", b"\x93NUM"):
                raise ValueError("it is no archive of arrays")
            stream.seek(0)
            held = np.load(stream, allow_pickle=False)
            arrays = (
                {} if isinstance(held, np.ndarray) else {name: held[name] for name in held.files}
            )
    except Exception as error:  # OSError, ValueError, BadZipFile, zlib.error: no common base
        raise InputError(f"cannot read {str(path)!r} as .npz: {error}", hint=hint) from error
    if isinstance(held, np.ndarray):
        raise InputError(f"{str(path)!r} holds one bare array, not named ones", hint=hint)
    return arrays


def arrays(source: Path | Arrays) -> Arrays:
    """Return named arrays, read from .npz where a path is given."""
    return load_npz(source) if isinstance(source, Path) else source


def check(arrays: Arrays, inputs: Sequence[TensorSpec], where: str) -> dict[str, Array]:
    """Return the arrays that the model takes, in its order; ``label``, ``target`` or ``label_...`` may lie beside them.

    Raises InputError naming the array: a wrong or missing name, dtype or shape, no rows, unequal rows, NaN.
    """
    wanted = [spec.name for spec in inputs]
    for name in arrays:
        if name not in wanted and not _is_label(name):
            raise InputError(
                f"{where}: the model has no input {name!r}",
                hint=f"its inputs: {', '.join(wanted)}",
            )
    for spec in inputs:
        if spec.name not in arrays:
            raise InputError(
                f"{where}: no array for the model's input {spec.name!r}",
                hint=f"found: {', '.join(arrays) or 'nothing'}",
            )
        _check_array(arrays[spec.name], spec, where)
    _check_rows(arrays, where)
    return {name: arrays[name] for name in wanted}


def labels(arrays: Mapping[str, Array], where: str) -> Array | None:
    """Return the right answers, or None when there are none. Raises InputError when there are two kinds."""
    found = [name for name in LABELS if name in arrays]
    if len(found) > 1:
        raise InputError(f"{where}: holds both {found[0]!r} and {found[1]!r}; keep one")
    return arrays[found[0]] if found else None


def truth(arrays: Mapping[str, Array], where: str) -> Array | dict[str, Array] | None:
    """Return the right answers as ``labels`` does, or those of ``label_...`` by what follows in their names."""
    one = labels(arrays, where)
    parts = {name.removeprefix(PART): x for name, x in arrays.items() if name.startswith(PART)}
    if one is not None and parts:
        raise InputError(f"{where}: holds both 'label' and '{PART}{next(iter(parts))}'; keep one")
    return parts or one


def _is_label(name: str) -> bool:
    return name in LABELS or name.startswith(PART)


def shared_rows(some: Arrays, others: Arrays) -> int:
    """Return how many rows of ``others`` are in ``some`` as well, all inputs equal."""
    known = set(_rows(some))
    return sum(row in known for row in _rows(others))


def _rows(arrays: Arrays) -> Iterator[tuple[bytes, ...]]:
    columns = [arrays[name] for name in sorted(arrays) if not _is_label(name)]
    for cells in zip(*columns, strict=True):
        yield tuple(hashlib.sha256(cell.tobytes()).digest() for cell in cells)


def _check_array(array: Array, spec: TensorSpec, where: str) -> None:
    what = f"{where}: {spec.name!r}"
    if array.dtype.name != spec.dtype:
        raise InputError(
            f"{what} has dtype {array.dtype.name}, the model takes {spec.dtype}",
            hint=f"convert it with .astype({spec.dtype!r})",
        )
    # The first axis is the rows of the set, whatever batch the model takes.
    wanted = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        want is None or want == have for want, have in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        shown = ", ".join("any" if size is None else str(size) for size in ("rows", *wanted))
        raise InputError(f"{what} has shape {array.shape}, the model takes ({shown})")
    if array.size == 0:
        raise InputError(f"{what} is empty: shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InputError(f"{what} holds NaN or infinity, first in row {row}")


def _check_rows(arrays: Arrays, where: str) -> None:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise InputError(f"{where}: the arrays differ in rows: {shown}")
    for name in arrays:
        if (
            _is_label(name)
            and arrays[name].dtype.kind == "f"
            and not np.isfinite(arrays[name]).all()
        ):
            raise InputError(f"{where}: {name!r} holds NaN or infinity")
