"""A matplotlib figure as inline SVG: the same bytes every time, in the page's own colours and font.

Colours become references to the page's variables, so that a plot follows it into the dark and onto paper.
Style attributes become plain ones, which the page's content policy allows.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from deployer.report.palette import COLOURS

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "deployer",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.unicode_minus": True,
    "figure.dpi": 72,
}
_NAMES = {light: name for name, (light, _) in COLOURS.items()}
_DECIMAL = re.compile(r"-?\d+\.\d+")
_NUMBERS = ("d", "x", "y", "width", "height", "transform", "points", "font-size", "stroke-width")
_FONT = re.compile(r"(?:(?P<weight>\d+) )?(?P<size>[\d.]+)px ")


@contextmanager
def drawing() -> Iterator[None]:
    """Within it every setting is the project's, whatever the machine's matplotlibrc says.

    DejaVu only measures the text: a glyph that it lacks is drawn by the reader's font.
    """
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if "backend" not in k}
    with matplotlib.rc_context({**defaults, **_SETTINGS}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def to_svg(figure: Figure, *, slug: str, label: str, kind: str) -> str:
    """Return ``figure`` as an SVG element of class ``kind``; ``label`` is read out in its place.

    ``slug`` keeps the ids of several plots on one page apart.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - written by matplotlib above
    box = root.get("viewBox", "").split()
    _tidy(root, _renumbering(root, slug))
    attributes = {"viewBox": " ".join(box), "width": box[2], "height": box[3]}
    root.attrib.clear()
    root.attrib.update({"class": kind, "role": "img", "aria-label": label, **attributes})
    return re.sub(r"\n\s*", "\n", ElementTree.tostring(root, encoding="unicode"))


def _renumbering(root: ElementTree.Element, slug: str) -> dict[str, str]:
    """Name the ids that are referred to in order of their first use; the others go."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = re.findall(r"(?:href=\"|url\()#([^\")]+)", text)
    return {name: f"{slug}-{n}" for n, name in enumerate(dict.fromkeys(used))}


def _tidy(element: ElementTree.Element, ids: dict[str, str]) -> None:
    for child in list(element):
        if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
            element.remove(child)
        else:
            _tidy(child, ids)
    element.tag = element.tag.removeprefix(_SVG)
    for declaration in element.attrib.pop("style", "").split(";"):
        if declaration.strip():
            element.attrib.update(_attributes(*declaration.strip().split(": ", 1)))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    element.attrib.update(_references(element, ids))
    for name in _NUMBERS:
        if name in element.attrib:
            element.attrib[name] = _short(element.attrib[name])


def _references(element: ElementTree.Element, ids: dict[str, str]) -> dict[str, str]:
    found = {}
    own = element.attrib.pop("id", None)
    if own in ids:
        found["id"] = ids[own]
    target = element.attrib.pop(_LINK, None)
    if target is not None:
        found["href"] = f"#{ids[target[1:]]}"
    clip = element.attrib.get("clip-path")
    if clip is not None:
        found["clip-path"] = f"url(#{ids[clip[5:-1]]})"
    return found


def _attributes(name: str, value: str) -> dict[str, str]:
    """Return one style declaration as attributes; the font family is the page's."""
    match name:
        case "font":
            font = _FONT.match(value)
            weight = {"font-weight": font["weight"]} if font and font["weight"] else {}
            return {**weight, **({"font-size": font["size"]} if font else {})}
        case "font-family":
            return {}
        case "font-size":
            return {name: value.removesuffix("px")}
        case "fill" | "stroke":
            return {name: f"var(--{_NAMES[value]})" if value in _NAMES else value}
    return {name: value}


def _short(text: str) -> str:
    """Round every number to a hundredth of a pixel and put a path on one line."""
    return _DECIMAL.sub(_rounded, text.replace("\n", " ").strip())


def _rounded(found: re.Match[str]) -> str:
    text = f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
