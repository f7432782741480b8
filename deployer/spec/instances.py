"""What the name of an instance type tells: the processor."""

from __future__ import annotations

import re

_GRAVITON = re.compile(r"(?:a1|[a-z]+[0-9]+[a-z]*g[a-z]*|[a-z]+[0-9]+[a-z]*-gb[0-9]+)")


def architecture(instance_type: str) -> str:
    """Return the processor of ``ml.c7g.large`` or ``c7g.large``: arm64 or x86_64.

    AWS marks its own processors by a ``g`` among the letters after the generation (c7g, m6gd, im4gn, g5g), and
    Grace by ``gb`` (p6e-gb200); the ``g`` before the generation stands for a graphics card (g5, g4dn).
    """
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return "arm64" if _GRAVITON.fullmatch(family) else "x86_64"
