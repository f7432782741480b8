"""What the stack of a fleet consists of, in words for people: pure."""

from __future__ import annotations

from deployer.spec.fleet import ENDPOINTS, NAT
from deployer.spec.fleet_resolved import ResolvedFleet


def parts(resolved: ResolvedFleet) -> tuple[tuple[str, str], ...]:
    """Return what the stack consists of, in words for people."""
    target = resolved.target
    network = target.network
    ways = {NAT: "private, behind NAT", ENDPOINTS: "private, VPC endpoints only"}
    where = ways.get(network.egress, "public, without NAT")
    vpc = f"a new VPC {network.cidr}" if network.made else network.vpc_id
    kinds = ", ".join(row.instance_type for row in target.types) or target.instance_type
    size = (
        f"{resolved.least}"
        if resolved.least == resolved.most
        else f"{resolved.least} to {resolved.most}"
    )
    paid = ""
    if target.spot is not None:
        spot = target.spot
        paid = f"; {spot.on_demand_base} on demand, above it {100 - spot.on_demand_percent}% spot"
    rows = [("network", f"{vpc}; instances {where}"), ("group", f"{size} x {kinds}{paid}")]
    if target.warm_pool is not None:
        rows.append(("warm pool", f"{target.warm_pool.size} {target.warm_pool.state}"))
    if target.listener is not None:
        who = ", ".join(target.listener.allow_cidrs) or "nobody"
        rows.append(("load balancer", f"{target.listener.protocol.upper()}, open to {who}"))
    if resolved.queue:
        rows.append(("queue", f"{resolved.queue}, results in {resolved.results_s3_uri}"))
    scaling = resolved.scaling
    if scaling is not None:
        names = [row.name for row in scaling.tracking]
        names += [row.name for row in scaling.stepping]
        names += [row.name for row in scaling.schedules]
        rows.append(("scaling", f"{', '.join(names)} ({scaling.basis})"))
    refresh = resolved.refresh
    stops = (
        f", watched by {len(resolved.rollback_alarms)} alarms" if resolved.rollback_alarms else ""
    )
    stages = f", stages {', '.join(map(str, refresh.checkpoints))}%" if refresh.checkpoints else ""
    most = refresh.most_percent
    rows.append(
        ("new versions", f"instance refresh, {refresh.least_percent} to {most}%{stages}{stops}")
    )
    return tuple(rows)
