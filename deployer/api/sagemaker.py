"""The verbs on SageMaker; ``deployments`` sends here what does not run on this machine."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api.forecast import forecast
from deployer.api.sources import profile_of, spec_of
from deployer.distribution import version
from deployer.errors import InputError
from deployer.progress import Say, silent
from deployer.spec import limits, placeholders
from deployer.spec import resolved as documents
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.placeholders import BUNDLE
from deployer.spec.resolved import Resolved

if TYPE_CHECKING:
    from deployer.aws.session import Aws
    from deployer.clients.base import Answer, Body
    from deployer.clients.batch import BatchResult
    from deployer.deployments.aws.expiry import Expired, Reaped
    from deployer.deployments.aws.notes import SageMakerDeployment
    from deployer.deployments.sagemaker.plan import SageMakerPlan
    from deployer.deployments.sagemaker.rollback import SageMakerStatusChange
    from deployer.deployments.sagemaker.status import SageMakerStatus
    from deployer.deployments.state import ServerLog
    from deployer.profiles import Profile
    from deployer.traffic.trace import TrafficTrace


def is_sagemaker(spec: DeploymentSpec) -> bool:
    """Whether a specification's target is one of SageMaker's."""
    return spec.target.kind.startswith("sagemaker-")


def resolved_in(path: Path) -> Resolved | None:
    """Return what a JSON file resolves: resolved.json, or a plan that holds it; None for other files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads it as something else says what is wrong
    if not isinstance(data, Mapping):
        return None
    if "resolved" in data:
        return documents.from_json(data["resolved"])
    return documents.load(path) if "place" in data else None


