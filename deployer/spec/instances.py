"""What the name of an instance type tells: the processor, disks of its own, an accelerator, whether it bursts."""

from __future__ import annotations

import re

_GRAVITON = re.compile(r"(?:a1|[a-z]+[0-9]+[a-z]*g[a-z]*|[a-z]+[0-9]+[a-z]*-gb[0-9]+)")
_OWN_DISKS = re.compile(
    r"[a-z]+[0-9]+[a-z]*d[a-z]*|g[5-7]|g[67]e|g5g|gr6|p4de?|p5(?:e|en)?|p6.*|trn[12]n?|i[0-9].*"
)
"""A ``d`` after the generation says so (m5d, g4dn, p3dn); the others are listed in AWS's table of instance types."""


_ACCELERATORS = {
    r"gr?[0-9].*": "a graphics card",
    r"p[0-9].*": "graphics cards",
    r"inf[0-9].*": "AWS Inferentia",
    r"trn[0-9].*": "AWS Trainium",
    r"dl[0-9].*": "deep learning accelerators",
    r"vt[0-9].*": "video transcoding cards",
}
"""Families by the letters before the generation; the ``g`` after it (c7g, m6gd) is Graviton's, a processor."""

_BURSTABLE = re.compile(r"t[0-9]+[a-z]*")


def architecture(instance_type: str) -> str:
    """Return the processor of ``ml.c7g.large`` or ``c7g.large``: arm64 or x86_64, as of a serverless container (empty).

    AWS marks its own processors by a ``g`` among the letters after the generation (c7g, m6gd, im4gn, g5g), and
    Grace by ``gb`` (p6e-gb200); the ``g`` before the generation stands for a graphics card (g5, g4dn).
    """
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return "arm64" if _GRAVITON.fullmatch(family) else "x86_64"


def local_disks(instance_type: str) -> bool:
    """Return whether instances have NVMe disks of their own, whose encryption takes no key of yours."""
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return _OWN_DISKS.fullmatch(family) is not None


def accelerator(instance_type: str) -> str:
    """Return what ``ml.g5.xlarge`` or ``g5.xlarge`` has beside its processor, in words; empty for a type with none."""
    family = instance_type.removeprefix("ml.").partition(".")[0]
    found = (words for form, words in _ACCELERATORS.items() if re.fullmatch(form, family))
    return next(found, "")


def burstable(instance_type: str) -> bool:
    """Return whether a type earns credits for its processor (t2, t3, t3a, t4g)."""
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return _BURSTABLE.fullmatch(family) is not None
