"""What this machine is: the words that stand beside every number measured on it."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

_FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
)
"""Instruction sets that decide how fast quantized kernels run, by their /proc/cpuinfo names."""


def cores() -> int:
    """Return how many cores this process may use, which a container often narrows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """Return the processor's name, or its architecture where the kernel tells no more."""
    names = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    return names.strip()


def features() -> tuple[str, ...]:
    """Return the instruction sets present out of those that matter to quantized kernels."""
    words = set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())
    return tuple(name for name in _FEATURES if name in words)


def describe() -> dict[str, str]:
    """Return cpu, cores, instruction sets, system and Python as text."""
    return {
        "cpu": cpu(),
        "cores": str(cores()),
        "features": " ".join(features()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    rows = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in rows}
