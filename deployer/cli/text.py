"""Nouns as plain lines for a terminal, and the documents that --json prints for those without one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deployer.traffic import clock
from deployer.units import format_duration, format_ms

if TYPE_CHECKING:
    from deployer.clients.base import Answer
    from deployer.conformance import ConformanceReport
    from deployer.deployments.state import ServerLog
    from deployer.doctor.findings import DoctorReport
    from deployer.optimization.edgebundle import EdgeBundle
    from deployer.optimization.report import LadderReport
    from deployer.pricing.book import Price
    from deployer.profiles import Profile
    from deployer.runs import Run
    from deployer.traffic.trace import TrafficTrace

_MARKS = {"good": ("✔", "ok"), "bad": ("✘", "x"), "open": ("?", "?")}


def mark(kind: str, ascii_only: bool) -> str:
    """Return a tick, a cross or a question mark that the terminal can show."""
    return _MARKS[kind][ascii_only]


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Align columns with two spaces between; the last column runs free."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join([*cells, row[-1]])).rstrip())
    return "\n".join(lines)


def json_text(document: Mapping[str, Any]) -> str:
    """Return a JSON file's text."""
    return json.dumps(document, indent=1) + "\n"


def ladder(report: LadderReport) -> str:
    """Return one row per rung and the conclusion."""
    rows = report.table()
    head = ("rung", "score", "size", "speed", "status", "reason")
    cells = [head, *([row[key] for key in head] for row in rows)]
    return f"{table(cells)}\n\n{report.conclusion}"


def edge(bundle: EdgeBundle) -> str:
    """Return what one thread takes for the file and for its source, and each gate."""
    rows = [("", "file MB", "memory MB", "ms, one thread")]
    size = bundle.source.size_bytes
    for name, large, took in (
        ("model.ort", bundle.size_bytes, bundle.measured),
        (bundle.source.path.name, size, bundle.source_measured),
    ):
        ends = f"{format_ms(took.latency_low_ms)} to {format_ms(took.latency_high_ms)}"
        memory = f"{took.memory_bytes / 1e6:.1f}"
        rows.append((name, f"{large / 1e6:.2f}", memory, f"{format_ms(took.latency_ms)} ({ends})"))
    gates = [
        f"{'holds' if verdict.passed else 'FAILS'}: {verdict.reason}"
        for verdict in bundle.gates.values()
    ]
    equal = (
        f"for {bundle.target}, {len(bundle.operators)} operators; off by {bundle.difference:.2g} of an output's "
        f"largest value on {bundle.requests}"
    )
    return "\n".join([table(rows), equal, *gates])


def conformance(report: ConformanceReport, *, ascii_only: bool) -> str:
    """Return one line per rule; a broken one is followed by its fix."""
    kinds = {"passed": "good", "broken": "bad", "not played": "open"}
    lines = []
    for rule in report.rules:
        lines.append(f"{mark(kinds[rule.outcome], ascii_only)} {rule.rule}: {rule.seen}")
        if rule.outcome == "broken":
            lines.append(f"    fix: {rule.fix}")
    played = [rule for rule in report.rules if rule.outcome != "not played"]
    good = sum(rule.outcome == "passed" for rule in played)
    lines.append(f"{report.name} {report.digest[:12]}: {good} of {len(played)} rules hold")
    return "\n".join(lines)


def profile(value: Profile) -> str:
    """Return the service times and what one instance can serve."""
    rows = [("batch", "mean ms", "ms per item", "req/s of one instance")]
    for size, time in sorted(value.service_time_ms.items()):
        rate = value.workers * size * 1000 / time.mean
        rows.append((str(size), format_ms(time.mean), format_ms(time.mean / size), f"{rate:,.0f}"))
    head = (
        f"{value.name} {value.bundle_digest[:12]} {value.precision}, measured {value.date} on "
        f"{value.hardware.get('cpu', 'an unknown processor')}: {value.workers} workers of "
        f"{value.threads} threads"
    )
    foot = (
        f"starts in {value.startup_s:.1f} s, {value.memory_mb:.0f} MiB; "
        f"at most {value.capacity_rps:,.0f} requests/s"
    )
    return f"{head}\n{table(rows)}\n{foot}"


def trace(value: TrafficTrace) -> str:
    """Return what a trace holds, in one line."""
    when = "" if value.start is None else f" from {clock.text(value.start)}"
    return (
        f"{value.name}: {len(value):,} requests in {format_duration(value.duration_s)}{when}, "
        f"{value.mean_rps:.3g} per second on average ({value.digest[:12]})"
    )


