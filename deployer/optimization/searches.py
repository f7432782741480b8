"""What one rung has measured for its recipe, in files: the next rung, in a process of its own, reads it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deployer.optimization.smoothquant import Range

Numbers = list[tuple[float, float, float]]


class Store:
    """Keeps ranges and errors by name in ``folder``; without one it measures each time it is asked."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def ranges(self, name: str, measure: Callable[[], Mapping[str, Range]]) -> Mapping[str, Range]:
        """Return the ranges kept under ``name``, or those that ``measure`` gives, and keep them."""
        file = self._file(["ranges", name], ".npz")
        if file is None:
            return measure()
        if not file.exists():
            found = measure()
            ends: dict[str, Any] = {f"low{i}": r.low for i, r in enumerate(found.values())}
            ends |= {f"high{i}": r.high for i, r in enumerate(found.values())}
            draft = file.with_suffix(".part.npz")
            np.savez(draft, names=np.array(list(found), dtype=np.str_), **ends)
            os.replace(draft, file)
        with np.load(file, allow_pickle=False) as held:
            names = [str(name) for name in held["names"]]
            return {n: Range(held[f"low{i}"], held[f"high{i}"]) for i, n in enumerate(names)}

    def numbers(self, words: Sequence[str], measure: Callable[[], Numbers]) -> Numbers:
        """Return the rows of numbers kept under ``words``, or those that ``measure`` gives, and keep them."""
        file = self._file(["numbers", *words], ".json")
        if file is None:
            return measure()
        if not file.exists():
            draft = file.with_suffix(".part")
            draft.write_text(json.dumps(measure()), encoding="utf-8")
            os.replace(draft, file)
        return [(a, b, c) for a, b, c in json.loads(file.read_text(encoding="utf-8"))]

    def _file(self, words: Sequence[str], suffix: str) -> Path | None:
        digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]
        return None if self._folder is None else self._folder / f"search-{digest}{suffix}"
