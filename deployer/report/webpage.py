"""The report as one HTML file: no script, no network, nothing beside it needed."""

from __future__ import annotations

import base64
import hashlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployer.distribution import install_hint
from deployer.errors import EnvironmentProblem
from deployer.report import ladder
from deployer.report.content import Content
from deployer.report.escape import visible
from deployer.report.ladder import Ladder
from deployer.report.palette import COLOURS
from deployer.report.table import SAID, milliseconds

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: Content) -> str:
    """Return index.html. Raises EnvironmentProblem where the ``report`` extra is not installed."""
    charts = _charts()
    return _fill(
        "page.html.jinja",
        page=page,
        plots=charts.plots(page),
        spread=charts.spread(page),
        caption=_caption(page),
        said=SAID,
    )


def render_ladder(page: Ladder) -> str:
    """Return the page of a quantization ladder. Raises EnvironmentProblem as ``render``."""
    columns = [page.metric, "drop", "size MB", "latency ms", "times as fast"]
    columns += ["USD per 1,000 ok"] * any(rung.usd for rung in page.rungs)
    plot = _charts().ladder_plot(page)
    return _fill("ladder.html.jinja", page=page, plot=plot, columns=columns, said=ladder.SAID)


def _fill(template: str, **values: object) -> str:
    environment = _environment()
    style = environment.get_template("page.css.jinja").render(colours=COLOURS)
    return environment.get_template(template).render(style=style, policy=_policy(style), **values)


def _caption(page: Content) -> str:
    left_out = len(page.rows) - len(page.shown)
    text = "By cost among those that meet the objective; below the rule those that do not, and why."
    return f"{text} {left_out} more in the details at the end." if left_out else text


def _charts() -> ModuleType:
    try:
        from deployer.report import charts
    except ImportError as error:
        raise _missing("matplotlib") from error
    return charts


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = Environment(
        loader=PackageLoader("deployer.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["ms"] = milliseconds
    return environment


def _missing(package: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the report needs {package}, which is not installed",
        hint=install_hint("report"),
    )


def _finalize(value: Any) -> Any:
    """Show invisible characters in every text that the template prints; markup passes."""
    return visible(value) if type(value) is str else value


def _policy(style: str) -> str:
    """Allow this one style sheet, by its hash, and nothing else: no script, no font, no request."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
