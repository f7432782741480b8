"""What the page says, once, so that HTML and Markdown cannot disagree: sentences computed from the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from deployer.cost.report import CostReport, LoadCurve
from deployer.report import findings
from deployer.report.bills import BillText, bill_text
from deployer.report.checks import Check, checks, objective
from deployer.report.facts import Fact, assumptions, confidence, environment
from deployer.report.table import BASIS, Row, rows, shown
from deployer.spec.deployment import Slo
from deployer.stats import P99_MIN_SAMPLES
from deployer.units import format_duration


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
    bills = tuple(bill_text(row, bill) for row in every if (bill := row.candidate.bill))
    return Content(
        name=report.name,
        slo=report.slo,
        load_curves=report.load_curves,
        title=tuple(_title(report)),
        headline=report.headline,
        claim=_claim(report.headline),
        checks=tuple(checks(report, today, budget_usd_per_thousand)),
        rows=every,
        shown=first,
        rest=tuple(row for row in every if row.key not in {each.key for each in first}),
        footnotes=tuple(_footnotes(report, every)),
        findings=_findings(every, report),
        spread=Fact("latency", findings.spread_of_latency(every)),
        sensitivity=report.sensitivity or ("No what-if was computed for this report.",),
        bill=next((b for b in bills if b.row.candidate.verdict == "best"), None),
        bills=bills,
        confidence=tuple(confidence(report)),
        assumptions=assumptions(every),
        not_counted=report.not_counted,
        conventions=report.conventions,
        commands=report.commands,
        environment=tuple(environment(report)),
    )


def _claim(headline: Sequence[str]) -> tuple[str, str]:
    """Return the first sentence in two: what to do, and in brackets on what basis, empty without one."""
    first = headline[0] if headline else "There is nothing to compare."
    found = re.search(r" \((?:simulated|measured)\b.*\)\.?$", first)
    return (first[: found.start()], first[found.start() :]) if found else (first, "")


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
