"""SageMaker, in one account and region, as a target of deployments."""

from __future__ import annotations

from datetime import datetime

from deployer.clients import sagemaker as clients
from deployer.clients.base import Answer, Body
from deployer.deployments.aws import notes
from deployer.deployments.aws.backend import AwsBackend
from deployer.deployments.aws.polling import Polling
from deployer.deployments.backend import Asked, Change, Expired
from deployer.deployments.plan import Plan
from deployer.deployments.sagemaker import destroy, jobs, reap, rollback, status, verbs
from deployer.deployments.sagemaker.nouns import SageMakerDeployed, SageMakerStatus
from deployer.deployments.state import ServerLog, Store
from deployer.errors import InputError
from deployer.progress import Say
from deployer.runs import Run
from deployer.spec import limits
from deployer.spec import resolved as documents
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved

TIMEOUT_S = 60.0
ASYNC_TIMEOUT_S = 3600.0
BATCH_TIMEOUT_S = 24 * 3600.0


class SageMakerBackend(AwsBackend):
    """Endpoints and batch models of the account that ``aws`` is connected to; ``book`` prices them."""

    def plan(self, spec: DeploymentSpec, asked: Asked, run: Run | None) -> Plan[Resolved]:
        """Resolve, check, price and compare with what exists; no call changes anything."""
        return verbs.plan(self._aws, spec, self._book, asked=asked, run=run)

    def replan(self, resolved: Resolved) -> Plan[Resolved]:
        """Return the steps from what exists to a document resolved earlier, which is taken verbatim."""
        return verbs.replan(self._aws, resolved, self._book)

    def apply(self, plan: Plan[Resolved], *, say: Say) -> SageMakerDeployed:
        """Make the account equal to the plan's document."""
        return verbs.apply(self._aws, plan, say=say)

    def status(self, name: str) -> SageMakerStatus:
        """Ask AWS how a deployment is."""
        return status.status(self._aws, name, self._book)

    def invoke(
        self, name: str, body: Body, *, accept: str | None, timeout_s: float | None, say: Say
    ) -> Answer:
        """Send one body in the way of the deployment's mode, and return its answer."""
        aws, mode = self._aws, verbs.mode(self._aws, name)
        if mode == "sagemaker-batch":
            limit = timeout_s or BATCH_TIMEOUT_S
            return jobs.answer(aws, deployed_last(name), body, timeout_s=limit, say=say)
        if mode == "sagemaker-async":
            upload_to = jobs.place_for_bodies(aws, name)
            options = clients.AsyncOptions(
                upload_to=upload_to, timeout_s=timeout_s or ASYNC_TIMEOUT_S
            )
            return clients.AsyncInvoker(aws, name, options, say=say).invoke(body, accept=accept)
        small = mode == "sagemaker-serverless"
        most = limits.SERVERLESS_BYTES if small else limits.REALTIME_BYTES
        client = clients.EndpointInvoker(
            aws, name, timeout_s=timeout_s or TIMEOUT_S, max_bytes=most
        )
        return client.invoke(body, accept=accept)

    def logs(self, name: str, *, lines: int) -> tuple[ServerLog, ...]:
        """Return the last lines that the containers wrote."""
        return verbs.logs(self._aws, name, lines=lines)

    def rollback(self, name: str, *, say: Say) -> Change:
        """Return an endpoint to the config that it ran before, and verify that it does."""
        return rollback.rollback(self._aws, name, say=say)

    def remaining(self, name: str) -> tuple[str, ...]:
        """Return everything of a deployment that exists in the account."""
        return destroy.remaining(self._aws, name)

    def destroy(self, name: str, *, say: Say) -> tuple[str, ...]:
        """Remove everything of a deployment, verify it, and forget where it was."""

        def remove(bucket: str, polling: Polling) -> tuple[str, ...]:
            return destroy.destroy(self._aws, name, bucket=bucket, polling=polling, say=say)

        return self._removed(name, remove)

    def expired(self, now: datetime) -> tuple[Expired, ...]:
        """Return the deployments whose time is over; those of fleets are among them, which have roles alike."""
        return reap.expired(self._aws, now)


def deployed_last(name: str) -> Resolved:
    """Return what this machine deployed last under a name. Raises InputError when it knows of nothing."""
    path = notes.resolved_path(name, Store())
    if path is None:
        raise InputError(
            f"nothing to send to {name!r}, and this machine knows no batch jobs of it",
            hint="add --data FILE; for a batch job name the deployed document with --resolved",
        )
    return documents.load(path)
