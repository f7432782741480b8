"""TrafficTrace: the arrival time and sizes of every request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployer.errors import InputError
from deployer.stats import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TrafficTrace:
    """Arrivals in seconds from the start, sorted; ``duration_s`` is how long the trace lasts.

    ``payload_bytes`` and ``response_bytes`` have one entry per arrival, or are None where unknown: then
    the profile's sizes stand in. ``origin`` says how it was made, with its seed and law.
    """

    name: str
    arrival_s: Floats
    duration_s: float
    payload_bytes: Ints | None = None
    response_bytes: Ints | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        arrivals = self.arrival_s
        if len(arrivals) == 0:
            raise InputError(f"trace {self.name!r} holds no arrival")
        if not np.all(np.isfinite(arrivals)):
            raise InputError(f"trace {self.name!r} holds an arrival that is not a finite number")
        if arrivals[0] < 0 or np.any(np.diff(arrivals) < 0):
            raise InputError(f"trace {self.name!r}: arrivals must be sorted and not negative")
        if not self.duration_s >= arrivals[-1]:
            raise InputError(f"trace {self.name!r}: duration_s ends before the last arrival")
        for key in ("payload_bytes", "response_bytes"):
            sizes = getattr(self, key)
            if sizes is not None and (len(sizes) != len(arrivals) or np.any(sizes < 0)):
                raise InputError(f"trace {self.name!r}: {key} must be one non-negative per arrival")

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def mean_rps(self) -> float:
        """Requests per second over the whole duration."""
        return len(self) / self.duration_s if self.duration_s else 0.0

    @property
    def digest(self) -> str:
        """The sha256 over arrivals, sizes and duration."""
        state = hashlib.sha256(np.float64(self.duration_s).tobytes())
        for values in (self.arrival_s, self.payload_bytes, self.response_bytes):
            state.update(b"-" if values is None else values.tobytes())
        return state.hexdigest()
