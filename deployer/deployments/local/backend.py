"""This machine as a target of deployments."""

from __future__ import annotations

from datetime import datetime

from deployer.clients.base import Answer, Body
from deployer.deployments.backend import Asked, Change, Expired
from deployer.deployments.local import planner, verbs
from deployer.deployments.local.nouns import LocalStatus
from deployer.deployments.plan import Plan
from deployer.deployments.state import Deployment, ServerLog, Store
from deployer.errors import InputError
from deployer.progress import Say
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec

TIMEOUT_S = 60.0


class LocalBackend:
    """Server processes of this machine, recorded in ``store``."""

    whereabouts = ""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    def plan(self, spec: DeploymentSpec, asked: Asked, run: Run | None) -> Plan[None]:
        """Return what deploying would change. Raises InputError for what has no meaning here."""
        if asked.digest or asked.ttl_s is not None or run is not None:
            raise refuse_asked(spec.target.kind)
        return planner.plan(spec, self._store)

    def apply(self, plan: Plan[None], *, say: Say) -> Deployment:
        """Run the plan step by step."""
        return verbs.apply(plan, store=self._store, say=say)

    def status(self, name: str) -> LocalStatus:
        """Ask each server how it is."""
        return verbs.status(name, store=self._store)

    def invoke(
        self, name: str, body: Body, *, accept: str | None, timeout_s: float | None, say: Say
    ) -> Answer:
        """Send one request to the server whose turn it is, or to the balancer."""
        limit = timeout_s or TIMEOUT_S
        return verbs.invoke(name, body, accept=accept, timeout_s=limit, store=self._store)

    def logs(self, name: str, *, lines: int) -> tuple[ServerLog, ...]:
        """Return the last lines of each server's log."""
        return verbs.logs(name, lines=lines, store=self._store)

    def rollback(self, name: str, *, say: Say) -> Change:
        """Raise InputError: no version before is kept here."""
        raise InputError(
            f"{name!r} runs on this machine, which keeps no version before",
            hint="deploy the bundle that you want instead",
        )

    def remaining(self, name: str) -> tuple[str, ...]:
        """Return the servers of a deployment, and its folder."""
        record = self._store.get(name)
        servers = (f"server on port {s.port} (process {s.pid})" for s in record.servers)
        return (*servers, f"state, bundle and logs in {self._store.folder(name)}")

    def destroy(self, name: str, *, say: Say) -> tuple[str, ...]:
        """Drain and stop every server, and remove record, bundles and logs."""
        return verbs.destroy(name, store=self._store, say=say)

    def expired(self, now: datetime) -> tuple[Expired, ...]:
        """Return nothing: a deployment of this machine has no time to live."""
        return ()


def refuse_asked(kind: str) -> InputError:
    """Return the error that a profile and a time to live say nothing about a target."""
    return InputError(f"a profile and a time to live have no meaning for a {kind} target")
