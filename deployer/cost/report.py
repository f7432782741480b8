"""CostReport: candidates side by side, as plain data that ``report`` prints and CI reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from deployer.runs import Provenance, Run
from deployer.spec.deployment import Slo
from deployer.stats import LatencySummary

SCHEMA_VERSION = 1
Verdict = Literal["best", "meets", "misses", "unknown"]


@dataclass(frozen=True)
class LineItem:
    """One priced quantity: ``usd = quantity * usd_per_unit``; ``source`` and ``as_of`` are the price's."""

    item: str
    quantity: Decimal
    unit: str
    usd_per_unit: Decimal
    usd: Decimal
    source: str
    as_of: str


@dataclass(frozen=True)
class Bill:
    """What one Run costs: the total is the sum of its lines."""

    line_items: tuple[LineItem, ...]
    successes: int

    @property
    def usd(self) -> Decimal:
        """Total in USD."""
        return sum((line.usd for line in self.line_items), Decimal(0))

    @property
    def usd_per_thousand(self) -> Decimal | None:
        """USD per thousand successful requests; None when nothing succeeded."""
        return self.usd * 1000 / self.successes if self.successes else None

    @property
    def oldest_price(self) -> str:
        """The earliest ``as_of`` of its prices."""
        return min(line.as_of for line in self.line_items)


@dataclass(frozen=True)
class Candidate:
    """One way to serve the trace: what it costs, how fast it is, and whether it meets the objective.

    ``usd_per_thousand`` is None where a price or a profile is unknown; ``unknown_reason`` says which.
    ``usd_interval`` is the half-width of the 95% interval over the seeds, in USD per thousand.
    ``slo_attainment`` is the share of offered requests that succeed within the objective, of several the
    one with the least margin; ``attainments`` has each, by its key (``p99_ms``).
    ``tied``: meets, and its cost cannot be told apart from the best's.
    ``spec`` is the deployment as plain data, ready to be written as TOML.
    """

    name: str
    target: str
    precision: str
    spec: Mapping[str, Any]
    verdict: Verdict
    reason: str
    usd_per_thousand: Decimal | None
    usd_interval: Decimal | None
    usd_per_month: Decimal | None
    bill: Bill | None
    latency_ms: LatencySummary | None
    slo_attainment: float | None
    offered: int
    successes: int
    failures: int
    refused: int
    instances: tuple[int, int] | None
    provenance: Provenance | None
    assumptions: tuple[str, ...] = ()
    unknown_reason: str | None = None
    rank: int | None = None
    tied: bool = False
    attainments: Mapping[str, float] = field(default_factory=dict)
    run: Run | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LoadPoint:
    """What a candidate costs and whether it meets the objective at a load, in mean requests per second."""

    rps: float
    usd_per_thousand: Decimal | None
    meets: bool


@dataclass(frozen=True)
class LoadCurve:
    """One candidate simulated at several loads, rising."""

    candidate: str
    points: tuple[LoadPoint, ...]


@dataclass(frozen=True)
class CostReport:
    """All candidates, best first, over one trace and one objective.

    ``headline`` is computed: the winner, its cost and latency; then the runner-up and by how much.
    ``not_counted`` and ``conventions`` are sentences: what is not in a bill, and how a bill is counted.
    ``measured`` are the load tests behind the profiles. ``load_curves`` are empty unless the candidates
    were simulated again at other loads.
    """

    name: str
    region: str
    trace_name: str
    trace_digest: str
    trace_requests: int
    trace_duration_s: float
    slo: Slo
    candidates: tuple[Candidate, ...]
    headline: tuple[str, ...]
    oldest_price: str | None
    seeds: tuple[int, ...]
    profiles: tuple[Mapping[str, Any], ...]
    measured: tuple[Mapping[str, Any], ...] = ()
    sensitivity: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    not_counted: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    load_curves: tuple[LoadCurve, ...] = ()
    commands: tuple[str, ...] = ()
    tool_version: str = ""

    @property
    def best(self) -> Candidate | None:
        """The cheapest candidate that meets the objective."""
        return next((c for c in self.candidates if c.verdict == "best"), None)
