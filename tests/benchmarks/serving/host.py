"""What the host took of a core while something was measured on it: on a shared machine, not ours to answer for."""

from __future__ import annotations

from pathlib import Path


class Core:
    """Watches one core by the kernel's counts (proc(5), /proc/stat: its ``steal`` is time the host took)."""

    def __init__(self, number: int) -> None:
        self._name = f"cpu{number}" if number >= 0 else "cpu"
        self._before = self._counts()

    def stolen_percent(self) -> float:
        """Return the part of the core that the host took since the last call, in percent."""
        counts = self._counts()
        passed = [now - then for now, then in zip(counts, self._before, strict=True)]
        self._before = counts
        # user, nice, system, idle, iowait, irq, softirq, steal
        return round(100 * passed[7] / max(1, sum(passed[:8])), 2)

    def _counts(self) -> list[int]:
        for line in Path("/proc/stat").read_text().splitlines():
            name, *counts = line.split()
            if name == self._name:
                return [int(count) for count in counts]
        raise SystemExit(f"/proc/stat knows no {self._name}")
