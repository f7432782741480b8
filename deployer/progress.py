"""What long work says while it runs: one line at a time, to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line for a person; what it does with the line is its own affair."""


def silent(line: str) -> None:
    """Say nothing: the default wherever progress is told."""
