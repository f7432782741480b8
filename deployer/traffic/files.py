"""trace.csv: one arrival per row, or counts per interval; read strictly, written so that it reads back equal.

Arrivals::

    # duration_s=86400
    arrival_s,payload_bytes,response_bytes      the last two are optional
    0.25,1024,80

Counts, scattered within their interval by a stated law and seed::

    start_s,interval_s,count
    0,60,120

Leading comment lines may hold ``duration_s`` in seconds, ``name`` and ``origin`` as JSON text, and ``start``,
the moment of second 0 in ISO 8601 with its offset, as in ``# start=2026-03-02T10:00:00Z``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deployer.errors import InputError
from deployer.traffic import clock
from deployer.traffic.arrivals import Spacing, spread
from deployer.traffic.trace import TrafficTrace

ARRIVAL_COLUMNS = ("arrival_s", "payload_bytes", "response_bytes")
COUNT_COLUMNS = ("start_s", "interval_s", "count")
_HINT = f"a trace has the columns {','.join(ARRIVAL_COLUMNS)} or {','.join(COUNT_COLUMNS)}"
_COMMENT_KEYS = ("duration_s", "start", "name", "origin")


class _Table(NamedTuple):
    """Cells as text by column; ``lines`` holds the line number of each row."""

    comments: dict[str, Any]
    columns: dict[str, list[str]]
    lines: range


def load(
    path: Path, *, seed: int = 0, spacing: Spacing = "poisson", cv: float = 1.0
) -> TrafficTrace:
    """Read trace.csv. ``seed``, ``spacing`` and ``cv`` matter only for counts per interval.

    Raises InputError naming the file, the line and the column of what is wrong first.
    """
    table = _read(path)
    if "arrival_s" in table.columns:
        return _arrivals(path, table)
    return _counts(path, table, seed, spacing, cv)


def save(trace: TrafficTrace, path: Path) -> None:
    """Write one arrival per row, whole or not at all. Raises InputError when the file cannot be written."""
    columns = {"arrival_s": [repr(float(v)) for v in trace.arrival_s]}
    for key in ("payload_bytes", "response_bytes"):
        sizes = getattr(trace, key)
        if sizes is not None:
            columns[key] = [str(v) for v in sizes.tolist()]
    head = {"duration_s": trace.duration_s, "name": trace.name, "origin": trace.origin}
    lines = [f"# {key}={json.dumps(value)}" for key, value in head.items()]
    if trace.start is not None:
        lines.append(f"# start={clock.text(trace.start)}")
    lines.append(",".join(columns))
    lines += map(",".join, zip(*columns.values(), strict=True))
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"cannot write {str(path)!r}: {error}") from error


def _read(path: Path) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}", hint="`deployer trace -o FILE` writes one"
        ) from error
    lines = text.removesuffix("\n").split("\n")  # unlike splitlines, no other character ends a line
    comments, first = _comments(path, lines)
    if not "".join(lines[first:]).strip():
        raise InputError(f"{path}: is empty", hint=_HINT)
    header = [name.strip() for name in lines[first].split(",")]
    _check_header(path, first + 1, header)
    rows, width = lines[first + 1 :], len(header)
    if not rows:
        raise InputError(f"{path}: holds no row", hint=_HINT)
    for number, row in enumerate(rows, start=first + 2):
        if row.count(",") != width - 1 or not row or row.isspace():
            raise InputError(f"{path}:{number}: {_misfit(row, width)}")
    # All cells at once: a list for each of millions of rows takes three times as long.
    cells = ",".join(rows).split(",")
    columns = {name: cells[at::width] for at, name in enumerate(header)}
    return _Table(comments, columns, range(first + 2, first + 2 + len(rows)))


def _misfit(row: str, width: int) -> str:
    if not row.strip():
        return "empty line"
    return f"{row.count(',') + 1} columns, the header has {width}"


def _comments(path: Path, lines: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Return the values of the leading comment lines, and the index of the first other line."""
    found: dict[str, Any] = {}
    for index, line in enumerate(lines):
        if not line.startswith("#"):
            return found, index
        key, equals, text = line[1:].strip().partition("=")
        if key not in _COMMENT_KEYS or not equals:
            known = ", ".join(_COMMENT_KEYS)
            raise InputError(f"{path}:{index + 1}: comment {key!r} is unknown; known: {known}")
        if key in found:
            raise InputError(f"{path}:{index + 1}: comment {key!r} comes twice")
        found[key] = _comment_value(f"{path}:{index + 1}", key, text)
    return found, len(lines)


def _comment_value(where: str, key: str, text: str) -> Any:
    if key == "duration_s":
        return _number(where, key, text)
    if key == "start":
        return _start(where, text)
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise InputError(
            f"{where}: {key} must be JSON text, not {text!r}", hint=f'write {key}="..."'
        )
    return value


