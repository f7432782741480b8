"""The ladder of quantization in words: rungs, what each gate saw, the finding of its plot.

It reads the document that ``ladder.json`` holds, so that it needs nothing of what optimises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from deployer.report.escape import markdown, markdown_name, visible
from deployer.report.table import money, money_decimals
from deployer.units import format_ms

FEW_ROUNDS = 7
"""A speed from fewer rounds than this is marked as such."""

MARKS = {"baseline": "", "kept": "", "refused": "✘", "failed": "✘"}
SAID = {
    "best": "best: what to deploy",
    "baseline": "the model as it came",
    "kept": "passed every gate",
    "refused": "did not pass a gate",
    "failed": "could not be built or run",
}


@dataclass(frozen=True)
class Span:
    """A measured value between ``low`` and ``high``; an end that the data leave open is None."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Rung:
    """One rung in words, and its numbers for the plot; what was not measured is empty or None."""

    key: int
    name: str
    precision: str
    status: str
    mark: str
    reason: str
    score: str
    drop_text: str
    drop_range: str
    size_text: str
    latency_ms: str
    speed_text: str
    speed_range: str
    usd: str
    drop: Span | None
    speed: Span | None
    size_ratio: float | None

    @property
    def label(self) -> str:
        """What names the rung in a plot."""
        return visible(f"{self.mark} {self.key}  {self.name}".lstrip())


@dataclass(frozen=True)
class Ladder:
    """The page of a ladder: ``finding`` states what its plot shows."""

    conclusion: str
    title: tuple[str, ...]
    max_drop: float
    metric: str
    rungs: tuple[Rung, ...]
    finding: str
    footnotes: tuple[str, ...]


_MADE = {
    "synthetic": " The rows were made of the model's inputs, so that no rung with fixed scales was tried."
}


def ladder(document: Mapping[str, Any]) -> Ladder:
    """Return what to say about a parsed ladder.json."""
    best = document["best"]
    records: Sequence[Mapping[str, Any]] = document["rungs"]
    whole = next((r["variant"]["size_bytes"] for r in records if r["status"] == "baseline"), None)
    costs = [r["usd_per_thousand"] for r in records]
    decimals = money_decimals(None if cost is None else Decimal(cost) for cost in costs)
    rungs = tuple(
        _rung(key, record, record["name"] == best, whole, decimals)
        for key, record in enumerate(records, start=1)
    )
    return Ladder(
        conclusion=document["conclusion"],
        title=_title(document),
        max_drop=document["max_drop"],
        metric=document["metric"],
        rungs=rungs,
        finding=_finding(rungs, best, len(records) - 1),
        footnotes=_footnotes(document),
    )


def _title(document: Mapping[str, Any]) -> tuple[str, ...]:
    hardware = document["hardware"]
    labels = () if document.get("data", "given") == "given" else ("no labels",)
    return (
        "quantization ladder",
        f"{document['metric']} may drop by {document['max_drop']:g}",
        *labels,
        str(hardware.get("cpu", "unknown processor")),
        f"{document['threads']} thread{'s' if document['threads'] != 1 else ''}",
        f"seed {document['seed']}",
    )


def _rung(
    key: int, record: Mapping[str, Any], best: bool, whole: int | None, decimals: int
) -> Rung:
    variant = record["variant"] or {}
    score, size = variant.get("score"), variant.get("size_bytes")
    baseline = record["status"] == "baseline"
    speed = Span(1.0, 1.0, 1.0) if baseline else _span(record["speedup"], "median")
    drop = Span(0.0, 0.0, 0.0) if baseline else _span(record["drop"], "value")
    cost = record["usd_per_thousand"]
    return Rung(
        key=key,
        name=record["name"],
        precision=record["precision"],
        status="best" if best else record["status"],
        mark="✔" if best else MARKS[record["status"]],
        reason=record["reason"],
        score="" if score is None else f"{score:.4f}",
        drop_text="" if drop is None or baseline else f"{drop.value:.4f}",
        drop_range="" if baseline else _range(drop, 4),
        size_text="" if size is None else f"{size / 1e6:,.2f}",
        latency_ms=_latency(record["latency_ms"]),
        speed_text="" if speed is None else f"{speed.value:.2f}×",
        speed_range="" if baseline else _range(speed, 2) + _rounds(record["speedup"]),
        usd="" if cost is None else money(Decimal(cost), decimals),
        drop=drop,
        speed=speed,
        size_ratio=size / whole if size and whole else None,
    )


