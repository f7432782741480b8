"""The day, a panel a candidate: requests that arrive and are lost above, instances below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from deployer.report.findings import Day
from deployer.report.palette import light
from deployer.report.plots.canvas import SIZE, Canvas, decimal, is_narrow
from deployer.report.plots.labels import Box, shorten

PANEL_PX, TITLE_PX, ARRIVALS_PX, GAP_PX, INSTANCES_PX = 184.0, 42.0, 62.0, 14.0, 34.0
_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
)


def draw(days: Sequence[Day], width: float) -> Figure:
    """Draw at least one day; all panels share the scales of their ordinates."""
    columns = 1 if is_narrow(width) else 2
    lines = -(-len(days) // columns)
    canvas = Canvas(width, lines * PANEL_PX + 4)
    tops = (
        max(float(d.offered_rps.max()) for d in days),
        max(1.0, *(float(d.billed.max()) for d in days)),
    )
    across = (width - (columns - 1) * 36.0) / columns
    for position, day in enumerate(days):
        line, column = divmod(position, columns)
        left = column * (across + 36.0)
        top = canvas.height - line * PANEL_PX
        _panel(canvas, day, Box(left, top - PANEL_PX, left + across, top), tops)
    return canvas.figure


def _panel(canvas: Canvas, day: Day, box: Box, tops: tuple[float, float]) -> None:
    c = day.row.candidate
    best = c.verdict == "best"
    canvas.text(
        box.x0,
        box.y1 - 10,
        shorten(day.row.label, SIZE, box.x1 - box.x0, bold=best),
        fontsize=SIZE,
        fontweight="bold" if best else "normal",
    )
    canvas.text(
        box.x0,
        box.y1 - 27,
        _says(day),
        color=light("bad" if c.failures and c.verdict == "misses" else "soft"),
    )
    left = box.x0 + 44
    upper = Box(left, box.y1 - TITLE_PX - ARRIVALS_PX, box.x1 - 18, box.y1 - TITLE_PX)
    _arrivals(canvas.axes(upper), day, tops[0])
    if day.billed.any():
        middle = upper.y0 - GAP_PX
        _instances(canvas.axes(Box(left, middle - INSTANCES_PX, upper.x1, middle)), day, tops[1])


def _says(day: Day) -> str:
    c = day.row.candidate
    low, high = int(day.billed.min()), int(day.billed.max())
    count = f"{low}" if low == high else f"{low}–{high}"
    fleet = f"{count} {'instance' if high == 1 else 'instances'}" if high else "billed by use"
    lost = f"{c.failures:,} of {c.offered:,} refused or failed" if c.failures else "all answered"
    return f"{fleet} · {lost}"


def _arrivals(axes: Any, day: Day, top: float) -> None:
    edges = np.arange(len(day.offered_rps) + 1) * day.bin_s
    axes.stairs(day.offered_rps, edges, fill=True, color=light("area"), linewidth=0)
    if day.row.candidate.failures:
        axes.stairs(day.lost_rps, edges, fill=True, color=light("bad"), linewidth=0)
    _framed(axes, float(edges[-1]), top, "/s")
    ticks, labels = _hours(float(edges[-1]))
    axes.set_xticks(ticks, [""] * len(labels) if day.billed.any() else labels)


def _instances(axes: Any, day: Day, top: float) -> None:
    end = day.bin_s * len(day.offered_rps)
    times = np.append(day.time_s, end)
    axes.stairs(day.serving, times, fill=True, color=light("serving"), linewidth=0)
    axes.stairs(day.billed, times, baseline=None, color=light("series-1"), linewidth=1.75)
    _framed(axes, end, top, "")
    ticks, labels = _hours(end)
    axes.set_xticks(ticks, labels)


def _framed(axes: Any, end: float, top: float, unit: str) -> None:
    axes.set_xlim(0, end)
    axes.set_ylim(0, top * 1.06)
    axes.set_yticks([top], [f"{decimal(float(f'{top:.2g}'))}{unit}"])
    axes.axhline(0, color=light("rule"), linewidth=1.0, zorder=0)


def _hours(end: float) -> tuple[list[float], list[str]]:
    """Return some four ticks in the largest unit that keeps them whole."""
    step = next((s for s in _STEPS_S if end / s <= 4.5), end / 4)
    size, unit = next(
        (s, u) for s, u in ((3600, "h"), (60, "min"), (1, "s")) if step % s == 0 or s == 1
    )
    ticks = [float(step * i) for i in range(int(end // step) + 1)]
    return ticks, [f"{tick / size:g} {unit}" for tick in ticks]
