"""The checks of a fleet's plan that ask nobody: what would fail after something was made is an error here."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.deployments.plan import Check
from deployer.errors import InputError
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import ZONES
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.target import Ec2Fleet


def fleet_of(spec: DeploymentSpec) -> Ec2Fleet:
    """Return the target. Raises InputError for another one."""
    if not isinstance(spec.target, Ec2Fleet):
        raise InputError(f"{spec.name!r} is no ec2-fleet")
    return spec.target


def stated(resolved: ResolvedFleet) -> Iterator[Check]:
    """Yield what the document alone shows."""
    drain = resolved.drain
    words = f"{drain.notice_s} + {drain.delay_s} + {drain.server_s} = {drain.total_s} s of {drain.limit_s}"
    yield Check("drain", "ok", f"{words} (notice, load balancer, server); {drain.basis}")
    yield from _listener(resolved)
    yield from _capacity(resolved)


def _listener(resolved: ResolvedFleet) -> Iterator[Check]:
    listener = resolved.target.listener
    if listener is None:
        return
    if not listener.allow_cidrs:
        words = "nobody may call: target.listener.allow_cidrs is empty"
        yield Check("load balancer", "note", words)
    elif listener.protocol == "http":
        yield Check("load balancer", "note", "plain HTTP, as asked: requests travel unencrypted")
    if "0.0.0.0/0" in listener.allow_cidrs:
        yield Check("load balancer", "note", "open to the world, as asked")


def _capacity(resolved: ResolvedFleet) -> Iterator[Check]:
    if not resolved.queue and resolved.least < ZONES:
        yield Check(
            "capacity", "note", f"{resolved.least} instance: none is left when it or its zone fails"
        )
