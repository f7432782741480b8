"""A path as callers give it: text, or anything that is one to the operating system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

AnyPath = str | os.PathLike[str]

_Noun = TypeVar("_Noun")


def as_path(value: _Noun | AnyPath) -> _Noun | Path:
    """Return a path that was given as text or otherwise as a Path, and a noun or None as it is."""
    return Path(value) if isinstance(value, str | os.PathLike) else value