def trace_document(value: TrafficTrace) -> dict[str, Any]:
    """Return a trace's summary; its arrivals are in the file. ``start`` is null where it is unknown."""
    return {
        "name": value.name,
        "requests": len(value),
        "duration_s": value.duration_s,
        "start": None if value.start is None else clock.text(value.start),
        "mean_rps": value.mean_rps,
        "digest": value.digest,
        "origin": value.origin,
    }


def run(value: Run) -> str:
    """Return a run in six lines, and one for each reason for which requests failed."""
    summary = value.latency()
    cells = {
        "mean": summary.mean,
        "p50": summary.p50,
        "p90": summary.p90,
        "p99": summary.p99,
    }
    latency = ", ".join(
        f"{key} {'n/a' if ms is None else format_ms(ms)}" for key, ms in cells.items()
    )
    if summary.p99 is None:
        latency += f" (p99 needs 1,000 successes, these are {summary.count:,})"
    counts = run_document(value)["status_counts"]
    codes = ", ".join(
        f"{code if code != '0' else 'no answer'}: {n:,}" for code, n in counts.items()
    )
    rows = [
        (
            "requests",
            f"{value.offered:,} in {format_duration(value.duration_s)}, {value.provenance}",
        ),
        ("success", f"{value.successes:,} ({_share(value.successes, value.offered)})"),
        ("status", codes),
        *_failures(value),
        ("latency ms", latency),
        ("instances", f"{value.capacity.peak} at most"),
    ]
    if value.max_lag_s is not None:
        rows.append(("generator", f"at most {value.max_lag_s * 1000:.1f} ms behind its schedule"))
    return table(rows, indent="")


def _failures(value: Run) -> list[tuple[str, str]]:
    """Return a row for each reason, the most frequent first."""
    statuses = value.details.get("failed_status", {})
    counts = sorted(value.details.get("failed_by", {}).items(), key=lambda item: (-item[1], item))
    rows = [f"{statuses.get(reason) or 'no answer'} {n:,} {reason}" for reason, n in counts]
    return [("" if i else "failed by", row) for i, row in enumerate(rows)]


def run_document(value: Run) -> dict[str, Any]:
    """Return run.json without its samples."""
    document = value.to_json()
    return {k: v for k, v in document.items() if k not in ("samples", "latency_percentiles_ms")}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "of none"


def prices(found: Sequence[Price]) -> str:
    """Return one row per price."""
    head = ("service", "region", "item", "USD", "unit", "as of")
    rows = [(p.sku.service, p.sku.region, p.sku.item, f"{p.usd:f}", p.unit, p.as_of) for p in found]
    return table([head, *rows], indent="")


def prices_document(found: Sequence[Price]) -> list[dict[str, str]]:
    """Return prices with money as text."""
    return [
        {
            "service": p.sku.service,
            "region": p.sku.region,
            "item": p.sku.item,
            "usd": f"{p.usd:f}",
            "unit": p.unit,
            "source": p.source,
            "as_of": p.as_of,
        }
        for p in found
    ]


def answer_document(answer: Answer) -> dict[str, Any]:
    """Return an answer; a body that is not text is base64."""
    try:
        content, encoding = answer.content.decode(), "utf-8"
    except UnicodeDecodeError:
        content, encoding = base64.b64encode(answer.content).decode(), "base64"
    return {
        "status": answer.status,
        "content_type": answer.content_type,
        "content": content,
        "encoding": encoding,
    }


def logs(found: Sequence[ServerLog]) -> str:
    """Return each server's lines under its port."""
    return "\n".join(
        line for log in found for line in (f"== port {log.port} ({log.path})", *log.lines)
    )


def logs_document(found: Sequence[ServerLog]) -> list[dict[str, Any]]:
    """Return the logs as a JSON document."""
    return [asdict(log) for log in found]


def removed(name: str, items: Sequence[str]) -> str:
    """Return what a destroy removed."""
    return "\n".join([*(f"removed {item}" for item in items), f"Nothing is left of {name}."])


def doctor(report: DoctorReport, ascii_only: bool) -> str:
    """Return one line per finding; one that is wrong is followed by its fix."""
    kinds = {"ok": "good", "missing": "bad", "note": "open"}
    lines = []
    for finding in report.findings:
        lines.append(
            f"{mark(kinds[finding.outcome], ascii_only)} {finding.subject}: {finding.seen}"
        )
        if finding.fix:
            lines.append(f"    {finding.fix}")
    return "\n".join(lines)
