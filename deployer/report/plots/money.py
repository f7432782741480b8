"""Where the money goes: a bar a candidate, split by kind of line item."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deployer.report.escape import visible
from deployer.report.findings import Spending
from deployer.report.palette import light
from deployer.report.plots.canvas import SIZE, SMALL, Canvas
from deployer.report.plots.labels import shorten, width_px
from deployer.report.table import Row

_ROW_PX, _BAR_PX, _TITLE_PX, _LEGEND_PX = 50.0, 20.0, 20.0, 22.0
_SWATCH_PX = 11.0
DEEP = frozenset({"series-1"})
"""Fills so deep on paper that writing on them is light there."""


def draw(spending: Spending, width: float) -> Figure:
    """Draw at least one bar; the longest takes the width that its sum leaves."""
    legend = _legend(spending.kinds, width)
    canvas = Canvas(width, len(legend) * _LEGEND_PX + 12 + len(spending.rows) * _ROW_PX)
    for number, entries in enumerate(legend):
        for x, kind, index in entries:
            _swatch(canvas, x, canvas.height - (number + 0.5) * _LEGEND_PX, kind, index)
    room = width - max(width_px(row.usd, SIZE) for row in spending.rows) - 10
    scale = room / (max(sum(amounts) for amounts in spending.usd) or 1.0)
    top = canvas.height - len(legend) * _LEGEND_PX - 12
    for row, amounts in zip(spending.rows, spending.usd, strict=True):
        _title(canvas, row, top)
        bottom = top - _TITLE_PX - _BAR_PX
        end = _bar(canvas, [usd * scale for usd in amounts], bottom)
        canvas.text(end + 7, bottom + _BAR_PX / 2, row.usd, fontsize=SIZE)
        top -= _ROW_PX
    return canvas.figure


def _legend(kinds: Sequence[str], width: float) -> list[list[tuple[float, str, int]]]:
    """Return the kinds with their places, in as many lines as the width asks for."""
    lines: list[list[tuple[float, str, int]]] = [[]]
    x = 0.0
    for index, kind in enumerate(kinds):
        text = shorten(visible(kind), SMALL, width - _SWATCH_PX - 6)
        needed = _SWATCH_PX + 6 + width_px(text, SMALL)
        if x and x + needed > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, text, index))
        x += needed + 18
    return lines


def _swatch(canvas: Canvas, x: float, y: float, kind: str, index: int) -> None:
    _block(canvas, x, y - _SWATCH_PX / 2, _SWATCH_PX, _SWATCH_PX, _series(index))
    canvas.text(x + _SWATCH_PX + 6, y, kind)


def _title(canvas: Canvas, row: Row, top: float) -> None:
    best = row.candidate.verdict == "best"
    weight = "bold" if best else "normal"
    shown = shorten(row.label, SIZE, canvas.width, bold=best)
    canvas.text(0, top - _TITLE_PX / 2, shown, fontsize=SIZE, fontweight=weight)


def _bar(canvas: Canvas, lengths: Sequence[float], bottom: float) -> float:
    """Draw the parts side by side, each with its share where that has room, and return where they end."""
    whole = sum(lengths) or 1.0
    x = 0.0
    for index, length in enumerate(lengths):
        _block(canvas, x, bottom, length, _BAR_PX, _series(index))
        text = f"{100 * length / whole:.0f}%"
        if width_px(text, SMALL) + 8 <= length:
            ink = light("on-deep" if _series(index) in DEEP else "on-bright")
            middle = bottom + _BAR_PX / 2
            canvas.text(x + length / 2, middle, text, ha="center", color=ink)
        x += length
    return x


def _block(canvas: Canvas, x: float, y: float, width: float, height: float, name: str) -> None:
    """Fill a rectangle; a thin edge in the colour of the page keeps neighbours apart."""
    corner = (x / canvas.width, y / canvas.height)
    canvas.figure.add_artist(
        Rectangle(
            corner,
            width / canvas.width,
            height / canvas.height,
            transform=canvas.figure.transFigure,
            facecolor=light(name),
            edgecolor=light("paper"),
            linewidth=1.0,
        )
    )


def _series(index: int) -> str:
    return f"series-{index + 1}"
