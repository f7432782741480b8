"""What deploying would change in a fleet; reads, and changes nothing."""

from __future__ import annotations

import time

from deployer.deployments.local import server as servers
from deployer.deployments.local import steps as to
from deployer.deployments.local.balanced import control, haproxy, record
from deployer.deployments.local.steps import ServerStep
from deployer.deployments.state import Deployment, Store
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local


def steps(
    spec: DeploymentSpec, digest: str, found: Deployment | None, store: Store
) -> tuple[ServerStep, ...]:
    """Return the steps from what runs to what ``spec`` asks for.

    Raises InputError where a deployment without a balancer has this name or the other way round,
    EnvironmentProblem without haproxy or when the balancer's port is taken.
    """
    balanced = isinstance(spec.target, Local) and spec.target.balancer
    if found is not None and balanced != (found.balancer is not None):
        have, want = ("with", "without") if found.balancer else ("without", "with")
        raise InputError(
            f"{spec.name!r} runs {have} a balancer and should run {want} one",
            hint=f"`deployer destroy {spec.name}` first",
        )
    port = record.slots(spec)[0] - 1
    front = _front(spec, port, found, store)
    wanted = control.at_start(spec, found.instances if found else None, time.time())
    alive = [s for s in found.servers if servers.runs(s)] if found else []
    new = [s for s in alive if s.bundle_digest == digest]
    old = [s for s in alive if s.bundle_digest != digest]
    missing = max(0, wanted - len(new))
    taken = {server.port for server in alive}
    free = [slot for slot in record.slots(spec) if slot not in taken]
    return (
        *front,
        *(to.start(slot) for slot in free[: max(0, missing - len(old))]),
        *(to.replace(s.port, s.pid, s.bundle_digest) for s in old[:missing]),
        *(to.stop(s.port, s.pid) for s in (*old[missing:], *new[wanted:])),
        *(to.keep(s.port, s.pid) for s in new[:wanted]),
    )


def _front(
    spec: DeploymentSpec, port: int, found: Deployment | None, store: Store
) -> tuple[ServerStep, ...]:
    haproxy.find()
    parts = (found.balancer, found.supervisor) if found else (None, None)
    runs = all(part is not None and servers.runs(part) for part in parts)
    ours = runs and parts[0] is not None and parts[0].port == port
    if not ours and not servers.port_free(port):
        raise EnvironmentProblem(
            f"port {port} is in use by something else",
            hint="set target.port to the first of a free range, or stop what listens there",
        )
    try:
        same = runs and _without_bundle(record.load_spec(store, spec.name)) == _without_bundle(spec)
    except DeployerError:
        same = False
    return () if same else (to.set_front(port),)


def _without_bundle(spec: DeploymentSpec) -> tuple[object, ...]:
    return (spec.target, spec.scaling, spec.rollout, spec.slo)
