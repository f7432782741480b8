"""How near a quantized file's answers come to FP32's: what is searched by, before any gate looks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from deployer.optimization.answers import by_row
from deployer.optimization.integer import distance
from deployer.optimization.session import Array, Arrays, Session

BATCH = 8


def answers(model: Path, rows: Arrays) -> dict[str, Array]:
    """Return all outputs of a file for all rows, by name."""
    return by_row(Session(model), rows, BATCH)


def error(given: Arrays, reference: Arrays) -> float:
    """Return the largest error of an output, relative to its size; infinite for NaN or another shape."""
    worst = 0.0
    for name, wanted in reference.items():
        one = given.get(name)
        if one is None or one.shape != wanted.shape:
            return math.inf
        if wanted.dtype.kind == "f":
            if np.isnan(one).any():
                return math.inf
            worst = max(worst, distance(one, wanted))
    return worst
