"""A model's answers to the evaluation rows, by output: an array, or parts where their shapes differ.

An output with one row for each row fed is one array, rows first. Any other (detections after suppression, layouts
with time first, a state, one number for the whole batch) is asked row by row, so that its part belongs to a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deployer.optimization.session import Array, Arrays, Session, batches, denormals_flushed

NUMBERS = "fiub"
STRINGS = "US"


@dataclass(frozen=True)
class Parts:
    """One array for each row, whose shapes differ; ``picked`` indexes rows as an array does."""

    arrays: tuple[Array, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.arrays)

    def __iter__(self) -> Iterator[Array]:
        """Go through the rows' arrays."""
        return iter(self.arrays)

    def __getitem__(self, index: Any) -> Parts:
        """Return the rows of an index array."""
        return Parts(tuple(self.arrays[place] for place in np.arange(len(self))[index]))


Answer = Array | Parts
Answers = Mapping[str, Answer]


def asked(
    session: Session, arrays: Arrays, batch: int, alone: Iterable[str] = ()
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Return every output that holds numbers or strings for all rows of ``arrays``, and what was asked row by row.

    Rows are fed ``batch`` at a time. The outputs named in ``alone``, and those found not to have one row for each row
    fed, are asked row by row (or in the one size that the model takes); the second dict tells them with the shape that
    they had in a batch. What holds neither numbers nor strings is left out of the first.
    """
    feeds, count, fixed = _feeds(session, arrays)
    chunks, fed = _chunks(feeds, batch, fixed)
    names = [spec.name for spec in session.outputs]
    with denormals_flushed():
        found = [session.run_every(chunk) for chunk in chunks]
        parts = {name: [_plain(row[place]) for row in found] for place, name in enumerate(names)}
        single = {name for name, these in parts.items() if name in alone or not _by_row(these, fed)}
        if single and not fixed:
            rows = [session.run_every(chunk) for chunk in batches(feeds, 1)]
            parts |= {n: [_plain(row[names.index(n)]) for row in rows] for n in single}
    told = {name: _told(found[0][names.index(name)], fed[0]) for name in names if name in single}
    kept: dict[str, Answer] = {}
    for name in names:
        if any(part is None for part in parts[name]):
            continue
        each = [part for part in parts[name] if part is not None]
        if name not in single:
            kept[name] = np.concatenate(each)[:count]
            continue
        # With a fixed batch an answer belongs to each of the rows that it was made from.
        kept[name] = _joined([each[row // (fixed or 1)] for row in range(count)])
    return kept, told


def by_row(session: Session, arrays: Arrays, batch: int) -> dict[str, Array]:
    """Return the outputs of numbers with one row for each row of ``arrays``: what a search compares."""
    feeds, count, fixed = _feeds(session, arrays)
    chunks, fed = _chunks(feeds, batch, fixed)
    with denormals_flushed():
        found = [session.run_every(chunk) for chunk in chunks]
    kept = {}
    for place, spec in enumerate(session.outputs):
        parts = [_plain(row[place]) for row in found]
        numbers = all(part is not None and part.dtype.kind in "fiub" for part in parts)
        if numbers and _by_row(parts, fed):
            kept[spec.name] = np.concatenate([part for part in parts if part is not None])[:count]
    return kept


def _feeds(session: Session, arrays: Arrays) -> tuple[Arrays, int, int | None]:
    """Return what the model is fed of ``arrays``, how many rows that is, and the one size that it takes, if any."""
    feeds = {spec.name: arrays[spec.name] for spec in session.inputs}
    return feeds, len(next(iter(feeds.values()))), session.fixed_batch


def _chunks(feeds: Arrays, batch: int, fixed: int | None) -> tuple[list[Arrays], list[int]]:
    """Return the rows in batches, and how many each holds."""
    chunks: list[Arrays] = list(batches(feeds, fixed or batch, fixed=fixed is not None))
    return chunks, [len(next(iter(chunk.values()))) for chunk in chunks]


def save(answers: Answers, path: Path) -> None:
    """Write answers to an .npz file, without pickling."""
    path.unlink(missing_ok=True)  # what an earlier piece left may be kept by a link
    held: dict[str, Array] = {"names": np.array(list(answers), dtype=np.str_)}
    for place, answer in enumerate(answers.values()):
        if isinstance(answer, Parts):
            flat = [part.ravel() for part in answer]
            held[f"output{place}"] = np.concatenate(flat) if flat else np.zeros(0)
            held[f"shapes{place}"] = np.array(
                [",".join(map(str, part.shape)) for part in answer], dtype=np.str_
            )
        else:
            held[f"output{place}"] = answer
    np.savez(path, **held)  # type: ignore[arg-type]


def load(path: Path) -> dict[str, Answer]:
    """Read what ``save`` wrote."""
    with np.load(path, allow_pickle=False) as held:
        return {
            str(name): _loaded(held[f"output{place}"], held.get(f"shapes{place}"))
            for place, name in enumerate(held["names"])
        }


def arrays(path: Path) -> dict[str, Array]:
    """Read what ``save`` wrote where every answer was one array."""
    return {name: one for name, one in load(path).items() if isinstance(one, np.ndarray)}


def _loaded(flat: Array, shapes: Array | None) -> Answer:
    if shapes is None:
        return flat
    sizes = [tuple(int(n) for n in str(text).split(",") if n) for text in shapes]
    ends = np.cumsum([int(np.prod(size)) for size in sizes])
    return Parts(
        tuple(
            part.reshape(size) for part, size in zip(np.split(flat, ends[:-1]), sizes, strict=True)
        )
    )


def _plain(value: Any) -> Array | None:
    """Return what the engine gave as numbers or strings; the values of a list of maps (scikit-learn's) by key."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        value = np.array([[row[key] for key in sorted(row)] for row in value])
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.kind == "O":
        return value.astype(np.str_) if all(isinstance(x, str) for x in value.flat) else None
    return value if value.dtype.kind in NUMBERS + STRINGS else None


def _told(value: Any, fed: int) -> str:
    shape = getattr(value, "shape", None)
    if shape is None or value.dtype.kind not in NUMBERS:
        return "holds no numbers"
    return f"has shape {shape} for {fed} rows"


def _by_row(parts: Sequence[Array | None], fed: Sequence[int]) -> bool:
    """Whether an output, in chunks, has one row for each row fed, of one shape."""
    return (
        all(
            part is not None and part.ndim and len(part) == number
            for part, number in zip(parts, fed, strict=True)
        )
        and len({part.shape[1:] for part in parts if part is not None}) == 1
    )


def _joined(parts: Sequence[Array]) -> Answer:
    if len({part.shape for part in parts}) == 1:
        return np.stack(parts)
    return Parts(tuple(parts))
