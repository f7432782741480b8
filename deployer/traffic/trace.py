"""TrafficTrace: the arrival time and sizes of every request."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from deployer.errors import InputError
from deployer.stats import Floats
from deployer.traffic import clock

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TrafficTrace:
    """Arrivals in seconds from the start, sorted; ``duration_s`` is how long the trace lasts.

    ``payload_bytes`` and ``response_bytes`` have one entry per arrival, or are None where unknown: then
    the profile's sizes stand in. ``origin`` says how it was made, with its seed and law. ``start`` is the
    moment of arrival 0, in UTC; None where nobody knows. A schedule needs it, nothing else does.
    """

    name: str
    arrival_s: Floats
    duration_s: float
    payload_bytes: Ints | None = None
    response_bytes: Ints | None = None
    origin: str = ""
    start: datetime | None = None

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
        if self.start is not None:
            object.__setattr__(self, "start", clock.in_utc(self.start))
            clock.later(self.start, self.duration_s)  # its end must be a moment too

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def mean_rps(self) -> float:
        """Requests per second over the whole duration."""
        return len(self) / self.duration_s if self.duration_s else 0.0

    def started_at(self, start: datetime) -> TrafficTrace:
        """Return the trace with its ``start``. Raises InputError where it has another one."""
        if self.start is not None and self.start != start:
            raise InputError(
                f"trace {self.name!r} starts at {clock.text(self.start)}, "
                f"not at {clock.text(clock.in_utc(start))}",
                hint="leave the start out, or correct `# start=` in the file",
            )
        return replace(self, start=start)

    def slice(self, start_s: float, end_s: float) -> TrafficTrace:
        """Return the arrivals from ``start_s`` until before ``end_s``, counted from ``start_s``, which is its start.

        Raises InputError for an empty window, one outside the trace, or one without an arrival.
        """
        if not 0 <= start_s < end_s <= self.duration_s:
            raise InputError(
                f"trace {self.name!r} lasts from 0 to {self.duration_s:g} s; "
                f"it has no window {start_s:g} to {end_s:g} s"
            )
        first, last = np.searchsorted(self.arrival_s, (start_s, end_s))
        window = np.arange(first, last)
        origin = f"{self.origin}; {start_s:g} to {end_s:g} s of it"
        part = self._pick(window, self.arrival_s[window] - start_s, end_s - start_s, origin)
        return part if self.start is None else replace(part, start=clock.later(self.start, start_s))

    def scaled(self, factor: float, seed: int = 0) -> TrafficTrace:
        """Return ``factor`` times the traffic over the same time, as more or fewer like users would make it.

        Every further copy of the trace is shifted by an offset of its own, up to 5 minutes, and what passes
        the end comes at the start; of a part of a copy each arrival stays with that chance. So gaps and
        bursts within a copy are those of the trace. Raises InputError for a factor that is not positive.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"factor must be a positive number, not {factor!r}")
        rng = np.random.Generator(np.random.PCG64(seed))
        whole, part = divmod(factor, 1.0)
        kept, times = [], []
        for copy in range(int(whole) + 1):
            chance = part if copy == int(whole) else 1.0
            chosen = np.flatnonzero(rng.random(len(self)) < chance)
            offset_s = rng.uniform(0.0, min(300.0, self.duration_s)) if copy else 0.0
            kept.append(chosen)
            times.append(_shifted(self.arrival_s[chosen], offset_s, self.duration_s))
        arrivals = np.concatenate(times)
        order = np.argsort(arrivals, kind="stable")
        origin = f"{self.origin}; {factor:g} times its traffic, seed {seed}"
        return self._pick(np.concatenate(kept)[order], arrivals[order], self.duration_s, origin)

    def _pick(
        self, chosen: Ints, arrival_s: Floats, duration_s: float, origin: str
    ) -> TrafficTrace:
        sizes = (self.payload_bytes, self.response_bytes)
        payload, response = (None if values is None else values[chosen] for values in sizes)
        return TrafficTrace(self.name, arrival_s, duration_s, payload, response, origin, self.start)

    @property
    def digest(self) -> str:
        """The sha256 over arrivals, sizes and duration, and the start where it is known.

        The same arrivals at another time of day are another trace: a schedule serves them otherwise.
        """
        state = hashlib.sha256(np.float64(self.duration_s).tobytes())
        for values in (self.arrival_s, self.payload_bytes, self.response_bytes):
            state.update(b"-" if values is None else values.tobytes())
        if self.start is not None:
            state.update(clock.text(self.start).encode())
        return state.hexdigest()


def _shifted(arrival_s: Floats, offset_s: float, duration_s: float) -> Floats:
    moved = arrival_s + offset_s
    return np.where(moved > duration_s, moved - duration_s, moved)
