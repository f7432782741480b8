"""Colours can be read by everybody, on both screens."""

from __future__ import annotations

from itertools import combinations

import pytest

from deployer.report.palette import COLOURS
from deployer.report.plots.money import DEEP


def _channels(colour: str) -> list[float]:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def _luminance(colour: str) -> float:
    red, green, blue = _channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("screen", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("text", ["ink", "soft", "good", "warn", "bad"])
def test_text_reaches_the_contrast_of_aa(screen: int, ground: str, text: str) -> None:
    assert contrast(COLOURS[text][screen], COLOURS[ground][screen]) >= 4.5


@pytest.mark.parametrize("screen", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("series", [name for name in COLOURS if name.startswith("series-")])
def test_share_in_a_bar_can_be_read(screen: int, series: str) -> None:
    ink = COLOURS["on-deep" if series in DEEP else "on-bright"][screen]
    assert contrast(ink, COLOURS[series][screen]) >= 4.5


def test_light_colours_are_distinct_so_that_each_has_one_name() -> None:
    light = [light for light, _ in COLOURS.values()]
    assert len(set(light)) == len(light)


def _deuteranope(colour: str) -> list[float]:
    """See as with the most common colour blindness (Machado and others 2009, severity 1, linear RGB)."""
    red, green, blue = _channels(colour)
    return [
        0.367322 * red + 0.860646 * green - 0.227968 * blue,
        0.280085 * red + 0.672501 * green + 0.047413 * blue,
        -0.011820 * red + 0.042940 * green + 0.968881 * blue,
    ]


@pytest.mark.parametrize("screen", [0, 1], ids=["light", "dark"])
def test_neighbouring_series_differ_to_a_deuteranope(screen: int) -> None:
    series = [value[screen] for name, value in COLOURS.items() if name.startswith("series-")]
    for one, other in combinations(series, 2):
        distance = sum(
            abs(a - b) for a, b in zip(_deuteranope(one), _deuteranope(other), strict=True)
        )
        assert distance > 0.1, (one, other)
