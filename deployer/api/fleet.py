"""The verbs on an EC2 fleet; ``deployments`` sends here what is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.api import sagemaker
from deployer.api.forecast import forecast
from deployer.api.sources import profile_of, spec_of
from deployer.distribution import version
from deployer.errors import AwsRefusal, EnvironmentProblem, InputError
from deployer.progress import Say, silent
from deployer.spec import fleet_resolved as documents
from deployer.spec import placeholders
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.target import Ec2Fleet

if TYPE_CHECKING:
    from deployer.aws.session import Aws
    from deployer.clients.base import Answer, Body
    from deployer.deployments.ec2.plan import FleetPlan
    from deployer.deployments.ec2.resolve import Asked
    from deployer.deployments.ec2.verbs import FleetDeployment, FleetStatus
    from deployer.deployments.sagemaker.rollback import SageMakerStatusChange
    from deployer.deployments.state import ServerLog
    from deployer.profiles import Profile, ServiceTime
    from deployer.traffic.trace import TrafficTrace


def is_fleet(spec: DeploymentSpec) -> bool:
    """Whether a specification's target is an EC2 fleet."""
    return isinstance(spec.target, Ec2Fleet)


def resolved_in(path: Path) -> ResolvedFleet | None:
    """Return the fleet that a JSON file resolves, or a plan that holds it; None for other files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads it as something else says what is wrong
    if isinstance(data, dict) and "resolved" in data:
        data = data["resolved"]
    return documents.from_json(data) if documents.is_fleet(data) else None


def plan(
    source: DeploymentSpec | Path,
    *,
    profile: Profile | Path | None = None,
    trace: TrafficTrace | Path | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> FleetPlan:
    """Work out what deploying a specification would change; no call to AWS changes anything.

    ``profile`` derives the scaling target from the objective, and the deregistration delay; ``trace`` prices what
    follows the traffic; ``ttl_s`` marks it as what ``reap`` may remove after so many seconds.
    """
    from deployer.deployments.ec2 import verbs
    from deployer.pricing import snapshot

    measured = None if profile is None else profile_of(profile)
    spec = spec_of(source, [measured])
    assert isinstance(spec.target, Ec2Fleet)
    aws = sagemaker.connect(spec.target.region, "target.region", say)
    run = forecast(spec, measured, trace)
    return verbs.plan(aws, spec, snapshot.load(), asked=_asked(spec, measured, ttl_s), run=run)


def plan_offline(
    spec: DeploymentSpec,
    account: str,
    *,
    region: str = "",
    profile: Profile | Path | None = None,
    trace: TrafficTrace | Path | None = None,
    ttl_s: float | None = None,
) -> FleetPlan:
    """Work out what a specification resolves to in ``account`` without a call to AWS; boto3 is not needed."""
    from deployer.deployments.aws.prepare import offline_place
    from deployer.deployments.ec2 import offline
    from deployer.pricing import snapshot

    assert isinstance(spec.target, Ec2Fleet)
    place = offline_place(account, spec.target.region, region)
    measured = None if profile is None else profile_of(profile)
    run = forecast(spec, measured, trace)
    asked = _asked(spec, measured, ttl_s)
    return offline.plan(spec, snapshot.load(), place, asked=asked, run=run)


def deploy(
    source: DeploymentSpec | Path | ResolvedFleet,
    *,
    profile: Profile | Path | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> FleetDeployment:
    """Make the account equal to a specification, or to a resolved document, which is taken verbatim."""
    if isinstance(source, ResolvedFleet):
        placeholders.refuse(source.placeholders)
    from deployer.deployments.aws import notes
    from deployer.deployments.ec2 import verbs
    from deployer.deployments.state import Store
    from deployer.pricing import snapshot

    if isinstance(source, ResolvedFleet):
        if profile is not None or ttl_s is not None:
            raise InputError("a resolved document is taken verbatim: give profile and ttl to plan")
        aws = sagemaker.connect(source.place.region, "the resolved document", say)
        wanted = verbs.replan(aws, source, snapshot.load())
    else:
        wanted = plan(source, profile=profile, ttl_s=ttl_s, say=say)
        aws = sagemaker.connect(wanted.resolved.place.region, "the plan", silent)
    say(wanted.summary)
    store = Store()
    with store.lock(wanted.spec.name):
        notes.remember(wanted.resolved, store)
        return verbs.apply(aws, wanted, say=say)


def home(name: str, region: str = "") -> Aws | None:
    """Return the account that a fleet is in; None for what is no fleet.

    This machine's note decides; without one, AWS is asked for the stack where a region is named.
    """
    from deployer.deployments.aws import notes
    from deployer.deployments.state import Store

    store = Store()
    note = notes.recall(name, store)
    if note is not None and (not region or region == note.region):
        return sagemaker.home(name, region) if note.kind == Ec2Fleet.kind else None
    if not region and store.find(name) is not None:
        return None
    try:
        from deployer.deployments.ec2 import destroy  # without boto3 there is no fleet to look for

        aws = sagemaker.connect(region, "--region", silent)
        return aws if destroy.is_ours(aws, name) else None
    except (AwsRefusal, EnvironmentProblem):
        return None  # who looks for another kind of deployment says what is wrong


def status(aws: Aws, name: str) -> FleetStatus:
    """Ask AWS how a fleet is."""
    from deployer.deployments.ec2 import verbs

    return verbs.status(aws, name)


def invoke(
    aws: Aws,
    name: str,
    body: Body,
    *,
    accept: str | None,
    timeout_s: float | None,
    say: Say = silent,
) -> Answer:
    """Send one body to the load balancer, or as a message to the queue, and return the answer."""
    from deployer.clients.http import HttpInvoker
    from deployer.clients.sqs import QueueInvoker
    from deployer.deployments.ec2 import verbs

    if (work := verbs.work(aws, name)) is not None:
        client = QueueInvoker(aws, work, timeout_s=timeout_s or 600.0, say=say)
        return client.invoke(body, accept=accept)
    found = status(aws, name)
    if not found.url:
        raise InputError(f"{name!r} has no load balancer to send to")
    url = f"{found.url}/invocations"
    return HttpInvoker(url, timeout_s=timeout_s or 60.0).invoke(body, accept=accept)


def logs(aws: Aws, name: str, lines: int) -> tuple[ServerLog, ...]:
    """Return the last lines that servers and starting instances wrote."""
    from deployer.deployments.ec2 import verbs

    return verbs.logs(aws, name, lines=lines)


def remaining(aws: Aws, name: str) -> tuple[str, ...]:
    """Return everything of a fleet that exists in the account."""
    from deployer.deployments.ec2 import destroy

    return destroy.remaining(aws, name)


def destroy(aws: Aws, name: str, *, say: Say = silent) -> tuple[str, ...]:
    """Remove everything of a fleet, verify it, and forget where it was."""
    from deployer.deployments.aws import notes
    from deployer.deployments.aws.polling import Polling
    from deployer.deployments.ec2 import destroy as removal

    def remove(bucket: str) -> tuple[str, ...]:
        return removal.destroy(aws, name, bucket=bucket, polling=Polling(), say=say)

    return notes.removed(name, aws.region, remove)


def rollback(aws: Aws, name: str, *, say: Say = silent) -> SageMakerStatusChange:
    """Deploy again what a fleet ran before, with the rollout and the alarms of then, and verify that it serves."""
    from deployer.deployments.aws import notes
    from deployer.deployments.ec2 import rollback as ways_back
    from deployer.deployments.sagemaker.rollback import SageMakerStatusChange
    from deployer.deployments.state import Store

    note = notes.recall(name, Store())
    there = note.bucket if note is not None and note.region == aws.region else ""
    now, document = ways_back.before(aws, name, bucket=there)
    say(f"back to document {document.digest[:12]} with bundle {document.artifact.digest[:12]}")
    deploy(document, say=say)
    return SageMakerStatusChange(name, f"document {now[:12]}", f"document {document.digest[:12]}")


def _asked(spec: DeploymentSpec, profile: Profile | None, ttl_s: float | None) -> Asked:
    from deployer.deployments.ec2.resolve import Asked

    derived = p99_s = None
    if profile is not None:
        derived = sagemaker.derived_target(spec, profile)
        laws = profile.service_time_ms.values()
        p99_s = max(_p99_ms(law) for law in laws) / 1000
    return Asked(derived, p99_s, ttl_s, version=version())


def _p99_ms(law: ServiceTime) -> float:
    """The first measured quantile that is not below 99%; the mean of a law without quantiles."""
    return next((ms for share, ms in law.quantiles if share >= 0.99), law.mean)
