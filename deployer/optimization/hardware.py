"""What the machine that measures can do: a latency is worth nothing without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "asimddp": "NEON-DOTPROD",
    "i8mm": "NEON-I8MM",
}


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the processor's flags as the kernel names them; none where they cannot be read."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    fields = dict(_pairs(text))
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())


def detect(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return ``cpu``, ``cores`` (usable ones) and ``features``; what cannot be read is "unknown"."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    fields = dict(_pairs(text))
    known = flags(cpuinfo)
    found = [label for flag, label in _FLAGS.items() if flag in known]
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "features": " ".join(found) if known else "unknown",
    }


def has_int8_dot(hardware: dict[str, str]) -> bool:
    """Say whether the CPU multiplies int8 without the saturation that makes 7-bit weights necessary."""
    features = hardware["features"].split()
    return any(f in features for f in ("AVX512-VNNI", "AVX-VNNI", "AMX-INT8", "NEON"))


def _pairs(text: str) -> list[tuple[str, str]]:
    first = text.split("\n\n", 1)[0]
    lines = (line.partition(":") for line in first.splitlines())
    return [(key.strip(), value.strip()) for key, _, value in lines]