def _span(record: Mapping[str, float | None] | None, middle: str) -> Span | None:
    if record is None or record[middle] is None:
        return None
    return Span(float(record[middle] or 0.0), record["low"], record["high"])


def _range(span: Span | None, decimals: int) -> str:
    if span is None:
        return ""
    low, high = ("open" if end is None else f"{end:.{decimals}f}" for end in (span.low, span.high))
    return f"{low} to {high}"


def _rounds(record: Mapping[str, Any] | None) -> str:
    few = record is not None and record.get("rounds", FEW_ROUNDS) < FEW_ROUNDS
    return f", {record['rounds']} rounds" if few and record else ""


def _latency(by_case: Mapping[str, float] | None) -> str:
    return ", ".join(f"{case}: {format_ms(ms)}" for case, ms in (by_case or {}).items())


def _finding(rungs: Sequence[Rung], best: str, tried: int) -> str:
    passed = len([r for r in rungs if r.status in ("kept", "best")]) - (rungs[0].status == "best")
    text = f"{passed} of {tried} rungs pass every gate"
    chosen = next((r for r in rungs if r.name == best), None)
    if chosen is None or chosen.speed is None:
        return f"{text}."
    if chosen is rungs[0]:
        return f"{text}; {best} stays."
    size = "" if chosen.size_ratio is None else f" at {chosen.size_ratio:.2f} of its size"
    return f"{text}; {best} is {chosen.speed.value:.2f} times as fast as {rungs[0].name}{size}."


def _footnotes(document: Mapping[str, Any]) -> tuple[str, ...]:
    details: Mapping[str, Any] = document.get("details", {})
    notes = [
        f"Drop: how far {document['metric']} falls below FP32's on the same rows, with its interval; "
        f"more than {document['max_drop']:g} is refused.",
        "Speed: FP32's time over the rung's, both timed in turn on this machine, with its 95% interval; "
        "a rung that fails the accuracy gate is timed in a few rounds only.",
    ]
    if (kind := document.get("data", "given")) != "given":
        notes.append(f"Judged by {document['judged_by']}: no label was seen.{_MADE.get(kind, '')}")
    if "clock" in details:
        notes.append(
            f"Measured on {details['evaluation_rows']:,} rows; latency by {details['clock']}, "
            f"{_hardware(document['hardware'])}."
        )
    if shared := details.get("rows_in_both_sets"):
        notes.append(f"{shared:,} of the rows were calibrated on too, which flatters the scores.")
    for name, reason in details.get("not_tried", {}).items():
        notes.append(f"Not tried: {name}. {reason}.")
    return tuple(notes)


def _hardware(machine: Mapping[str, str]) -> str:
    cores = machine.get("cores", "unknown")
    return f"{machine.get('cpu', 'unknown processor')}, {cores} cores, {machine.get('features', 'features unknown')}"


def to_markdown(page: Ladder) -> str:
    """Return the ladder as Markdown."""
    heads = (
        "",
        "rung",
        page.metric,
        "drop",
        "size MB",
        "latency ms",
        "speed",
        "USD / 1k",
        "status",
        "why",
    )
    lines = [f"| {' | '.join(map(markdown, heads))} |", f"|{'---|' * len(heads)}"]
    for r in page.rungs:
        drop, speed = (f"{r.drop_text} ({r.drop_range})", f"{r.speed_text} ({r.speed_range})")
        measured = (drop if r.drop_range else r.drop_text, speed if r.speed_range else r.speed_text)
        texts = (
            r.score,
            measured[0],
            r.size_text,
            r.latency_ms,
            measured[1],
            r.usd,
            r.status,
            r.reason,
        )
        lines.append(f"| {r.mark} | {markdown_name(r.name)} | {' | '.join(map(markdown, texts))} |")
    notes = "\n".join(f"<sub>{markdown(note)}</sub><br>" for note in page.footnotes)
    title = f"<sub>{markdown(' · '.join(page.title))}</sub>"
    parts = (
        title,
        f"**{markdown(page.conclusion)}**",
        "\n".join(lines),
        markdown(page.finding),
        notes,
    )
    return "\n\n".join(parts) + "\n"
