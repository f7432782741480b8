"""How long an instance of a fleet may take to stop: one sum, which the rule book and planning both use. Seconds."""

from __future__ import annotations

import math

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import DrainBudget
from deployer.spec.target import Ec2Fleet

SPOT_LIMIT_S = 110
"""Of the two minutes that AWS gives a spot instance, what a drain may use: the notice takes time to be seen."""

HOOK_LIMIT_S = 7200
DELAY_FACTOR = 4
LEAST_DELAY_S = 5


def budget(
    spec: DeploymentSpec,
    target: Ec2Fleet,
    drain_s: float,
    request_timeout_s: float,
    p99_s: float | None,
) -> DrainBudget:
    """Add up one drain; ``drain_s`` and ``request_timeout_s`` are the bundle's, ``p99_s`` is the measured one.

    The deregistration delay is what is said, else 4 times the p99 (measured, else the objective's; at least
    5 s), never more than the server's own limit of a request; that limit where no p99 is known.
    """
    limit = SPOT_LIMIT_S if target.spot is not None else HOOK_LIMIT_S
    server = math.ceil(drain_s)
    if target.listener is None:
        return DrainBudget(0, 0, server, limit, "the bundle's drain_s")
    notice = target.health.interval_s * target.health.unhealthy
    longest = math.ceil(request_timeout_s)
    objective = None if spec.slo.p99_ms is None else spec.slo.p99_ms / 1000
    p99 = objective if p99_s is None else p99_s
    said = target.listener.deregistration_delay_s
    if said is not None:
        delay, basis = said, "target.listener.deregistration_delay_s"
    elif p99 is not None:
        delay = min(longest, max(LEAST_DELAY_S, math.ceil(DELAY_FACTOR * p99)))
        word = "objective's" if p99_s is None else "measured"
        basis = f"{DELAY_FACTOR} x the {word} p99 of {p99 * 1000:g} ms, at least {LEAST_DELAY_S} s"
    else:
        delay, basis = longest, "the server's limit of a request: no p99 is known"
    return DrainBudget(notice, delay, server, limit, basis)
