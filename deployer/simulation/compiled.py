"""Compile with numba, and keep the machine code on disk where that is possible.

numba's own cache looks only at the file of the cached function, so a change in ``policy`` or ``scaling``
would leave a stale kernel. Here only the two entry points are cached, and their cache key holds a digest
of every source that is compiled into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., Any])

# Compiled code here allocates nothing: its caller owns every array. Without reference counting of the
# dozens of arrays that each call hands on, a simulation is some thirty times faster; a function that
# did allocate would be refused by the compiler. It touches no Python object either, so that threads can
# simulate side by side.
_OPTIONS: dict[str, bool] = {"_nrt": False, "forceinline": True, "nogil": True}


def inner(function: _F) -> _F:
    """Compile a function that other compiled functions, or tests, call."""
    compiled: _F = numba.njit(**_OPTIONS)(function)
    return compiled


def entry(function: _F) -> _F:
    """Compile an entry point and cache it; without a writable cache folder it compiles in each process."""
    try:
        cached: _F = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba found no folder to write to; a cache only saves time
        return inner(function)
    return cached


def sources_digest(*files: str) -> str:
    """Return the sha256 over the contents of source files, and of all of this package."""
    state = hashlib.sha256()
    package = sorted(str(path) for path in Path(__file__).parent.glob("*.py"))
    for file in (*files, *package):
        state.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return state.hexdigest()
