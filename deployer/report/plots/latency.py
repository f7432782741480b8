"""How latency is spread, a panel a candidate, all to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from deployer.report.findings import Latencies
from deployer.report.palette import light
from deployer.report.plots.canvas import SIZE, Canvas, is_narrow, log_ticks, ruled
from deployer.report.plots.labels import Box, shorten

_PANEL_PX, _TITLE_PX, _PLOT_PX, _GAP_PX = 126.0, 40.0, 54.0, 36.0


def draw(spreads: Sequence[Latencies], objective_ms: float | None, width: float) -> Figure:
    """Draw at least one panel; ``objective_ms`` is that of p99."""
    columns = 1 if is_narrow(width) else 2
    canvas = Canvas(width, -(-len(spreads) // columns) * _PANEL_PX + 4)
    across = (width - (columns - 1) * _GAP_PX) / columns
    top = max(float(each.shares.max()) for each in spreads)
    for position, each in enumerate(spreads):
        line, column = divmod(position, columns)
        left, upper = column * (across + _GAP_PX), canvas.height - line * _PANEL_PX
        canvas.text(left, upper - 10, shorten(each.row.label, SIZE, across), fontsize=SIZE)
        canvas.text(left, upper - 27, _says(each), color=light("soft"))
        frame = Box(left + 4, upper - _TITLE_PX - _PLOT_PX, left + across - 18, upper - _TITLE_PX)
        _panel(canvas.axes(frame), each, objective_ms, top)
    return canvas.figure


def _says(each: Latencies) -> str:
    row = each.row
    p99 = f"p99 {row.p99_ms} ms" if not row.p99_note else f"p99 n/a, {row.p99_note}"
    return f"p50 {row.p50_ms} ms · {p99}"


def _panel(axes: Any, each: Latencies, objective_ms: float | None, top: float) -> None:
    axes.stairs(each.shares, each.edges_ms, fill=True, color=light("series-1"), linewidth=0)
    axes.set(xscale="log", xlim=(each.edges_ms[0], each.edges_ms[-1]), ylim=(0, top * 1.05))
    ruled(axes.xaxis, log_ticks(float(each.edges_ms[0]), float(each.edges_ms[-1]), most=6))
    axes.set_yticks([])
    axes.axhline(0, color=light("rule"), linewidth=1.0, zorder=0)
    if objective_ms is not None and each.edges_ms[0] < objective_ms < each.edges_ms[-1]:
        axes.axvline(objective_ms, color=light("ink"), linewidth=1.25)
