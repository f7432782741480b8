"""English sentences that every Python carries: those of its own language reference (``pydoc_data``)."""

from __future__ import annotations

import re
from pydoc_data.topics import topics


def sentences(limit: int) -> list[str]:
    """Return up to ``limit`` different sentences of 4 to 60 words, the same ones on each call."""
    text = " ".join(topics[name] for name in sorted(topics))
    found: dict[str, None] = {}
    for raw in re.split(r"(?<=[.!?])\s+(?=[A-Z])", re.sub(r"\s+", " ", text)):
        words = raw.split(" ")
        if (
            4 <= len(words) <= 60
            and raw.isascii()
            and re.fullmatch(r"[A-Z][\w ,;:'\"()./-]+[.!?]", raw)
        ):
            found.setdefault(raw)
    step = max(1, len(found) // limit)
    return list(found)[::step][:limit]
