"""The plots of the page as inline SVG, each wide and narrow, with the sentence that states its finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from deployer.report import findings
from deployer.report.content import Content
from deployer.report.escape import visible
from deployer.report.ladder import Ladder
from deployer.report.plots import cost_latency, cost_load, day, ladder, latency, money
from deployer.report.plots.canvas import NARROW_PX, WIDE_PX
from deployer.report.plots.svg import drawing, to_svg

Draw = Callable[[float], Figure]
Key = tuple[tuple[int, str], ...]

_HOW = {
    "cost-latency": "Line: candidates that no other beats in both cost and p99; those that leave more than "
    "1% of their requests unanswered stay off it. ● meets the objective, ✖ misses it. Bars: 95% interval.",
    "cost-load": "● meets the objective at that load, ✖ misses it. Bold: cheapest that meets it somewhere.",
    "day": "Above: requests per second, in red from the bottom those refused or failed. "
    "Below: instances; the line is paid for, the filled part serves. Both from zero, to one scale for all.",
    "ladder": "Right and low is better: faster, with less lost. The area of a mark is the size of the model; "
    "bars are intervals. Above the line too much is lost; what loses four times as much as that is not drawn.",
    "latency": "Share of the successful requests by latency, logarithmic; to the same scale for all. "
    "The upright line is the objective.",
    "money": "USD per 1,000 successful requests, by what is paid for.",
}


@dataclass(frozen=True)
class Plot:
    """A finding with its picture, wide and narrow, empty where there is no data; ``key`` names its numbers."""

    text: str
    how: str = ""
    wide: str = ""
    narrow: str = ""
    key: Key = ()


def plots(page: Content) -> tuple[Plot, ...]:
    """Return a Plot for each finding of the page."""
    with drawing():
        return tuple(_plot(fact.name, fact.text, page) for fact in page.findings)


def spread(page: Content) -> Plot:
    """Return the latencies of every candidate, for the details."""
    with drawing():
        return _plot(page.spread.name, page.spread.text, page)


def ladder_plot(page: Ladder) -> Plot:
    """Return the rungs of a ladder by speed and drop."""
    drawn = ladder.drawable(page.rungs, page.max_drop)
    draw = _if(drawn, lambda w: ladder.draw(drawn, page.max_drop, page.metric, w))
    with drawing():
        return _both("ladder", page.finding, draw, tuple((r.key, r.name) for r in drawn))


def _plot(slug: str, text: str, page: Content) -> Plot:
    draw, key = _picture(slug, page)
    return _both(slug, text, draw, key)


def _both(slug: str, text: str, draw: Draw | None, key: Key) -> Plot:
    """Draw for both widths; without data the sentence stands alone."""
    if draw is None:
        return Plot(text)
    label = visible(text)
    wide = to_svg(draw(WIDE_PX), slug=f"{slug}-wide", label=label, kind="wide")
    narrow = to_svg(draw(NARROW_PX), slug=f"{slug}-narrow", label=label, kind="narrow")
    return Plot(text, _HOW[slug], wide, narrow, key)


def _picture(slug: str, page: Content) -> tuple[Draw | None, Key]:
    """Return how to draw a finding, None without data, and the rows that it shows by number alone."""
    match slug:
        case "cost-latency":
            points = findings.points(page.shown)
            objective = page.slo.p99_ms
            return _if(points, lambda w: cost_latency.draw(points, objective, w)), _key(points)
        case "cost-load":
            curves = findings.curves(page.shown, page.load_curves)
            return _if(curves, lambda w: cost_load.draw(curves, w)), _key(curves)
        case "latency":
            spreads = findings.latencies(page.rows)
            objective = page.slo.p99_ms
            return _if(spreads, lambda w: latency.draw(spreads, objective, w)), ()
        case "day":
            found = findings.days(page.shown)
            return _if(found, lambda w: day.draw(found, w)), ()
        case _:
            spending = findings.spending(page.shown)
            return _if(spending.rows, lambda w: money.draw(spending, w)), ()


def _if(data: Sequence[object], draw: Draw) -> Draw | None:
    return draw if data else None


def _key(drawn: Sequence[findings.Point] | Sequence[findings.Curve]) -> Key:
    return tuple((each.row.key, each.row.title) for each in drawn)
