"""What the page says, once, so that HTML and Markdown cannot disagree: sentences computed from the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from deployer.cost.report import Bill, Candidate, CostReport, LoadCurve
from deployer.report import findings
from deployer.report.table import BASIS, Row, rows, shown
from deployer.spec.deployment import Slo
from deployer.stats import P99_MIN_SAMPLES
from deployer.units import format_duration, format_usd

OLD_PRICES_DAYS = 90
Level = Literal["PASS", "FAIL", "WARN"]


@dataclass(frozen=True)
class Check:
    """One condition that a pipeline may act on."""

    level: Level
    text: str


@dataclass(frozen=True)
class BillLine:
    """A line item in words: ``quantity unit × usd_per_unit = usd``."""

    item: str
    quantity: str
    unit: str
    usd_per_unit: str
    usd: str
    source: str
    as_of: str


@dataclass(frozen=True)
class BillText:
    """One candidate's bill and how its cost per thousand follows from it."""

    row: Row
    lines: tuple[BillLine, ...]
    total: str
    arithmetic: str


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


@dataclass(frozen=True)
class Content:
    """The sections of the page, in order."""

    name: str
    slo: Slo
    load_curves: tuple[LoadCurve, ...]
    title: tuple[str, ...]
    headline: tuple[str, ...]
    claim: tuple[str, str]
    checks: tuple[Check, ...]
    rows: tuple[Row, ...]
    shown: tuple[Row, ...]
    rest: tuple[Row, ...]
    footnotes: tuple[str, ...]
    findings: tuple[Fact, ...]
    spread: Fact
    sensitivity: tuple[str, ...]
    bill: BillText | None
    bills: tuple[BillText, ...]
    confidence: tuple[Fact, ...]
    assumptions: tuple[Fact, ...]
    not_counted: tuple[str, ...]
    conventions: tuple[str, ...]
    commands: tuple[str, ...]
    environment: tuple[Fact, ...]


def content(
    report: CostReport, today: date | None = None, budget_usd_per_thousand: Decimal | None = None
) -> Content:
    """Return what to say about ``report``; ``today`` gives the prices an age, a budget its verdict."""
    every = rows(report)
    first = shown(every)
    bills = tuple(_bill(row, report) for row in every if row.candidate.bill)
    return Content(
        name=report.name,
        slo=report.slo,
        load_curves=report.load_curves,
        title=tuple(_title(report)),
        headline=report.headline,
        claim=_claim(report.headline),
        checks=tuple(_checks(report, today, budget_usd_per_thousand)),
        rows=every,
        shown=first,
        rest=tuple(row for row in every if row not in first),
        footnotes=tuple(_footnotes(report, every)),
        findings=_findings(every, report),
        spread=Fact("latency", findings.spread_of_latency(every)),
        sensitivity=report.sensitivity or ("No what-if was computed for this report.",),
        bill=next((b for b in bills if b.row.candidate.verdict == "best"), None),
        bills=bills,
        confidence=tuple(_confidence(report)),
        assumptions=_assumptions(every),
        not_counted=report.not_counted,
        conventions=report.conventions,
        commands=report.commands,
        environment=tuple(_environment(report)),
    )


def _claim(headline: Sequence[str]) -> tuple[str, str]:
    """Return the first sentence in two: what to do, and in brackets on what basis, empty without one."""
    first = headline[0] if headline else "There is nothing to compare."
    found = re.search(r" \((?:simulated|measured)\b.*\)\.?$", first)
    return (first[: found.start()], first[found.start() :]) if found else (first, "")


def objective(report: CostReport) -> str:
    """Print the objective: ``p99 ≤ 100 ms``."""
    wanted = [f"{key.removesuffix('_ms')} ≤ {value:g} ms" for key, value in report.slo.items()]
    return ", ".join(wanted) or "no objective"


def _title(report: CostReport) -> Iterator[str]:
    yield report.name
    digests = dict.fromkeys(
        str(p["bundle_digest"])[:12] for p in report.profiles if "bundle_digest" in p
    )
    if digests:
        yield f"bundle {', '.join(digests)}"
    yield f"trace {report.trace_name}"
    yield objective(report)
    yield report.region
    yield f"prices {report.oldest_price}" if report.oldest_price else "no price known"
    if report.tool_version:
        yield f"deployer {report.tool_version}"


def _checks(report: CostReport, today: date | None, budget: Decimal | None) -> Iterator[Check]:
    best = report.best
    if budget is not None:
        yield _budget(best, budget)
    judged = [c for c in report.candidates if c.verdict != "unknown"]
    met = [c for c in judged if c.verdict in ("best", "meets")]
    if not report.slo.items():
        yield Check("WARN", "no objective set: the cheapest wins, however slow")
    else:
        level: Level = "PASS" if best else "FAIL"
        yield Check(level, f"{objective(report)}: met by {len(met)} of {len(judged)} candidates")
    unknown = len(report.candidates) - len(judged)
    if unknown:
        yield Check("WARN", f"{unknown} of {len(report.candidates)} candidates unknown")
    yield from _price_age(report.oldest_price, today)


