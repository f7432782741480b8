"""Text in a plot: how wide it is, where it may stand without covering anything."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from deployer.report.columns import cells, elide

_METER = TextToPath()
_STEPS_PX = (8.0, 20.0, 36.0, 56.0, 90.0, 140.0)
_RISES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)
_NARROWEST_EM = 0.25
MARGIN_PX = 5.0
"""Free space to the left and right of a label, so that two numbers never read as one."""
LEADING = 1.25
"""Height of a line of text, in font sizes."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y upwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Return the common area, in square pixels."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def outside(self, frame: Box) -> float:
        """Return by how many pixels it leaves ``frame``, all sides together."""
        left, below = max(0.0, frame.x0 - self.x0), max(0.0, frame.y0 - self.y0)
        return left + below + max(0.0, self.x1 - frame.x1) + max(0.0, self.y1 - frame.y1)

    @staticmethod
    def around(x: float, y: float, radius: float) -> Box:
        """Return the square about a point."""
        return Box(x - radius, y - radius, x + radius, y + radius)


def width_px(text: str, size: float, *, bold: bool = False) -> float:
    """Return at most how wide ``text`` is: in DejaVu Sans, the widest of the page's fonts, unkerned."""
    return sum(_advance_em(character, bold) for character in text) * size


@cache
def _advance_em(character: str, bold: bool) -> float:
    """Return the width of one character in font sizes; one that DejaVu lacks is drawn by another font."""
    font = FontProperties(family="DejaVu Sans", size=100, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        measured = float(_METER.get_text_width_height_descent(character, font, ismath=False)[0])
    return measured / 100 if character.isascii() else max(measured / 100, 0.5 * cells(character))


def shorten(text: str, size: float, room_px: float, *, bold: bool = False) -> str:
    """Return ``text`` in at most ``room_px`` pixels; the middle gives way."""
    text = elide(text, max(2, int(room_px / size / _NARROWEST_EM)))
    kept, shown = len(text), text
    while width_px(shown, size, bold=bold) > room_px and kept:
        kept -= 1
        tail = max(0, kept - 1) // 2
        shown = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
    return shown


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return the positions nearest to ``wanted`` (any order) that keep ``gap`` and stay in low..high.

    Where there is no room for the gap, equal steps from ``low``.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    if len(order) > 1:
        gap = min(gap, (high - low) / (len(order) - 1))
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


@dataclass
class Board:
    """Where labels stand: each goes to the free place nearest to its point."""

    frame: Box
    taken: list[Box] = field(default_factory=list)
    soft: list[Box] = field(default_factory=list)

    def place(self, x: float, y: float, width: float, height: float) -> Box:
        """Return a box of that size near the point, clear of what is taken, and take it.

        What is ``soft`` is crossed only where nothing else is free.
        """
        found = min(_around(x, y, width, height), key=lambda place: self._cost(*place))
        if self._covered(found[1]):
            found = min(self._anywhere(x, y, width, height), key=lambda place: self._cost(*place))
        box = found[1]
        self.taken.append(Box(box.x0 - MARGIN_PX, box.y0, box.x1 + MARGIN_PX, box.y1))
        return box

    def _cost(self, distance: float, box: Box) -> float:
        crossed = sum(box.overlap(other) for other in self.soft)
        far = 1000 * box.outside(self.frame) + 6 * crossed + distance / 2
        return far + 100 * self._covered(box)

    def _covered(self, box: Box) -> float:
        return sum(box.overlap(other) for other in self.taken)

    def _anywhere(
        self, x: float, y: float, width: float, height: float
    ) -> Iterable[tuple[float, Box]]:
        """Yield boxes all over the frame, for a crowd that leaves no room about the point."""
        frame = self.frame
        for row in range(max(1, int((frame.y1 - frame.y0) // height))):
            for column in range(max(1, int((frame.x1 - frame.x0 - width) // 20) + 1)):
                box = Box(
                    frame.x0 + 20 * column,
                    frame.y0 + height * row,
                    frame.x0 + 20 * column + width,
                    frame.y0 + height * (row + 1),
                )
                yield math.hypot(box.x0 - x, (box.y0 + box.y1) / 2 - y), box


def _around(x: float, y: float, width: float, height: float) -> Iterable[tuple[float, Box]]:
    """Yield boxes about a point with how far they lie: right, left, above and below, then outwards."""
    for step, rise in product(_STEPS_PX, _RISES):
        middle = y + rise * height * 0.6
        for side, left in ((0, x + step), (1, x - step - width), (2, x - width / 2)):
            if side == 2 and abs(rise) < 2:
                continue
            distance = step + abs(rise) * height * 0.6 + side
            yield distance, Box(left, middle - height / 2, left + width, middle + height / 2)