def _start(where: str, text: str) -> datetime:
    try:
        return clock.parse(text)
    except InputError as error:
        raise InputError(f"{where}: start: {error.message}", hint=error.hint) from None


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    known = COUNT_COLUMNS if "start_s" in header else ARRIVAL_COLUMNS
    for name in header:
        if name not in known:
            raise InputError(f"{path}:{line}: unknown column {name!r}", hint=_HINT)
    if len(set(header)) < len(header):
        raise InputError(f"{path}:{line}: a column is named twice", hint=_HINT)
    required = COUNT_COLUMNS if "start_s" in header else ARRIVAL_COLUMNS[:1]
    for name in required:
        if name not in header:
            raise InputError(f"{path}:{line}: column {name!r} is missing", hint=_HINT)


def _arrivals(path: Path, table: _Table) -> TrafficTrace:
    arrivals = np.array(_column(path, table, "arrival_s", _number))
    _check_order(path, table, "arrival_s", arrivals)
    sizes = {
        key: np.array(_column(path, table, key, _whole), dtype=np.int64)
        for key in ARRIVAL_COLUMNS[1:]
        if key in table.columns
    }
    duration_s = table.comments.get("duration_s", float(arrivals[-1]))
    if duration_s < arrivals[-1]:
        raise InputError(
            f"{path}:{table.lines[-1]}: arrival_s {arrivals[-1]:g} lies after duration_s {duration_s:g}"
        )
    name = table.comments.get("name", path.stem)
    origin = table.comments.get("origin", path.name)
    start = table.comments.get("start")
    return TrafficTrace(name, arrivals, duration_s, origin=origin, start=start, **sizes)


def _counts(path: Path, table: _Table, seed: int, spacing: Spacing, cv: float) -> TrafficTrace:
    start = np.array(_column(path, table, "start_s", _number))
    interval = np.array(_column(path, table, "interval_s", _positive))
    counts = np.array(_column(path, table, "count", _whole), dtype=np.int64)
    overlap = np.flatnonzero(start[1:] < (start + interval)[:-1] - 1e-9)
    if len(overlap):
        line = table.lines[int(overlap[0]) + 1]
        raise InputError(f"{path}:{line}: start_s lies before the end of the interval above")
    if counts.sum() == 0:
        raise InputError(f"{path}: all counts are 0; a trace needs at least one arrival")
    end_s = float(start[-1] + interval[-1])
    duration_s = table.comments.get("duration_s", end_s)
    if duration_s < end_s:
        raise InputError(
            f"{path}:{table.lines[-1]}: the interval ends after duration_s {duration_s:g}"
        )
    law = f"gamma, cv {cv:g}" if spacing == "gamma" else spacing
    origin = f"{table.comments.get('origin', path.name)}: counts spread within each interval ({law}, seed {seed})"
    arrivals = spread(start, interval, counts, spacing, cv, seed)
    name, begins = table.comments.get("name", path.stem), table.comments.get("start")
    return TrafficTrace(name, arrivals, duration_s, origin=origin, start=begins)


def _column(
    path: Path, table: _Table, key: str, parse: Callable[[str, str, str], float]
) -> list[float]:
    cells = table.columns[key]
    if parse is _number and (values := _all_numbers(cells)) is not None:
        return values
    rows = zip(table.lines, cells, strict=True)
    return [parse(f"{path}:{line}", key, text) for line, text in rows]


def _all_numbers(cells: list[str]) -> list[float] | None:
    """Return what ``_number`` would, at once for millions of rows; None when it would refuse one."""
    try:
        values = list(map(float, cells))
    except ValueError:
        return None
    fit = all(map(math.isfinite, values)) and min(values) >= 0 and not any("_" in c for c in cells)
    return values if fit else None


def _number(where: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0) or "_" in text:
        raise InputError(f"{where}: {key} must be a number from 0 up, not {text.strip()!r}")
    return value


def _positive(where: str, key: str, text: str) -> float:
    value = _number(where, key, text)
    if value == 0:
        raise InputError(f"{where}: {key} must be above 0")
    return value


def _whole(where: str, key: str, text: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 15):
        raise InputError(f"{where}: {key} must be a whole number from 0 up, not {stripped!r}")
    return int(stripped)


def _check_order(path: Path, table: _Table, key: str, values: np.ndarray) -> None:
    wrong = np.flatnonzero(np.diff(values) < 0)
    if len(wrong):
        at = int(wrong[0]) + 1
        raise InputError(
            f"{path}:{table.lines[at]}: {key} {values[at]:g} is below the row above; rows must be sorted"
        )
