"""EC2 fleets, in one account and region, as a target of deployments."""

from __future__ import annotations

from datetime import datetime

from deployer.clients.base import Answer, Body
from deployer.clients.http import HttpInvoker
from deployer.clients.sqs import QueueInvoker
from deployer.deployments.aws import notes
from deployer.deployments.aws.backend import AwsBackend
from deployer.deployments.aws.polling import Polling
from deployer.deployments.backend import Asked, Change, Expired
from deployer.deployments.ec2 import destroy, reap, rollback, verbs
from deployer.deployments.ec2.nouns import FleetDeployed, FleetStatus
from deployer.deployments.plan import Plan
from deployer.deployments.state import ServerLog, Store
from deployer.errors import InputError
from deployer.progress import Say
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet

TIMEOUT_S = 60.0
QUEUE_TIMEOUT_S = 600.0


class Ec2Backend(AwsBackend):
    """Fleets of the account that ``aws`` is connected to; ``book`` prices them."""

    def plan(self, spec: DeploymentSpec, asked: Asked, run: Run | None) -> Plan[ResolvedFleet]:
        """Resolve, check, price and compare with what exists; no call changes anything."""
        return verbs.plan(self._aws, spec, self._book, asked=asked, run=run)

    def replan(self, resolved: ResolvedFleet) -> Plan[ResolvedFleet]:
        """Return the steps from what exists to a document resolved earlier, which is taken verbatim."""
        return verbs.replan(self._aws, resolved, self._book)

    def apply(self, plan: Plan[ResolvedFleet], *, say: Say) -> FleetDeployed:
        """Make the account equal to the plan's document; where it is, is noted before anything is made."""
        store = Store()
        with store.lock(plan.spec.name):
            notes.remember(plan.resolved, store)
            return verbs.apply(self._aws, plan, say=say)

    def status(self, name: str) -> FleetStatus:
        """Ask AWS how a fleet is."""
        return verbs.status(self._aws, name)

    def invoke(
        self, name: str, body: Body, *, accept: str | None, timeout_s: float | None, say: Say
    ) -> Answer:
        """Send one body to the load balancer, or as a message to the queue, and return the answer."""
        if (work := verbs.work(self._aws, name)) is not None:
            limit = timeout_s or QUEUE_TIMEOUT_S
            return QueueInvoker(self._aws, work, timeout_s=limit, say=say).invoke(
                body, accept=accept
            )
        found = self.status(name)
        if not found.url:
            raise InputError(f"{name!r} has no load balancer to send to")
        client = HttpInvoker(f"{found.url}/invocations", timeout_s=timeout_s or TIMEOUT_S)
        return client.invoke(body, accept=accept)

    def logs(self, name: str, *, lines: int) -> tuple[ServerLog, ...]:
        """Return the last lines that servers and starting instances wrote."""
        return verbs.logs(self._aws, name, lines=lines)

    def rollback(self, name: str, *, say: Say) -> Change:
        """Deploy again what a fleet ran before, with the rollout and the alarms of then, and verify that it serves."""
        note = notes.recall(name, Store())
        there = note.bucket if note is not None and note.region == self._aws.region else ""
        now, document = rollback.before(self._aws, name, bucket=there)
        digest = document.artifact.digest
        say(f"back to document {document.digest[:12]} with bundle {digest[:12]}")
        plan = self.replan(document)
        say(plan.summary)
        self.apply(plan, say=say)
        return Change(name, f"document {now[:12]}", f"document {document.digest[:12]}")

    def remaining(self, name: str) -> tuple[str, ...]:
        """Return everything of a fleet that exists in the account."""
        return destroy.remaining(self._aws, name)

    def destroy(self, name: str, *, say: Say) -> tuple[str, ...]:
        """Remove everything of a fleet, verify it, and forget where it was."""

        def remove(bucket: str, polling: Polling) -> tuple[str, ...]:
            return destroy.destroy(self._aws, name, bucket=bucket, polling=polling, say=say)

        return self._removed(name, remove)

    def expired(self, now: datetime) -> tuple[Expired, ...]:
        """Return the fleets whose time is over."""
        return reap.expired(self._aws, now)

    def names(self) -> frozenset[str]:
        """Return the names of the fleets that there are."""
        return reap.names(self._aws)
