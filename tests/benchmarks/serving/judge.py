"""Golden answers: what each body is answered in process, alone; every answer over HTTP is held against it.

A server under stress that answers 200 with another request's numbers would pass any test of statuses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from subject import Body

from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings


class Judge:
    """Compares answers with golden ones. ``limit`` is the greatest distance, relative to the largest number."""

    def __init__(self, golden: Sequence[bytes], limit: float | None = None) -> None:
        """Take the right answers; without ``limit``, half of what tells the two most alike apart.

        Raises SystemExit when two answers are so alike that a mix-up could not be seen.
        """
        self._golden = list(golden)
        self._vectors = [_numbers(answer) for answer in golden]
        self.apart = self._least_distance()
        self._dependent = limit is not None
        self.limit = min(1e-3, self.apart / 4) if limit is None else limit
        if self.apart < 2 * self.limit:
            raise SystemExit(
                f"two bodies have answers only {self.apart:.2g} apart: a mix-up within "
                f"{self.limit:.2g} could not be seen; give bodies that differ"
            )
        self.worst = 0.0

    def right(self, index: int, answer: bytes) -> bool:
        """Return whether ``answer`` is the one that body ``index`` must get."""
        if answer == self._golden[index]:
            return True
        try:
            found = _numbers(answer)
        except ValueError:
            return False
        distance = _distance(found, self._vectors[index])
        self.worst = max(self.worst, min(distance, 9.0))
        return distance <= self.limit or self._nearest(index, found, distance)

    def _nearest(self, index: int, found: np.ndarray, distance: float) -> bool:
        """Return whether, within a limit that was asked for, every other answer is more than twice as far."""
        if not self._dependent or distance > 2 * self.limit:
            return False
        others = (_distance(found, other) for at, other in enumerate(self._vectors) if at != index)
        return all(distance < 0.5 * other for other in others)

    def _least_distance(self) -> float:
        found = 9.0
        for at, one in enumerate(self._vectors):
            found = min([found, *(_distance(one, two) for two in self._vectors[:at])])
        return found


def golden(model_dir: Path, bodies: Sequence[Body]) -> list[bytes]:
    """Answer each body in process, alone; raise SystemExit when one is not answered 200."""
    code = str(model_dir / "code")
    if code not in sys.path:
        sys.path.append(code)
    model = ServedModel(read_settings(model_dir))
    answers = []
    for number, body in enumerate(bodies):
        status, _, answer = model.answer(body.content, body.content_type)
        if status != 200:
            raise SystemExit(f"body {number} is answered {status} in process: {answer!r}")
        answers.append(answer)
    return answers


def _distance(one: np.ndarray, two: np.ndarray) -> float:
    if one.shape != two.shape:
        return 9.0
    return float(np.abs(one - two).max() / max(1e-9, np.abs(two).max()))


def _numbers(answer: bytes) -> np.ndarray:
    found = np.fromiter(_leaves(orjson.loads(answer)), float)
    if not len(found):
        raise ValueError("an answer without numbers")
    return found


def _leaves(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _leaves(value[key])
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, int | float):
        yield float(value)
