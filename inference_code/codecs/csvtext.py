"""CSV: one example per line, no header line."""

from __future__ import annotations

import csv
import io
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_code.errors import BadRequest

Body = bytes | bytearray | memoryview


def read_rows(body: Body) -> list[list[str]]:
    """Return the cells of each line, all lines equally long; raise BadRequest naming the odd line."""
    try:
        text = str(body, "utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise BadRequest(f"csv: not UTF-8 at byte {error.start}") from error
    except csv.Error as error:
        raise BadRequest(f"csv: {error}") from error
    if not rows:
        raise BadRequest("csv: the body holds no line")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise BadRequest(
                f"csv: line {number} has {len(row)} values, line 1 has {len(rows[0])}: give each line as many"
            )
    return rows


def read_numbers(body: Body) -> NDArray[np.float64]:
    """Return the numbers as an array of lines by values; raise BadRequest at the first that is none."""
    rows = read_rows(body)
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        number, cell = _first_wrong(rows)
        header = ", and there is no header line" if number == 1 else ""
        raise BadRequest(
            f"csv: line {number}: {cell[:40]!r} is not a number: send numbers only{header}"
        ) from None


def write(array: NDArray[Any]) -> bytes:
    """Return one line per first index; further dimensions are laid side by side. One number is one line."""
    rows = array.reshape(len(array), prod(array.shape[1:])) if array.ndim else array.reshape(1, 1)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows.tolist())
    return out.getvalue().encode()


def _first_wrong(rows: list[list[str]]) -> tuple[int, str]:
    for number, row in enumerate(rows, 1):
        for cell in row:
            try:
                float(cell)
            except ValueError:
                return number, cell
    return len(rows), rows[-1][-1]
