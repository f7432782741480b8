"""The plots as SVG: the same bytes, no text over text, nothing that acts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deployer.cost.report import CostReport
from deployer.report.charts import Plot, plots, spread
from deployer.report.content import content
from deployer.report.plots.labels import Box, width_px
from deployer.report.table import rows


def _drawn(report: CostReport) -> list[Plot]:
    page = content(report)
    return [*plots(page), spread(page)]


@pytest.fixture(scope="module")
def drawn(report: CostReport) -> list[Plot]:
    return _drawn(report)


@pytest.fixture(scope="module")
def hostile_drawn(hostile: CostReport) -> list[Plot]:
    return _drawn(hostile)


@dataclass(frozen=True)
class Text:
    """A text of an SVG and the room that it takes, y downwards."""

    text: str
    box: Box


def texts(svg: str) -> Iterator[Text]:
    """Yield every text with its box: the letters without the room above and below them."""
    for element in ElementTree.fromstring(svg).iter("text"):
        said = element.text or ""
        size = float(element.get("font-size", "0"))
        width = width_px(said, size, bold=element.get("font-weight", "400") == "700")
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        left = (
            x
            - {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")] * width
        )
        yield Text(said, Box(left, y - 0.72 * size, left + width, y + 0.05 * size))


def assert_readable(svg: str) -> None:
    """Assert that no text covers another and none leaves the picture."""
    width, height = map(float, ElementTree.fromstring(svg).get("viewBox", "").split()[2:])
    found = [text for text in texts(svg) if text.text]
    for text in found:
        assert text.box.outside(Box(0.0, 0.0, width, height)) <= 1.0, text
    for one, other in combinations(found, 2):
        assert one.box.overlap(other.box) <= 1.0, (one, other)


def _pictures(drawn: list[Plot]) -> list[str]:
    return [svg for plot in drawn for svg in (plot.wide, plot.narrow) if svg]


def test_every_plot_is_drawn_wide_and_narrow(drawn: list[Plot]) -> None:
    assert len(_pictures(drawn)) == 10
    assert all(plot.text and plot.how for plot in drawn)


def test_no_text_covers_another(drawn: list[Plot], hostile_drawn: list[Plot]) -> None:
    for svg in [*_pictures(drawn), *_pictures(hostile_drawn)]:
        assert_readable(svg)


def test_names_longer_than_the_plot_still_fit(report: CostReport) -> None:
    long = {
        c.name: f"{c.name} {'of the longest name that anybody ever gave ' * 20}"
        for c in report.candidates
    }
    candidates = tuple(replace(c, name=long[c.name]) for c in report.candidates)
    curves = tuple(replace(x, candidate=long[x.candidate]) for x in report.load_curves)
    for svg in _pictures(_drawn(replace(report, candidates=candidates, load_curves=curves))):
        assert_readable(svg)


def test_candidates_on_one_spot_keep_their_names_apart(report: CostReport) -> None:
    best = report.candidates[0]
    same = tuple(replace(best, name=f"candidate number {n}", verdict="meets") for n in range(8))
    for svg in _pictures(_drawn(replace(report, candidates=same))):
        assert_readable(svg)


def test_each_candidate_is_named_in_the_wide_plot_and_numbered_in_the_narrow(
    report: CostReport, drawn: list[Plot]
) -> None:
    plot = drawn[0]
    said = [text.text for text in texts(plot.wide)]
    numbers = [text.text for text in texts(plot.narrow)]
    for key, title in plot.key:
        assert f"{key}  {title}" in said
        assert str(key) in numbers
    assert [key for key, _ in plot.key] == [1, 2, 3, 5, 6, 7]


def test_plots_take_every_colour_from_the_page(drawn: list[Plot]) -> None:
    for svg in _pictures(drawn):
        assert not re.search(r"#[0-9a-fA-F]{6}", svg)
        assert "var(--ink)" in svg


def test_plots_hold_nothing_that_the_policy_forbids(
    drawn: list[Plot], hostile_drawn: list[Plot]
) -> None:
    allowed = {"svg", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    for svg in [*_pictures(drawn), *_pictures(hostile_drawn)]:
        for element in ElementTree.fromstring(svg).iter():
            assert element.tag in allowed
            assert "style" not in element.attrib
            assert not any(name.startswith("on") for name in element.attrib)
            assert element.get("href", "#").startswith("#")


def test_plots_are_read_out_by_their_finding(drawn: list[Plot]) -> None:
    for plot in drawn:
        for svg in (plot.wide, plot.narrow):
            root = ElementTree.fromstring(svg)
            assert root.get("role") == "img"
            assert root.get("aria-label") == plot.text


def test_ids_are_unique_over_all_plots_and_each_is_used(drawn: list[Plot]) -> None:
    together = "".join(_pictures(drawn))
    ids = re.findall(r' id="([^"]+)"', together)
    assert len(ids) == len(set(ids))
    assert set(ids) == set(re.findall(r'(?:href="|url\()#([^")]+)', together))


def test_hostile_names_are_shown_as_they_are(
    hostile: CostReport, hostile_drawn: list[Plot]
) -> None:
    said = " ".join(text.text for text in texts(hostile_drawn[2].wide))
    assert "<img src=x" in said
    assert "\u202e" not in said


def test_foreign_settings_do_not_change_a_byte(
    report: CostReport, drawn: list[Plot], tmp_path: Path
) -> None:
    """Another process, another hash seed, a matplotlibrc that changes everything, another clock."""
    (tmp_path / "matplotlibrc").write_text(
        "svg.fonttype: path\nfont.size: 30\naxes.grid: True\nlines.linewidth: 9\nsavefig.dpi: 300\n"
        "text.usetex: False\naxes.facecolor: red\nsvg.hashsalt: other\n"
    )
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('made', {str(Path(__file__).parent / 'conftest.py')!r})\n"
        "made = importlib.util.module_from_spec(spec)\n"
        "sys.modules['made'] = made\n"
        "spec.loader.exec_module(made)\n"
        "from deployer.report.charts import plots\n"
        "from deployer.report.content import content\n"
        "sys.stdout.write(''.join(p.wide + p.narrow for p in plots(content(made.build()))))\n"
    )
    changed = {
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONIOENCODING": "utf-8",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **changed},
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert run.stdout.decode() == "".join(p.wide + p.narrow for p in drawn[:-1])


@pytest.mark.parametrize("kept", [slice(7, 8), slice(0, 0)], ids=["unknown only", "none"])
def test_report_without_data_states_it_instead_of_drawing(report: CostReport, kept: slice) -> None:
    bare = replace(report, candidates=report.candidates[kept], load_curves=())
    for plot in _drawn(bare):
        assert plot.text
        assert (plot.wide, plot.narrow, plot.how) == ("", "", "")


def test_one_candidate_is_drawn(report: CostReport) -> None:
    for svg in _pictures(_drawn(replace(report, candidates=report.candidates[:1]))):
        assert_readable(svg)


def test_wide_spread_of_costs_is_readable(report: CostReport) -> None:
    from decimal import Decimal

    scaled = tuple(
        replace(c, usd_per_thousand=c.usd_per_thousand * Decimal(10) ** (3 * n))
        for n, c in enumerate(report.candidates[:3])
        if c.usd_per_thousand
    )
    for svg in _pictures(_drawn(replace(report, candidates=scaled, load_curves=()))):
        assert_readable(svg)
    assert len(rows(replace(report, candidates=scaled))) == 3
