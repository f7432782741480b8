"""Entry to Candidate: price its runs, measure them against the objective, say why it misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from deployer.cost.bill import bill
from deployer.cost.materials import Made
from deployer.cost.objective import attainments, binding, explain_miss
from deployer.cost.report import Bill, Candidate, Verdict
from deployer.cost.use import HOURS_PER_MONTH
from deployer.errors import InputError, UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.profiles import Profile
from deployer.runs import Run
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.target import SageMakerServerless
from deployer.stats import student_half_width


@dataclass(frozen=True)
class Entry:
    """One way to serve the trace, before it is priced: a run for each seed, or why there is none.

    ``made`` is what it makes beside its instances.
    """

    name: str
    spec: DeploymentSpec
    profile: Profile | None = None
    runs: tuple[Run, ...] = ()
    unknown_reason: str | None = None
    made: Made = Made()

    def __post_init__(self) -> None:
        if bool(self.runs) == bool(self.unknown_reason):
            raise InputError(
                f"entry {self.name!r} must have either runs or an unknown_reason",
                hint="simulate it, or say why it cannot be",
            )


def assess(entry: Entry, slo: Slo, book: PriceBook) -> Candidate:
    """Price an entry and measure it against the objective; its verdict is meets, misses or unknown.

    Cost, bill, latency and counts are those of one run: with several seeds, the run of median cost (the
    lower of two). ``usd_interval`` is the 95% interval over the seeds. Shares of the objective are over
    all seeds. A missing price makes the candidate unknown, with the reason.
    """
    if not entry.runs:
        return _unknown(entry, entry.unknown_reason or "")
    try:
        bills = [bill(run, entry.spec, book, entry.made) for run in entry.runs]
    except UnknownPrice as error:
        return _unknown(entry, error.message)
    costs = [each.usd_per_thousand for each in bills]
    order = sorted(range(len(bills)), key=lambda i: (costs[i] is None, costs[i] or 0, i))
    middle = order[(len(order) - 1) // 2]
    return _known(entry, slo, bills[middle], entry.runs[middle], _interval(costs))


def _known(entry: Entry, slo: Slo, chosen: Bill, run: Run, interval: Decimal | None) -> Candidate:
    shares = attainments(entry.runs, slo)
    worst = binding(shares)
    cost = chosen.usd_per_thousand
    reason = explain_miss(entry.runs, slo)
    return Candidate(
        name=entry.name,
        target=entry.spec.target.kind,
        precision=entry.profile.precision if entry.profile else "",
        spec=serde.to_dict(entry.spec),
        verdict="misses" if reason or cost is None else "meets",
        reason=reason or ("" if cost is not None else "no request succeeded"),
        usd_per_thousand=cost,
        usd_interval=interval,
        usd_per_month=chosen.usd * HOURS_PER_MONTH * 3600 / Decimal(repr(run.duration_s)),
        bill=chosen,
        latency_ms=run.latency(),
        slo_attainment=worst[1] if worst else None,
        offered=run.offered,
        successes=run.successes,
        failures=run.failures,
        refused=run.refused,
        instances=_instances(entry.spec, run),
        provenance=run.provenance,
        assumptions=run.assumptions,
        unknown_reason=None if cost is not None else "no request succeeded",
        attainments=shares,
        run=run,
    )


def _unknown(entry: Entry, reason: str) -> Candidate:
    verdict: Verdict = "unknown"
    return Candidate(
        name=entry.name,
        target=entry.spec.target.kind,
        precision=entry.profile.precision if entry.profile else "",
        spec=serde.to_dict(entry.spec),
        verdict=verdict,
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


def _interval(costs: Sequence[Decimal | None]) -> Decimal | None:
    known = [float(cost) for cost in costs if cost is not None]
    if len(known) < max(2, len(costs)):
        return None
    return Decimal(repr(student_half_width(known)))


def _instances(spec: DeploymentSpec, run: Run) -> tuple[int, int] | None:
    if isinstance(spec.target, SageMakerServerless) or not len(run.capacity.billed):
        return None
    return int(run.capacity.billed.min()), run.capacity.peak