def plan(
    source: DeploymentSpec | Path,
    *,
    profile: Profile | Path | None = None,
    trace: TrafficTrace | Path | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> SageMakerPlan:
    """Work out what deploying a specification would change; no call to AWS changes anything.

    ``profile`` derives the scaling target from the objective, ``trace`` prices what follows the traffic.
    """
    from deployer.deployments.sagemaker import verbs
    from deployer.pricing import snapshot

    measured = None if profile is None else profile_of(profile)
    spec = spec_of(source, [measured])
    region = str(getattr(spec.target, "region", ""))
    aws = connect(region, "target.region", say)
    found = verbs.plan(
        aws,
        spec,
        snapshot.load(),
        asked=_asked(spec, measured, ttl_s),
        run=forecast(spec, measured, trace),
    )
    return _of_this_bundle(found, measured)


def plan_offline(
    spec: DeploymentSpec,
    account: str,
    *,
    region: str = "",
    profile: Profile | Path | None = None,
    trace: TrafficTrace | Path | None = None,
    ttl_s: float | None = None,
) -> SageMakerPlan:
    """Work out what a specification resolves to in ``account`` without a call to AWS; boto3 is not needed."""
    from deployer.deployments.aws.prepare import offline_place
    from deployer.deployments.sagemaker import offline
    from deployer.pricing import snapshot

    place = offline_place(account, str(getattr(spec.target, "region", "")), region)
    measured = None if profile is None else profile_of(profile)
    found = offline.plan(
        spec,
        snapshot.load(),
        place,
        asked=_asked(spec, measured, ttl_s),
        run=forecast(spec, measured, trace),
    )
    return found if BUNDLE in found.resolved.placeholders else _of_this_bundle(found, measured)


def _of_this_bundle(found: SageMakerPlan, measured: Profile | None) -> SageMakerPlan:
    """Return the plan, with a note when the profile is of another bundle than the one that is deployed."""
    from deployer.deployments.aws.checks import Check

    if measured is None or measured.bundle_digest == found.resolved.artifact.digest:
        return found
    words = f"measured of bundle {measured.bundle_digest[:12]}, not of the one that is deployed"
    return replace(found, checks=(*found.checks, Check("profile", "note", words)))


def deploy(
    source: DeploymentSpec | Path | Resolved,
    *,
    profile: Profile | Path | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> SageMakerDeployment:
    """Make the account equal to a specification, or to a resolved document, which is taken verbatim."""
    if isinstance(source, Resolved):
        placeholders.refuse(source.placeholders)
    from deployer.deployments.sagemaker import verbs
    from deployer.pricing import snapshot

    if isinstance(source, Resolved):
        if profile is not None or ttl_s is not None:
            raise InputError("a resolved document is taken verbatim: give profile and ttl to plan")
        aws = connect(source.place.region, "the resolved document", say)
        wanted = verbs.replan(aws, source, snapshot.load())
    else:
        wanted = plan(source, profile=profile, ttl_s=ttl_s, say=say)
        aws = connect(wanted.resolved.place.region, "the plan", silent)
    say(wanted.summary)
    return verbs.apply(aws, wanted, say=say)


def home(name: str, region: str = "") -> Aws | None:
    """Return the account that a deployment is in; None for one of this machine.

    A region that is given means AWS; else this machine's own record and notes decide, and a name that they
    do not know is looked for in AWS where the environment names a region. Raises InputError when nothing
    knows the name, or when the credentials are of another account than it was deployed to.
    """
    from deployer.deployments.aws import notes
    from deployer.deployments.state import Store

    store = Store()
    note = notes.recall(name, store)
    if not region and note is None:
        return None if store.find(name) is not None else _anywhere(name, store)
    if not region and note is not None and store.find(name) is not None:
        raise InputError(
            f"{name!r} is a deployment of this machine and one in {note.region}",
            hint=f"add --region {note.region} for the second; destroy one of them",
        )
    where = (region, "--region") if region else (note.region if note else "", "its deployment")
    aws = connect(where[0], where[1], silent)
    if note is not None and not region and aws.identity[0] != note.account:
        raise InputError(
            f"{name!r} was deployed to account {note.account}; these credentials are of "
            f"{aws.identity[0]}",
            hint="use the other credentials, or name the region with --region",
        )
    return aws


def status(aws: Aws, name: str) -> SageMakerStatus:
    """Ask AWS how a deployment is."""
    from deployer.deployments.sagemaker import status as looks
    from deployer.pricing import snapshot

    return looks.status(aws, name, snapshot.load())


def invoke(
    aws: Aws, name: str, body: Body, *, accept: str | None, timeout_s: float | None, say: Say
) -> Answer:
    """Send one body in the way of the deployment's mode, and return its answer."""
    from deployer.clients import sagemaker
    from deployer.deployments.sagemaker import jobs, verbs

    mode = verbs.mode(aws, name)
    if mode == "sagemaker-batch":
        return jobs.answer(aws, _resolved(name, None), body, timeout_s=timeout_s or 86400, say=say)
    if mode == "sagemaker-async":
        options = sagemaker.AsyncOptions(
            upload_to=jobs.place_for_bodies(aws, name), timeout_s=timeout_s or 3600.0
        )
        return sagemaker.AsyncInvoker(aws, name, options, say=say).invoke(body, accept=accept)
    small = mode == "sagemaker-serverless"
    most = limits.SERVERLESS_BYTES if small else limits.REALTIME_BYTES
    client = sagemaker.EndpointInvoker(aws, name, timeout_s=timeout_s or 60.0, max_bytes=most)
    return client.invoke(body, accept=accept)


def transform(
    name: str,
    *,
    input_s3_uri: str = "",
    output_s3_uri: str = "",
    resolved: Path | Resolved | None = None,
    timeout_s: float = 24 * 3600.0,
    region: str = "",
    say: Say = silent,
) -> BatchResult:
    """Run one batch job of a deployment over objects in S3 and wait until it has completed.

    Input and output default to the specification's. ``resolved`` is the document that was deployed; left out,
    this machine's copy of it.
    """
    from deployer.deployments.sagemaker import jobs

    document = resolved if isinstance(resolved, Resolved) else _resolved(name, resolved)
    placeholders.refuse(document.placeholders)
    aws = connect(region or document.place.region, "the resolved document", say)
    return jobs.run(
        aws,
        document,
        input_s3_uri=input_s3_uri,
        output_s3_uri=output_s3_uri,
        timeout_s=timeout_s,
        say=say,
    )


def rollback(name: str, *, region: str = "", say: Say = silent) -> SageMakerStatusChange:
    """Return an endpoint to the config that it ran before, and verify that it does."""
    from deployer.deployments.sagemaker import rollback as ways_back

    aws = home(name, region)
    if aws is None:
        raise InputError(
            f"{name!r} runs on this machine, which keeps no version before",
            hint="deploy the bundle that you want instead",
        )
    return ways_back.rollback(aws, name, say=say)


def logs(aws: Aws, name: str, lines: int) -> tuple[ServerLog, ...]:
    """Return the last lines that the containers wrote."""
    from deployer.deployments.sagemaker import verbs

    return verbs.logs(aws, name, lines=lines)


def remaining(aws: Aws, name: str) -> tuple[str, ...]:
    """Return everything of a deployment that exists in the account."""
    from deployer.deployments.sagemaker import destroy

    return destroy.remaining(aws, name)


def destroy(aws: Aws, name: str, *, say: Say = silent) -> tuple[str, ...]:
    """Remove everything of a deployment, verify it, and forget where it was."""
    from deployer.deployments.aws import notes
    from deployer.deployments.aws.polling import Polling
    from deployer.deployments.sagemaker import destroy as removal

    def remove(bucket: str) -> tuple[str, ...]:
        return removal.destroy(aws, name, bucket=bucket, polling=Polling(), say=say)

    return notes.removed(name, aws.region, remove)


def expired(aws: Aws, but: Collection[str]) -> tuple[Expired, ...]:
    """Return the deployments of the account and region whose ``--ttl`` is over; changes nothing.

    ``but`` names those that are no SageMaker's, and have roles and objects all the same.
    """
    from deployer.deployments.sagemaker import reap

    return tuple(item for item in reap.expired(aws, datetime.now(UTC)) if item.name not in but)


def reap(aws: Aws, but: Collection[str], *, say: Say = silent) -> tuple[Reaped, ...]:
    """Destroy the deployments of the account and region whose ``--ttl`` is over; ``but`` as in ``expired``.

    Raises PartialFailure listing what is left of them, when something is.
    """
    from deployer.deployments.aws.polling import Polling
    from deployer.deployments.sagemaker import reap as reaping

    found = expired(aws, but)
    return reaping.reap(aws, found, polling=Polling(), say=say)


def connect(region: str, source: str, say: Say) -> Aws:
    """Return the account of the environment in a region, and say which; ``source`` is where the region stands."""
    from deployer.aws import session

    aws = session.connect((region, source) if region else None)
    if say is not silent:
        say(aws.whereabouts)
    return aws


def _anywhere(name: str, store: Any) -> Aws:
    """Return the account of the environment; the usual error when it names no region."""
    from deployer.errors import EnvironmentProblem

    try:
        return connect("", "", silent)
    except EnvironmentProblem as error:
        try:
            store.get(name)
        except InputError as unknown:
            hint = f"{unknown.hint}; for one in AWS add --region ({error.message})"
            raise InputError(unknown.message, hint=hint) from error
        raise


def _asked(spec: DeploymentSpec, profile: Profile | None, ttl_s: float | None) -> Any:
    from deployer.deployments.sagemaker.resolve import Asked

    derived = None
    if profile is not None:
        derived = derived_target(spec, profile)
    return Asked(derived_target=derived, ttl_s=ttl_s, version=version())


def derived_target(spec: DeploymentSpec, profile: Profile) -> float | None:
    """Return the scaling target that profile and objective give; None where nothing is to derive."""
    from deployer.simulation import capacity, simulation
    from deployer.spec.scaling import TargetTracking
    from deployer.spec.target import Ec2Fleet, SageMakerAsync, SageMakerRealtime

    policy, target = spec.scaling, spec.target
    if not isinstance(policy, TargetTracking) or policy.target is not None:
        return None
    if not isinstance(target, SageMakerRealtime | SageMakerAsync | Ec2Fleet):
        return None
    room = capacity.headroom(profile, simulation.serving_of(profile, spec, target), spec.slo)
    if not room.is_met:
        raise InputError(
            "no rate of requests meets the objective with this profile, so no scaling target follows",
            hint="loosen [slo], or write scaling.target",
        )
    return capacity.metric_target(policy, room)


def _resolved(name: str, path: Path | None) -> Resolved:
    from deployer.deployments.aws import notes
    from deployer.deployments.state import Store

    found = documents.load(path) if path else notes.last_resolved(name, Store())
    if found is None:
        raise InputError(
            f"nothing to send to {name!r}, and this machine knows no batch jobs of it",
            hint="add --data FILE; for a batch job name the deployed document with --resolved",
        )
    return found
