"""What all pieces of one climb share, in files that each process maps into its memory and none copies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployer.optimization.session import Array, Arrays

_FILE = "context.json"


@dataclass(frozen=True)
class Context:
    """The rows of a climb, the inputs that are timed by name, and what the rungs are built for."""

    calibration: Arrays
    evaluation: Arrays
    cases: Mapping[str, Arrays]
    reduce_range: bool
    alternatives: Mapping[str, Path]


def save(context: Context, folder: Path) -> None:
    """Write the context to ``folder``."""
    where = folder / "arrays"
    where.mkdir()
    groups = {"calibration": context.calibration, "evaluation": context.evaluation}
    groups |= {f"case {name}": arrays for name, arrays in context.cases.items()}
    index: dict[str, dict[str, str]] = {}
    for group, arrays in groups.items():
        index[group] = {}
        for name, array in arrays.items():
            file = f"{len(list(where.iterdir()))}.npy"  # names of inputs are no names of files
            np.save(where / file, np.ascontiguousarray(array), allow_pickle=False)
            index[group][name] = file
    document = {
        "arrays": index,
        "reduce_range": context.reduce_range,
        "alternatives": {name: str(path.resolve()) for name, path in context.alternatives.items()},
    }
    (folder / _FILE).write_text(json.dumps(document), encoding="utf-8")


def load(folder: Path) -> Context:
    """Read what ``save`` wrote."""
    document = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    groups = {
        group: {name: _mapped(folder / "arrays" / file) for name, file in files.items()}
        for group, files in document["arrays"].items()
    }
    return Context(
        groups.pop("calibration"),
        groups.pop("evaluation"),
        {group.removeprefix("case "): arrays for group, arrays in groups.items()},
        document["reduce_range"],
        {name: Path(path) for name, path in document["alternatives"].items()},
    )


def _mapped(path: Path) -> Array:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
