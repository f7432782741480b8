"""The colours of page and plots, each for a light and for a dark screen.

The series are told apart with every common colour blindness (after Okabe and Ito); no colour stands
alone, a word or a sign says the same. Light values are distinct: a plot is drawn in them and then
refers to the name, so that it follows the page into the dark.
"""

from __future__ import annotations

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171c"),
    "panel": ("#f5f6f8", "#1d2129"),
    "rule": ("#d9dde3", "#343b47"),
    "ink": ("#1a1d21", "#e8eaee"),
    "soft": ("#59616e", "#a2abb9"),
    "good": ("#00664b", "#3fcfa4"),
    "warn": ("#8a5300", "#f0b429"),
    "bad": ("#b3321a", "#ff8a70"),
    "on-deep": ("#fffffe", "#101214"),
    "on-bright": ("#101214", "#101213"),
    "serving": ("#cfe3f1", "#1d3e55"),
    "area": ("#c4cad3", "#4b5463"),
    "series-1": ("#0072b2", "#3d9fd8"),
    "series-2": ("#e69f00", "#f0b030"),
    "series-3": ("#009e73", "#2bbf95"),
    "series-4": ("#cc79a7", "#dd94bd"),
    "series-5": ("#56b4e9", "#86ccf4"),
    "series-6": ("#8b8f96", "#9aa1ab"),
}


def light(name: str) -> str:
    """Return the colour of that name on paper, by which the plots are drawn."""
    return COLOURS[name][0]
