"""Cost against load, both logarithmic: which candidate is cheapest where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from deployer.report.escape import visible
from deployer.report.findings import Curve
from deployer.report.palette import light
from deployer.report.plots.canvas import SIZE, Canvas, is_narrow, log_ticks, ruled
from deployer.report.plots.labels import LEADING, Box, shorten, spread, width_px

_NUMBERS_PX = 40.0
_SERIES = ("series-1", "series-2", "series-3", "series-4", "series-5", "series-6")


def draw(curves: Sequence[Curve], width: float) -> Figure:
    """Draw at least one curve; those that are the cheapest somewhere stand out."""
    narrow = is_narrow(width)
    canvas = Canvas(width, 320.0 if narrow else 380.0)
    names = _NUMBERS_PX if narrow else _names_px(curves, width)
    frame = Box(58.0, 46.0, width - names, canvas.height - 30.0)
    axes = canvas.axes(frame)
    _scale(axes, curves)
    canvas.text(
        0,
        canvas.height - 12,
        "USD per 1,000 successful requests (logarithmic)",
        color=light("soft"),
    )
    canvas.text(
        frame.x1, 10, "mean requests per second (logarithmic)", color=light("soft"), ha="right"
    )
    colours = _colours(curves)
    for curve, colour in zip(curves, colours, strict=True):
        _curve(axes, curve, colour)
    _names(canvas, axes, curves, colours, frame.x1 + 18)
    return canvas.figure


def _names_px(curves: Sequence[Curve], width: float) -> float:
    """Return the room for the longest name and the way to it, at most two fifths of the plot."""
    longest = max(width_px(_name(c), SIZE, bold=c.cheapest) for c in curves)
    return min(longest + 22, 0.42 * width)


def _name(curve: Curve) -> str:
    return f"{curve.row.key}  {visible(curve.row.title)}"


def _colours(curves: Sequence[Curve]) -> list[str]:
    """Give a series colour to each curve that is cheapest at some load, grey to the others."""
    ranked = [curve for curve in curves if curve.cheapest]
    return [_SERIES[ranked.index(c) % len(_SERIES)] if c.cheapest else "area" for c in curves]


def _scale(axes: Any, curves: Sequence[Curve]) -> None:
    loads = [rps for c in curves for rps in c.rps]
    costs = [usd for c in curves for usd in c.usd_per_thousand]
    across, up = (min(loads) / 1.15, max(loads) * 1.15), (min(costs) / 1.15, max(costs) * 1.15)
    axes.set(xscale="log", yscale="log", xlim=across, ylim=up)
    ruled(axes.xaxis, log_ticks(*across))
    ruled(axes.yaxis, log_ticks(*up))


def _curve(axes: Any, curve: Curve, colour: str) -> None:
    axes.plot(curve.rps, curve.usd_per_thousand, color=light(colour), linewidth=2.0, zorder=3)
    for rps, usd, meets in zip(curve.rps, curve.usd_per_thousand, curve.meets, strict=True):
        axes.plot(
            [rps],
            [usd],
            marker="o" if meets else "X",
            markersize=7.0 if meets else 8.0,
            markerfacecolor=light(colour if meets else "bad"),
            markeredgecolor=light("paper"),
            markeredgewidth=1.0,
            linestyle="none",
            zorder=4,
        )


def _names(
    canvas: Canvas, axes: Any, curves: Sequence[Curve], colours: Sequence[str], left: float
) -> None:
    """Write each name at the right edge, as near the end of its curve as the others allow."""
    ends = [axes.transData.transform((c.rps[-1], c.usd_per_thousand[-1])) for c in curves]
    heights = spread([float(y) for _, y in ends], SIZE * LEADING + 2, 50.0, canvas.height - 40.0)
    narrow, room = is_narrow(canvas.width), canvas.width - left
    for curve, (x, y), height, colour in zip(curves, ends, heights, colours, strict=True):
        canvas.line(
            [float(x) + 6, left - 4], [float(y), height], color=light("rule"), linewidth=1.0
        )
        name = _name(curve)
        text = str(curve.row.key) if narrow else shorten(name, SIZE, room, bold=curve.cheapest)
        weight = "bold" if curve.cheapest else "normal"
        ink = light("ink" if colour != "area" else "soft")
        canvas.text(left, height, text, fontsize=SIZE, fontweight=weight, color=ink)
