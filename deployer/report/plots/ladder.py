"""The ladder: speed against the drop of the score, size as the area of each mark, the gate as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from deployer.report.ladder import Rung
from deployer.report.palette import light
from deployer.report.plots.canvas import SIZE, SMALL, Canvas, even_ticks, is_narrow, lead, ruled
from deployer.report.plots.labels import LEADING, Board, Box, shorten, width_px

_COLOUR = {
    "best": "good",
    "kept": "series-1",
    "baseline": "soft",
    "refused": "bad",
    "failed": "bad",
}
FAR = 4.0
"""A rung that drops by more than so many times the limit stands in the table alone."""

_LARGEST_PX, _LONGEST_PX = 26.0, 260.0


def draw(rungs: Sequence[Rung], max_drop: float, metric: str, width: float) -> Figure:
    """Draw the rungs that were scored and timed, at least one."""
    canvas = Canvas(width, 330.0 if is_narrow(width) else 380.0)
    frame = Box(58.0, 46.0, width - 12.0, canvas.height - 34.0)
    axes = canvas.axes(frame)
    _scale(axes, rungs, max_drop)
    canvas.text(0, canvas.height - 12, f"drop of {metric}", color=light("soft"))
    canvas.text(frame.x1, 10, "times as fast as FP32", color=light("soft"), ha="right")
    board = Board(frame)
    _gate(canvas, axes, max_drop, board)
    for rung in rungs:
        _mark(axes, rung, board)
    for rung in rungs:
        _name(canvas, axes, rung, board)
    return canvas.figure


def drawable(rungs: Sequence[Rung], max_drop: float) -> tuple[Rung, ...]:
    """Return the rungs that have both a drop and a speed, less those so wrong that they would flatten the rest."""
    return tuple(
        rung
        for rung in rungs
        if rung.drop is not None
        and rung.speed is not None
        and (rung.status != "refused" or rung.drop.value <= FAR * max_drop)
    )


def _ends(rung: Rung) -> tuple[float, float, float, float]:
    """Return speed and drop from low to high; an open end stops at the value."""
    drop, speed = rung.drop, rung.speed
    assert drop is not None
    assert speed is not None
    return (
        speed.value if speed.low is None else speed.low,
        speed.value if speed.high is None else speed.high,
        drop.value if drop.low is None else drop.low,
        drop.value if drop.high is None else drop.high,
    )


def _scale(axes: Any, rungs: Sequence[Rung], max_drop: float) -> None:
    ends = [_ends(rung) for rung in rungs]
    across = even_ticks(max(1.0, *(high for _, high, _, _ in ends)) * 1.15)
    top = max(max_drop, *(high for _, _, _, high in ends)) * 1.2 or 0.01
    bottom = min(0.0, *(low for _, _, low, _ in ends)) * 1.2 - top * 0.08
    axes.set_xlim(0, across[-1])
    axes.set_ylim(bottom, top)
    ruled(axes.xaxis, across)
    step = even_ticks(top)
    below = [-tick for tick in step[1:] if -tick >= bottom]
    ruled(axes.yaxis, [*below, *(tick for tick in step if tick <= top)])


def _gate(canvas: Canvas, axes: Any, max_drop: float, board: Board) -> None:
    axes.axhspan(max_drop, axes.get_ylim()[1], color=light("panel"), linewidth=0, zorder=0)
    axes.axhline(max_drop, color=light("ink"), linewidth=1.25, zorder=2)
    _, y = axes.transData.transform((0, max_drop))
    text = f"most allowed: {max_drop:g}"
    size = width_px(text, SMALL)
    canvas.text(board.frame.x1, float(y) + 9, text, ha="right")
    board.taken.append(Box(board.frame.x1 - size, float(y), board.frame.x1, float(y) + 18))
    board.soft.append(Box(board.frame.x0, float(y) - 2, board.frame.x1, float(y) + 2))


def _mark(axes: Any, rung: Rung, board: Board) -> None:
    assert rung.drop is not None
    assert rung.speed is not None
    x, y, colour = rung.speed.value, rung.drop.value, light(_COLOUR[rung.status])
    slow, fast, low, high = _ends(rung)
    axes.plot([slow, fast], [y, y], color=colour, linewidth=1.5, zorder=3)
    axes.plot([x, x], [low, high], color=colour, linewidth=1.5, zorder=3)
    diameter = _LARGEST_PX * math.sqrt(min(1.0, rung.size_ratio or 0.05))
    axes.plot(
        [x],
        [y],
        marker="o",
        markersize=diameter,
        markerfacecolor=colour,
        markeredgecolor=light("paper"),
        linestyle="none",
        zorder=4,
    )
    across, up = (float(v) for v in axes.transData.transform((x, y)))
    (left, bottom), (right, top) = axes.transData.transform([(slow, low), (fast, high)])
    board.taken.append(Box.around(across, up, diameter / 2 + 1))
    board.soft += [Box(left, up - 3, right, up + 3), Box(across - 3, bottom, across + 3, top)]


def _name(canvas: Canvas, axes: Any, rung: Rung, board: Board) -> None:
    assert rung.drop is not None
    assert rung.speed is not None
    text = str(rung.key) if is_narrow(canvas.width) else shorten(rung.label, SIZE, _LONGEST_PX)
    x, y = (float(v) for v in axes.transData.transform((rung.speed.value, rung.drop.value)))
    box = board.place(x, y, width_px(text, SIZE), SIZE * LEADING)
    lead(canvas, (x, y), box, beside=_LARGEST_PX / 2 + 10)
    weight = "bold" if rung.status == "best" else "normal"
    canvas.text(box.x0, (box.y0 + box.y1) / 2, text, fontsize=SIZE, fontweight=weight)