def _budget(best: Candidate | None, budget: Decimal) -> Check:
    stated = f"budget ${budget:f} per 1,000"
    if best is None or best.usd_per_thousand is None:
        return Check("FAIL", f"{stated}: no candidate to hold to it")
    if best.usd_per_thousand > budget:
        return Check("FAIL", f"{stated}: exceeded, ${format_usd(best.usd_per_thousand, 3)}")
    unused = f" ({1 - best.usd_per_thousand / budget:.0%} unused)" if budget else ""
    return Check("PASS", f"{stated}{unused}")


def _price_age(oldest: str | None, today: date | None) -> Iterator[Check]:
    """Judge the oldest price; one dated to the month counts from its first day."""
    if oldest is None or today is None:
        return
    try:
        age = (today - date.fromisoformat(f"{oldest}-01"[:10])).days
    except ValueError:
        yield Check("WARN", f"age of prices unknown: {oldest}")
        return
    level: Level = "WARN" if age > OLD_PRICES_DAYS else "PASS"
    yield Check(level, f"oldest price {age} days old")


def _footnotes(report: CostReport, every: Sequence[Row]) -> Iterator[str]:
    yield (
        f"USD per month: the cost of this trace ({format_duration(report.trace_duration_s)}) "
        "carried to 730 hours."
    )
    used = [x for x in "MSA" if any(x in row.basis.split() for row in every)]
    yield f"Basis: {'; '.join(f'{x} {BASIS[x]}' for x in used)}." if used else "Basis: none."
    yield (
        f"Objective met: share of offered requests answered correctly within the objective "
        f"({objective(report)}); refused and failed requests count as misses. "
        f"p50 and p99 are of successful requests; p99 is stated from {P99_MIN_SAMPLES:,} of them up."
    )
    if any(row.candidate.usd_interval is not None for row in every):
        yield f"±: half the 95% interval over {len(report.seeds)} seeds of the simulation."


def _findings(every: Sequence[Row], report: CostReport) -> tuple[Fact, ...]:
    return (
        Fact("cost-latency", findings.cost_latency(every)),
        Fact("cost-load", findings.cost_load(report.load_curves)),
        Fact("day", findings.whole_day(every)),
        Fact("money", findings.where_money_goes(every)),
    )


def _bill(row: Row, report: CostReport) -> BillText:
    bill = row.candidate.bill
    assert bill is not None
    lines = tuple(
        BillLine(
            item=line.item,
            quantity=_number(line.quantity),
            unit=line.unit,
            usd_per_unit=_number(line.usd_per_unit, most=12),
            usd=f"{line.usd:,.6f}",
            source=line.source,
            as_of=line.as_of,
        )
        for line in bill.line_items
    )
    return BillText(row, lines, f"{bill.usd:,.6f}", _arithmetic(row.candidate, bill, report))


def _number(value: Decimal, most: int = 6) -> str:
    """Print a quantity with at most ``most`` decimals and no trailing zeros."""
    text = f"{value:,.{most}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _arithmetic(candidate: Candidate, bill: Bill, report: CostReport) -> str:
    per_thousand = bill.usd_per_thousand
    if per_thousand is None:
        return f"{bill.usd:,.6f} USD and no successful request: no cost per thousand."
    text = (
        f"{bill.usd:,.6f} USD ÷ {bill.successes:,} successful requests × 1,000 "
        f"= {per_thousand:.8f} USD per 1,000"
    )
    stated = candidate.usd_per_thousand
    if stated is None or f"{stated:.8f}" == f"{per_thousand:.8f}":
        return f"{text}."
    return (
        f"{text} in the run billed here; the table's {stated:.8f} is the mean "
        f"over {len(report.seeds)} seeds."
    )


def _confidence(report: CostReport) -> Iterator[Fact]:
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


def _assumptions(every: Sequence[Row]) -> tuple[Fact, ...]:
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


def _environment(report: CostReport) -> Iterator[Fact]:
    yield Fact("trace", f"{report.trace_name}, sha256 {report.trace_digest}")
    for profile in report.profiles:
        yield Fact(f"profile {profile.get('name', '')}".strip(), _facts(profile))
    for number, run in enumerate(report.measured, start=1):
        yield Fact(f"load test {number}", _facts(run))


_UNTOLD = frozenset({"schema_version", "name", "capacity", "assumptions"})


def _facts(document: Mapping[str, Any]) -> str:
    """Print the plain values of a document, one level of nesting deep; lists are left to the JSON."""
    told = [(key, _fact(value)) for key, value in document.items() if key not in _UNTOLD]
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
