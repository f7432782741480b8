"""What the name of an instance type tells: the processor, and whether it has disks of its own."""

from __future__ import annotations

import re

_GRAVITON = re.compile(r"(?:a1|[a-z]+[0-9]+[a-z]*g[a-z]*|[a-z]+[0-9]+[a-z]*-gb[0-9]+)")
_OWN_DISKS = re.compile(
    r"[a-z]+[0-9]+[a-z]*d[a-z]*|g5|g6|g6e|g5g|gr6|p4de?|p5(?:e|en)?|trn[12]n?|i[0-9].*"
)
"""A ``d`` after the generation says so (m5d, g4dn, p3dn); the others are listed in AWS's table of instance types."""


def architecture(instance_type: str) -> str:
    """Return the processor of ``ml.c7g.large`` or ``c7g.large``: arm64 or x86_64.

    AWS marks its own processors by a ``g`` among the letters after the generation (c7g, m6gd, im4gn, g5g), and
    Grace by ``gb`` (p6e-gb200); the ``g`` before the generation stands for a graphics card (g5, g4dn).
    """
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return "arm64" if _GRAVITON.fullmatch(family) else "x86_64"


def local_disks(instance_type: str) -> bool:
    """Return whether instances have NVMe disks of their own, whose encryption takes no key of yours."""
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return _OWN_DISKS.fullmatch(family) is not None
