"""Columns of text in a terminal: how wide a text is, and how to make it fit."""

from __future__ import annotations

import unicodedata


def cells(text: str) -> int:
    """Return how many terminal cells ``text`` takes: wide characters take two, combining ones none."""
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def elide(text: str, limit: int, gap: str = "…") -> str:
    """Return ``text`` in at most ``limit`` cells; its middle gives way, since names differ at both ends."""
    if cells(text) <= limit:
        return text
    tail = _take(text[::-1], (limit - 1) // 2)[::-1]
    head = _take(text, limit - 1 - cells(tail))
    return f"{head}{gap}{tail}"


def _take(text: str, limit: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _cells(character)
        if used > limit:
            return text[:position]
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return ``text`` filled up to ``width`` cells; ``right`` puts it at the right edge."""
    fill = " " * (width - cells(text))
    return fill + text if right else text + fill
