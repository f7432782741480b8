"""Whether memory grows: each process's resident memory against what it had once settled."""

from __future__ import annotations

from collections.abc import Mapping

#: A process's first minute fills allocators and caches: that is no growth.
SETTLE_S = 60.0
#: Growth worth a word: so many bytes, and such a share of what the process had.
WARN_BYTES = 64 * 2**20
WARN_SHARE = 0.25


class MemoryWatch:
    """Remembers what each process had; ``growth`` is what it has gained since, in bytes."""

    def __init__(self) -> None:
        self._seen_s: dict[str, float] = {}
        self._base: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self.growth: dict[str, float] = {}

    def look(self, resident: Mapping[str, float], now: float) -> dict[str, float]:
        """Take the bytes of each process now; return the growth of those newly worth a word.

        A process is told of again when it has grown as much once more. Those that are gone are forgotten.
        """
        for known in (self._seen_s, self._base, self._told, self.growth):
            for process in known.keys() - resident.keys():
                del known[process]
        news = {}
        for process, size in resident.items():
            if now - self._seen_s.setdefault(process, now) < SETTLE_S:
                continue
            base = self._base.setdefault(process, size)
            self.growth[process] = size - base
            step = max(WARN_BYTES, WARN_SHARE * base)
            if self.growth[process] - self._told.get(process, 0.0) > step:
                news[process] = self._told[process] = self.growth[process]
        return news
