"""The page: order, safety, accessibility."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from deployer.cost.report import CostReport
from deployer.report.content import content
from deployer.report.webpage import render

VOID = {"meta", "br", "path", "use", "rect"}


@dataclass
class Element:
    """A tag with its attributes and all the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element of a page, in order."""

    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        """Return the elements with one of these tags."""
        return [element for element in self.elements if element.tag in tags]


def parse(html: str) -> Page:
    """Return the page; every element must be closed in its turn."""
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open
    return page


@pytest.fixture(scope="module")
def html(report: CostReport) -> str:
    return render(content(report))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return parse(html)


@pytest.fixture(scope="module")
def hostile_page(hostile: CostReport) -> Page:
    return parse(render(content(hostile)))


def test_page_without_its_pictures_equals_the_approved_one(
    html: str, golden: Callable[[str, str], None]
) -> None:
    """The pictures are left out: their bytes depend on the version of matplotlib."""
    golden("index.html", re.sub(r"(<svg [^>]*>).*?</svg>", r"\1</svg>", html, flags=re.DOTALL))


def test_sections_come_in_the_order_of_a_reader(page: Page) -> None:
    assert [element.text for element in page.all("h1", "h2", "summary")] == [
        "Run sagemaker ml.c5.large 1–6 int8-static (1–2 instances): USD 0.022 ± 0.0009 per thousand "
        "successful requests, p99 66 ms and 99.78% of offered requests within 100 ms (99% wanted) "
        "(simulated, assumed: Service times of this machine hold on c5, c7i and serverless at factor "
        "1.0 (assumed) and 1 more).",
        "Candidates",
        "What the plots show",
        "What would change the answer",
        "Bill of the best: sagemaker ml.c5.large 1–6 int8-static",
        "How sure",
        "Do it",
        "All candidates, all bills, environment",
    ]


@pytest.mark.parametrize("which", ["page", "hostile_page"])
def test_page_has_no_script_no_handler_and_nothing_to_load(
    which: str, request: pytest.FixtureRequest
) -> None:
    page: Page = request.getfixturevalue(which)
    assert not page.all(
        "script", "img", "iframe", "object", "embed", "link", "base", "form", "video"
    )
    for element in page.elements:
        assert not any(
            name.startswith("on") or name in ("src", "style") for name in element.attributes
        )
        href = element.attributes.get("href", "#")
        assert href.startswith("#") or href in ("report.json", "report.csv", "report.md")


def test_policy_allows_exactly_the_style_sheet_of_the_page(page: Page) -> None:
    (style,) = page.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    policies = [e for e in page.all("meta") if e.attributes.get("http-equiv")]
    assert [e.attributes["content"] for e in policies] == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


def test_style_sheet_asks_for_nothing_from_the_network(page: Page) -> None:
    (style,) = page.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_policy_stands_before_the_style_and_the_language_is_named(page: Page) -> None:
    tags = [element.tag for element in page.elements]
    assert page.elements[0].attributes == {"lang": "en"}
    assert tags.index("meta") < tags.index("style")
    assert "viewport" in [e.attributes.get("name") for e in page.all("meta")]


def test_tables_have_heads_with_a_scope_and_roles_that_survive_the_cards(page: Page) -> None:
    for cell in page.all("th"):
        assert cell.attributes["scope"] in ("col", "row")
    for element in page.all("table", "thead", "tbody", "tfoot", "tr", "td", "th"):
        assert element.attributes["role"]


def test_every_cell_of_a_card_names_its_column(page: Page) -> None:
    for cell in page.all("td"):
        known = cell.attributes.get("data-head") or "mark" in cell.attributes.get("class", "")
        assert known or cell.attributes.get("colspan")


def test_marks_and_pictures_are_read_out(page: Page) -> None:
    for element in page.elements:
        if element.attributes.get("role") == "img":
            assert element.attributes["aria-label"]


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(page: Page) -> None:
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for name in ("href", "aria-labelledby"):
            target = element.attributes.get(name, "")
            if name == "aria-labelledby" and target:
                assert target in ids
            if target.startswith("#"):
                assert target[1:] in ids


def test_headings_never_skip_a_level(page: Page) -> None:
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_candidate_has_a_row_with_an_id(page: Page, report: CostReport) -> None:
    found = {e.attributes.get("id"): e.text for e in page.all("tr")}
    for row in content(report).rows:
        assert row.candidate.name in found[row.anchor]


def test_losers_stand_below_a_rule_with_their_reason(page: Page) -> None:
    rows = [e for e in page.all("tr") if e.attributes.get("id")]
    classes = [e.attributes["class"] for e in rows]
    assert classes == ["best", *["meets"] * 4, "misses first-loser", "misses", "unknown"]
    assert "99% wanted: 9.2% late, 9.5% refused" in rows[5].text
    assert "unknown" in rows[7].text


def test_hostile_texts_are_shown_and_do_nothing(hostile_page: Page, hostile: CostReport) -> None:
    (h1,) = hostile_page.all("h1")
    assert h1.text == (
        '<img src=x onerror=alert(1)>|`code`\\n=HYPERLINK("http://x")\\u202egnp.exe\\x07\\udcff $x_1$ '
        "@here #1 {{7*7}}"
    )
    everything = "".join(e.text for e in hostile_page.all("html"))
    assert "\u202e" not in everything
    assert "\x07" not in everything
    assert "{{7*7}}" in everything


def test_commands_are_shown_one_a_line(page: Page, report: CostReport) -> None:
    (block,) = page.all("pre")
    assert block.text.splitlines() == list(report.commands)


def test_many_candidates_are_all_on_the_page(report: CostReport) -> None:
    many = tuple(replace(report.candidates[2], name=f"winner {n}", run=None) for n in range(30))
    page = parse(render(content(replace(report, candidates=(*many, *report.candidates[5:])))))
    assert "25 more in the details at the end." in "".join(e.text for e in page.all("caption"))
    rows = [e.attributes["id"] for e in page.all("tr") if e.attributes.get("id")]
    assert len(rows) == len(set(rows)) == 33


@pytest.mark.parametrize(
    "kept", [slice(5, 8), slice(7, 8), slice(0, 0)], ids=["losers", "unknown", "none"]
)
def test_page_without_a_winner_has_no_bill_of_it(report: CostReport, kept: slice) -> None:
    bare = replace(
        report, candidates=report.candidates[kept], headline=(), measured=(), profiles=()
    )
    page = parse(render(content(bare)))
    assert not any(e.text.startswith("Bill of the best") for e in page.all("h2"))
    assert page.all("h1")[0].text == "There is nothing to compare."
