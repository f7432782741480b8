"""From a specification and what exists to a Plan; reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.bundle import bundle as bundles
from deployer.deployments.facts import facts_of
from deployer.deployments.local import server as servers
from deployer.deployments.local import steps as to
from deployer.deployments.local.balanced import planner as balanced
from deployer.deployments.local.steps import ServerStep
from deployer.deployments.plan import Plan
from deployer.deployments.state import Server, Store
from deployer.errors import EnvironmentProblem, InputError, NotSupported
from deployer.spec import rules
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local


def plan(spec: DeploymentSpec, store: Store | None = None) -> Plan[None]:
    """Return what deploying ``spec`` would change on this machine.

    Raises NotSupported for a target other than ``local``, RuleBroken for a rule that is broken, InputError or a
    bundle's own error when the bundle cannot be opened, EnvironmentProblem when a port is taken by something else.
    """
    target = local_target(spec)
    rules.require(spec, facts_of(spec))
    spec = replace(spec, bundle=str(Path(spec.bundle).resolve()))  # a saved plan runs from anywhere
    digest = bundles.open_bundle(Path(spec.bundle)).digest
    record = (store or Store()).find(spec.name)
    observed = record.servers if record else ()
    alive = frozenset(server.port for server in observed if servers.runs(server))
    if target.balancer or (record is not None and record.balancer is not None):
        found = balanced.steps(spec, digest, record, store or Store())
        return Plan(spec, digest, found, None)
    steps = decide(wanted_ports(target), digest, observed, alive)
    for step in steps:
        if step.action == "create" and not servers.port_free(step.port):
            raise EnvironmentProblem(
                f"port {step.port} is in use by something else",
                hint="set target.port to the first of a free range, or stop what listens there",
            )
    return Plan(spec, digest, steps, None)


def decide(
    wanted: Sequence[int], digest: str, observed: Collection[Server], alive: Collection[int]
) -> tuple[ServerStep, ...]:
    """Return the steps from the observed servers to ``wanted`` ports that all run ``digest``.

    New servers come first, then replacements one by one, then removals: capacity falls last.
    """
    recorded = {server.port: server for server in observed}
    starts: list[ServerStep] = []
    replacements: list[ServerStep] = []
    kept: list[ServerStep] = []
    for port in wanted:
        server = recorded.get(port)
        if server is None or port not in alive:
            starts.append(to.start(port))
        elif server.bundle_digest != digest:
            replacements.append(to.replace(port, server.pid, server.bundle_digest))
        else:
            kept.append(to.keep(port, server.pid))
    stops = [to.stop(s.port, s.pid) for s in observed if s.port not in wanted]
    return (*starts, *replacements, *stops, *kept)


def wanted_ports(target: Local) -> tuple[int, ...]:
    """Return the ports of a local target: ``port``, ``port`` + 1, ..."""
    return tuple(range(target.port, target.port + target.instances))


def local_target(spec: DeploymentSpec) -> Local:
    """Return the local target of a specification. Raises NotSupported for another one."""
    if not isinstance(spec.target, Local):
        raise NotSupported(
            f"deploying to target {spec.target.kind!r} is not there yet; 'local' and SageMaker's are",
            hint="set another target.kind; `deployer compare` prices all of them already",
        )
    return spec.target


def refuse_stale(saved: Plan[None], store: Store | None = None) -> None:
    """Raise InputError when what exists, or the bundle, changed since the plan was made."""
    now = plan(saved.spec, store)
    fleet_target = isinstance(saved.spec.target, Local) and saved.spec.target.balancer
    # Its supervisor starts and stops servers at any time: that alone is no news.
    if fleet_target and now.bundle_digest == saved.bundle_digest:
        return
    if (now.bundle_digest, now.steps) != (saved.bundle_digest, saved.steps):
        raise InputError(
            "the plan is stale: what runs, or the bundle, changed since it was made",
            hint="make it again with `deployer plan`",
        )
