"""Cost against p99: the front that nothing beats in both, and the objective as a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from deployer.report.escape import visible
from deployer.report.findings import Point
from deployer.report.palette import light
from deployer.report.plots.canvas import (
    SIZE,
    SMALL,
    Canvas,
    even_ticks,
    is_narrow,
    lead,
    log_ticks,
    ruled,
)
from deployer.report.plots.labels import LEADING, Board, Box, shorten, width_px

_COLOUR = {"best": "good", "meets": "series-1", "misses": "bad", "unknown": "soft"}
_LONGEST_PX = 300.0


def draw(points: Sequence[Point], objective_ms: float | None, width: float) -> Figure:
    """Draw at least one point; ``objective_ms`` is that of p99."""
    narrow = is_narrow(width)
    canvas = Canvas(width, 330.0 if narrow else 400.0)
    frame = Box(52.0, 46.0, width - 12.0, canvas.height - 48.0)
    axes = canvas.axes(frame)
    _scale(axes, points, objective_ms)
    canvas.text(0, canvas.height - 12, "USD per 1,000 successful requests", color=light("soft"))
    canvas.text(frame.x1, 10, "p99, ms (logarithmic)", color=light("soft"), ha="right")
    board = Board(frame)
    if objective_ms is not None:
        _objective(canvas, axes, objective_ms, board)
    _front(axes, points, board)
    _marks(axes, points, board)
    # From the right, where the labels go: so the points further left find theirs beyond, by a line.
    for point in sorted(points, key=lambda p: (-p.p99_ms, p.usd_per_thousand)):
        _name(canvas, axes, point, board, narrow)
    return canvas.figure


def _scale(axes: Any, points: Sequence[Point], objective_ms: float | None) -> None:
    across = [p.p99_ms for p in points] + ([objective_ms] if objective_ms else [])
    low, high = min(across) / 1.35, max(across) * 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ruled(axes.xaxis, log_ticks(low, high))
    ticks = even_ticks(max(p.usd_per_thousand + p.half_width for p in points) * 1.04 or 1.0)
    axes.set_ylim(0, ticks[-1])
    ruled(axes.yaxis, ticks)


def _pixel(axes: Any, x: float, y: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def _objective(canvas: Canvas, axes: Any, objective_ms: float, board: Board) -> None:
    """Draw the line, say what it is above the frame, and shade what lies beyond."""
    frame = board.frame
    x, _ = _pixel(axes, objective_ms, 0)
    axes.axvspan(objective_ms, axes.get_xlim()[1], color=light("panel"), linewidth=0, zorder=0)
    axes.axvline(objective_ms, color=light("ink"), linewidth=1.25, zorder=2)
    text = f"objective {objective_ms:g} ms"
    half = width_px(text, SMALL) / 2
    middle = min(max(x, frame.x0 + half), frame.x1 - half)
    canvas.text(middle, frame.y1 + 9, text, ha="center")
    board.soft.append(Box(x - 2, frame.y0, x + 2, frame.y1))


def _front(axes: Any, points: Sequence[Point], board: Board) -> None:
    front = sorted((p for p in points if p.front), key=lambda p: p.p99_ms)
    for one, other in pairwise(front):
        x0, y0 = _pixel(axes, one.p99_ms, one.usd_per_thousand)
        x1, y1 = _pixel(axes, other.p99_ms, other.usd_per_thousand)
        board.soft += [Box(x0, y0 - 1, x1, y0 + 1), Box(x1 - 1, y1, x1 + 1, y0)]
    if len(front) > 1:
        axes.plot(
            [p.p99_ms for p in front],
            [p.usd_per_thousand for p in front],
            color=light("area"),
            linewidth=2.0,
            drawstyle="steps-post",
            zorder=1,
        )


def _marks(axes: Any, points: Sequence[Point], board: Board) -> None:
    for p in points:
        colour, missed = (
            light(_COLOUR[p.row.candidate.verdict]),
            p.row.candidate.verdict == "misses",
        )
        across, up, half = p.p99_ms, p.usd_per_thousand, p.half_width
        if half:
            axes.plot(
                [across, across], [up - half, up + half], color=colour, linewidth=1.5, zorder=3
            )
        axes.plot(
            [across],
            [up],
            marker="X" if missed else "o",
            markersize=9.0 if missed else 8.0,
            markerfacecolor=colour,
            markeredgecolor=light("paper"),
            markeredgewidth=1.0,
            linestyle="none",
            zorder=4,
        )
        x, y = _pixel(axes, across, up)
        board.taken.append(Box.around(x, y, 6.0))
        board.soft.append(
            Box(
                x - 3, _pixel(axes, across, up - half)[1], x + 3, _pixel(axes, across, up + half)[1]
            )
        )


def _name(canvas: Canvas, axes: Any, point: Point, board: Board, narrow: bool) -> None:
    text = str(point.row.key)
    if not narrow:
        text = shorten(f"{text}  {visible(point.row.title)}", SIZE, _LONGEST_PX)
    x, y = _pixel(axes, point.p99_ms, point.usd_per_thousand)
    box = board.place(x, y, width_px(text, SIZE), SIZE * LEADING)
    lead(canvas, (x, y), box)
    weight = "bold" if point.row.candidate.verdict == "best" else "normal"
    canvas.text(box.x0, (box.y0 + box.y1) / 2, text, fontsize=SIZE, fontweight=weight)
