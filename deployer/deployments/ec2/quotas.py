"""Whether the account's quotas of vCPUs hold the largest fleet: pure.

EC2 counts vCPUs by family and by how they are paid. Source: "Amazon EC2 instance type quotas" of its user guide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deployer.deployments.plan import Check
from deployer.errors import DeployerError
from deployer.pricing.book import PriceBook
from deployer.spec.fleet import FleetType
from deployer.spec.fleet_resolved import ResolvedFleet

ON_DEMAND, SPOT = "L-1216C47A", "L-34B43A08"
"""The codes of the two quotas of the standard families, in vCPUs."""

STANDARD = frozenset("acdhimrtz")
"""The families that these quotas count, by their first letter; all others have quotas of their own."""

_OTHERS = ("inf", "trn", "hpc", "mac", "dl", "im", "is")
_NAMES = {ON_DEMAND: "Running On-Demand Standard instances", SPOT: "All Standard Spot requests"}


@dataclass(frozen=True)
class Need:
    """vCPUs that a fleet at its largest counts against a quota; ``peak`` while a new version comes in."""

    code: str
    most: int
    peak: int


def needs(resolved: ResolvedFleet, book: PriceBook) -> tuple[Need, ...]:
    """Return what the largest fleet needs; empty where a type has a quota of its own or no known shape."""
    target = resolved.target
    rows = target.types or (FleetType(target.instance_type),)
    sizes = []
    for row in rows:
        shape = book.shape(row.instance_type)
        if shape is None or not _standard(row.instance_type):
            return ()
        sizes.append(shape.vcpu / row.weight)
    each = max(sizes)  # of one unit of capacity
    units = resolved.most + (target.warm_pool.size if target.warm_pool else 0)
    spare = max(0, resolved.refresh.most_percent - 100) / 100
    kept = float(units)
    if target.spot is not None:
        base = min(resolved.most, target.spot.on_demand_base)
        kept = base + (resolved.most - base) * target.spot.on_demand_percent / 100
    shares = ((ON_DEMAND, kept), (SPOT, units - kept))
    return tuple(
        Need(code, math.ceil(part * each), math.ceil(part * (1 + spare) * each))
        for code, part in shares
        if part
    )


def check(
    resolved: ResolvedFleet, book: PriceBook, ask: Callable[[str], float | None]
) -> Iterator[Check]:
    """Hold the quotas against the fleet; ``ask`` returns one by its code, None where it cannot be asked.

    Raises DeployerError for one that the largest fleet exceeds. What else runs in the account is not known.
    """
    found = needs(resolved, book)
    if not found:
        yield Check("quota", "note", "vCPUs: not checked, its types have quotas of their own")
    for need in found:
        name, value = f"{_NAMES[need.code]} ({need.code})", ask(need.code)
        if value is None:
            yield Check("quota", "note", f"{name}: not checked, service-quotas cannot be asked")
            continue
        if need.most > value:
            raise DeployerError(
                f"the quota {name} is {value:g} vCPUs; the largest fleet needs {need.most}",
                hint="ask AWS for more under Service Quotas, or lower the bounds",
            )
        tight = need.peak > value
        words = f" (a new version needs up to {need.peak} at once: it may not fit)" if tight else ""
        text = f"{need.most} of {value:g} vCPUs, {name}{words}"
        yield Check("quota", "note" if tight else "ok", text)


def _standard(instance_type: str) -> bool:
    family = instance_type.partition(".")[0]
    return family[:1] in STANDARD and not family.startswith(_OTHERS)
