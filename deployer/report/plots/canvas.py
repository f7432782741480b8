"""A figure in pixels from its lower left corner, with quiet axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deployer.report.escape import visible
from deployer.report.palette import light
from deployer.report.plots.labels import Box

WIDE_PX, NARROW_PX = 880.0, 358.0
SIZE, SMALL = 12.5, 11.5
"""Sizes of text in pixels: names, and figures on the axes."""


def is_narrow(width: float) -> bool:
    """Return whether a plot of this width names candidates by number alone."""
    return width < 600


class Canvas:
    """A matplotlib figure whose every measure is in pixels."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)

    def axes(self, box: Box) -> Any:
        """Return axes in ``box``, without spines, tick marks or ground."""
        corner = (box.x0 / self.width, box.y0 / self.height)
        size = ((box.x1 - box.x0) / self.width, (box.y1 - box.y0) / self.height)
        axes = self.figure.add_axes((*corner, *size))
        axes.patch.set_visible(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, pad=5, labelsize=SMALL, labelcolor=light("soft"))
        axes.set_axisbelow(True)
        return axes

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write at a pixel, vertically centred; nothing invisible gets into the picture."""
        given = {"fontsize": SMALL, "color": light("ink"), "va": "center_baseline", **style}
        self.figure.text(x / self.width, y / self.height, visible(text), **given)

    def line(self, xs: Sequence[float], ys: Sequence[float], **style: Any) -> None:
        """Draw through pixels."""
        across, up = [x / self.width for x in xs], [y / self.height for y in ys]
        given = {"color": light("area"), "linewidth": 1.0, **style}
        self.figure.add_artist(Line2D(across, up, transform=self.figure.transFigure, **given))


def lead(canvas: Canvas, point: tuple[float, float], box: Box, beside: float = 10.0) -> None:
    """Draw a line from a point to its label, unless the label stands ``beside`` pixels next to it."""
    x, y = point
    middle = (box.y0 + box.y1) / 2
    near = min(max(x, box.x0 - 3), box.x1 + 3)
    if abs(near - x) <= beside and abs(middle - y) <= 2:
        return
    edge = middle if near != x else (box.y0 if y < box.y0 else box.y1)
    canvas.line([x, near], [y, edge], color=light("soft"), linewidth=0.75)


def ruled(axis: Any, ticks: Sequence[float]) -> None:
    """Put rules and plain decimal labels at ``ticks`` of one axis."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: decimal(value)))
    axis.grid(visible=True, color=light("rule"), linewidth=1.0)


def decimal(value: float) -> str:
    """Print a tick without exponent: ``0.005``, ``2,000``."""
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text or "0"


def even_ticks(high: float, most: int = 5) -> list[float]:
    """Return ticks from 0 in steps of 1, 2 or 5 times a power of ten; the last reaches ``high``."""
    raw = high / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.9999)
    return [round(i * step, 12) for i in range(math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return ticks between two ends: 1, 2, 5 times powers of ten, more where those are few, or fewer.

    At least four and at most ``most`` where some series of round numbers allows that.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = []
    for steps in ((1, 2, 5), (1, 2, 3, 4, 5, 6, 8), (1, 3), (1,)):
        ticks = [round(m * 10.0**e, 12) for e in exponents for m in steps]
        found.append([t for t in ticks if low <= t <= high])
    good = [ticks for ticks in found if 4 <= len(ticks) <= most]
    few = [ticks for ticks in found if len(ticks) <= most]
    return good[0] if good else max(few or found[-1:], key=len)
