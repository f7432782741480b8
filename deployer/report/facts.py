"""How sure the report is, what it assumes and what it was made from: a name and a text each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.cost.report import CostReport
from deployer.report.table import Row
from deployer.units import format_duration

UNTOLD = frozenset({"schema_version", "name", "capacity", "assumptions"})
"""Keys of a profile or run that are told elsewhere, or only in the JSON."""


@dataclass(frozen=True)
class Fact:
    """A name and what is known under it; ``where`` are the rows that it concerns, all when empty."""

    name: str
    text: str
    where: tuple[Row, ...] = ()

    @property
    def numbers(self) -> str:
        """The numbers of the rows, runs of them shortened: ``candidates 1–3, 5``."""
        keys = [row.key for row in self.where]
        starts = [k for k in keys if k - 1 not in keys]
        ends = [k for k in keys if k + 1 not in keys]
        spans = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
        noun = "candidate" if len(keys) == 1 else "candidates"
        return f"{noun} {', '.join(spans)}" if keys else ""


def confidence(report: CostReport) -> Iterator[Fact]:
    """Yield how much lies behind the figures: requests, seeds, schedule of the load tests, calibration."""
    yield Fact(
        "requests",
        f"{report.trace_requests:,} offered in {format_duration(report.trace_duration_s)}",
    )
    best = report.best
    if best and best.latency_ms:
        count = best.latency_ms.count
        beyond = count - -(-count * 99 // 100)
        yield Fact(
            "behind p99", f"{count:,} successful requests of the best, {beyond:,} beyond p99"
        )
    if report.seeds:
        yield Fact("seeds", f"{len(report.seeds)}: {', '.join(map(str, report.seeds))}")
    lags_s = [c.run.max_lag_s for c in report.candidates if c.run and c.run.max_lag_s is not None]
    lags_s += [m["max_lag_ms"] / 1000 for m in report.measured if m.get("max_lag_ms") is not None]
    if lags_s:
        yield Fact("load generator", f"kept its schedule within {format_duration(max(lags_s))}")
    for line in report.calibration or ("the simulator was not calibrated in this run",):
        yield Fact("calibration", line)


def assumptions(every: Sequence[Row]) -> tuple[Fact, ...]:
    """Return each assumption once, with the candidates that rest on it."""
    where: dict[str, list[Row]] = {}
    for row in every:
        for sentence in row.candidate.assumptions:
            where.setdefault(sentence, []).append(row)
    judged = sum(bool(row.candidate.provenance) for row in every)
    return tuple(
        Fact("assumed", sentence, tuple(found) if len(found) < judged else ())
        for sentence, found in where.items()
    )


def environment(report: CostReport) -> Iterator[Fact]:
    """Yield what the figures were made from: trace, profiles, load tests."""
    yield Fact("trace", f"{report.trace_name}, sha256 {report.trace_digest}")
    for profile in report.profiles:
        yield Fact(f"profile {profile.get('name', '')}".strip(), _told(profile))
    for number, run in enumerate(report.measured, start=1):
        yield Fact(f"load test {number}", _told(run))


def _told(document: Mapping[str, Any]) -> str:
    """Print the plain values of a document, one level of nesting deep; lists are left to the JSON."""
    told = [(key, _fact(value)) for key, value in document.items() if key not in UNTOLD]
    return " · ".join(f"{key} {text}" for key, text in told if text)


def _fact(value: Any) -> str:
    match value:
        case None | list() | tuple():
            return ""
        case Mapping():
            plain = [(k, _fact(v)) for k, v in value.items() if not isinstance(v, Mapping)]
            inner = [f"{k} {text}" for k, text in plain if text]
            return f"({', '.join(inner)})" if inner else ""
        case float():
            return f"{value:.4g}"
    return str(value)
