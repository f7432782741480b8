"""A CostReport as plain tables: JSON for programs, CSV for sheets, text for the terminal.

The three show the same candidates in the same order with the same units. Money travels as text with all
its digits; an unknown is null (empty in CSV) and says why.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from deployer.cost.report import SCHEMA_VERSION, CostReport, LineItem, LoadCurve
from deployer.report.escape import csv_cell
from deployer.report.table import Row, rows, unknown_reason
from deployer.report.terminal import terminal_table
from deployer.stats import P99_MIN_SAMPLES, LatencySummary

__all__ = ["candidates_csv", "dumps", "plain", "terminal_table", "to_json"]

_MEETS = {"best": True, "meets": True, "misses": False, "unknown": None}


def to_json(report: CostReport) -> dict[str, Any]:
    """Return the report.json document; equal reports give equal documents."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": report.name,
        "region": report.region,
        "trace": {
            "name": report.trace_name,
            "sha256": report.trace_digest,
            "requests": report.trace_requests,
            "duration_s": report.trace_duration_s,
        },
        "slo": dict(report.slo.items()),
        "headline": list(report.headline),
        "best": report.best.name if report.best else None,
        "oldest_price": report.oldest_price,
        "candidates": [_candidate(row) for row in rows(report)],
        "seeds": list(report.seeds),
        "profiles": plain(report.profiles),
        "measured": plain(report.measured),
        "sensitivity": list(report.sensitivity),
        "calibration": list(report.calibration),
        "load_curves": [_curve(curve) for curve in report.load_curves],
        "conventions": list(report.conventions),
        "not_counted": list(report.not_counted),
        "commands": list(report.commands),
        "tool_version": report.tool_version,
    }


def dumps(report: CostReport) -> str:
    """Return report.json as ASCII text. Raises ValueError for a number that is not finite."""
    return json.dumps(to_json(report), indent=1, allow_nan=False) + "\n"


def _candidate(row: Row) -> dict[str, Any]:
    c = row.candidate
    return {
        "id": row.anchor,
        "name": c.name,
        "target": c.target,
        "precision": c.precision,
        "rank": c.rank,
        "verdict": c.verdict,
        "meets_objective": _MEETS[c.verdict],
        "reason": c.reason,
        "unknown_reason": unknown_reason(c),
        "usd_per_thousand": _money(c.usd_per_thousand),
        "usd_per_thousand_half_width": _money(c.usd_interval),
        "usd_per_month": _money(c.usd_per_month),
        "usd": _money(c.bill.usd if c.bill else None),
        "line_items": [_line(line) for line in c.bill.line_items] if c.bill else None,
        "latency_ms": _latency(c.latency_ms),
        "slo_attainment": c.slo_attainment,
        "attainments": dict(c.attainments),
        "tied": c.tied,
        "offered": c.offered,
        "successes": c.successes,
        "failures": c.failures,
        "refused": c.refused,
        "instances": list(c.instances) if c.instances else None,
        "provenance": c.provenance,
        "assumptions": list(c.assumptions),
        "spec": plain(c.spec),
    }


def _line(line: LineItem) -> dict[str, str]:
    return {
        "item": line.item,
        "quantity": f"{line.quantity:f}",
        "unit": line.unit,
        "usd_per_unit": f"{line.usd_per_unit:f}",
        "usd": f"{line.usd:f}",
        "source": line.source,
        "as_of": line.as_of,
    }


def _curve(curve: LoadCurve) -> dict[str, Any]:
    points = [
        {"rps": p.rps, "usd_per_thousand": _money(p.usd_per_thousand), "meets_objective": p.meets}
        for p in curve.points
    ]
    return {"candidate": curve.candidate, "points": points}


def _latency(latency: LatencySummary | None) -> dict[str, Any] | None:
    if latency is None:
        return None
    short = latency.p99 is None
    return {
        "mean": latency.mean,
        "p50": latency.p50,
        "p90": latency.p90,
        "p99": latency.p99,
        "samples": latency.count,
        "unknown_reason": _too_few(latency.count) if short else None,
    }


def _too_few(count: int) -> str:
    return f"p99 needs {P99_MIN_SAMPLES:,} samples, there are {count:,}"


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def plain(value: Any) -> Any:
    """Return a value made of dicts, lists, text and numbers only; Decimal becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return f"{value:f}" if isinstance(value, Decimal) else value


def candidates_csv(report: CostReport) -> str:
    """Return report.csv: a line a candidate, the JSON's names as heads."""
    lines = [_flat(_candidate(row)) for row in rows(report)]
    return _csv(lines, list(_flat_heads()))


def _flat_heads() -> tuple[str, ...]:
    return (
        *("rank", "name", "target", "precision", "verdict", "meets_objective"),
        *("usd_per_thousand", "usd_per_thousand_half_width", "usd_per_month", "usd"),
        *("mean_ms", "p50_ms", "p90_ms", "p99_ms", "samples", "slo_attainment"),
        *("offered", "successes", "failures", "refused", "instances_min", "instances_max"),
        *("provenance", "assumptions", "reason", "unknown_reason"),
    )


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    latency = document["latency_ms"] or {}
    low, high = document["instances"] or (None, None)
    return {
        **document,
        **{f"{key}_ms": latency.get(key) for key in ("mean", "p50", "p90", "p99")},
        "samples": latency.get("samples"),
        "instances_min": low,
        "instances_max": high,
        "assumptions": len(document["assumptions"]),
    }


def _csv(lines: list[dict[str, Any]], heads: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, heads, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({head: _cell(line[head]) for head in heads})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return csv_cell(value)
    return value
