"""Locate: which backend a specification, a document or the name of a deployment leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from deployer.deployments.aws import notes
from deployer.deployments.aws.notes import Note
from deployer.deployments.backend import Backend
from deployer.deployments.local.backend import LocalBackend
from deployer.deployments.state import Store
from deployer.errors import AwsRefusal, EnvironmentProblem, InputError
from deployer.pricing import snapshot
from deployer.progress import Say, silent
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

if TYPE_CHECKING:
    from deployer.aws.session import Aws
    from deployer.deployments.ec2.backend import Ec2Backend
    from deployer.deployments.sagemaker.backend import SageMakerBackend


def of_spec(spec: DeploymentSpec, say: Say = silent) -> Backend[Any]:
    """Return the backend of a specification's target, connected to its region, which ``say`` is told."""
    match spec.target:
        case Local():
            return LocalBackend()
        case Ec2Fleet() as target:
            return ec2(connect(target.region, "target.region", say))
        case (
            SageMakerRealtime() | SageMakerServerless() | SageMakerAsync() | SageMakerBatch()
        ) as target:
            return sagemaker(connect(target.region, "target.region", say))
        case _:
            assert_never(spec.target)


def of_document(
    resolved: Resolved | ResolvedFleet, say: Say = silent
) -> SageMakerBackend | Ec2Backend:
    """Return the backend that a resolved document is for, connected to the region that it names."""
    aws = connect(resolved.place.region, "the resolved document", say)
    return ec2(aws) if isinstance(resolved, ResolvedFleet) else sagemaker(aws)


def of_name(name: str, region: str = "") -> Backend[Any]:
    """Return the backend that has the deployment ``name``.

    A region that is given means AWS; else this machine's own record and note decide, and a name that they do not know
    is looked for in AWS where the environment names a region. Raises InputError when nothing knows the name, or
    when the credentials are of another account than it was deployed to.
    """
    store = Store()
    note, here = notes.recall(name, store), store.find(name) is not None
    if here and not region:
        if note is None:
            return LocalBackend(store)
        raise InputError(
            f"{name!r} is a deployment of this machine and one in {note.region}",
            hint=f"add --region {note.region} for the second; destroy one of them",
        )
    if note is not None and region in ("", note.region):
        aws = _noted(name, note, region)
        return ec2(aws) if note.kind == Ec2Fleet.kind else sagemaker(aws)
    found = _fleet(name, region)
    return found or sagemaker(connect(region, "--region") if region else _anywhere(name, store))


def connect(region: str, source: str, say: Say = silent) -> Aws:
    """Return the account of the environment in a region, and say which; ``source`` is where the region stands."""
    from deployer.aws import session

    aws = session.connect((region, source) if region else None)
    if say is not silent:
        say(aws.whereabouts)
    return aws


def sagemaker(aws: Aws) -> SageMakerBackend:
    """Return SageMaker in an account and region."""
    from deployer.deployments.sagemaker.backend import SageMakerBackend

    return SageMakerBackend(aws, snapshot.load())


def ec2(aws: Aws) -> Ec2Backend:
    """Return the fleets of an account and region."""
    from deployer.deployments.ec2.backend import Ec2Backend

    return Ec2Backend(aws, snapshot.load())


def is_in_aws(target: Target) -> bool:
    """Whether a target is in AWS."""
    return not isinstance(target, Local)


def _noted(name: str, note: Note, region: str) -> Aws:
    """Return the account that a note names. Raises InputError when the credentials are of another one."""
    aws = connect(note.region, "--region" if region else "its deployment")
    if not region and aws.identity[0] != note.account:
        raise InputError(
            f"{name!r} was deployed to account {note.account}; these credentials are of "
            f"{aws.identity[0]}",
            hint="use the other credentials, or name the region with --region",
        )
    return aws


def _fleet(name: str, region: str) -> Ec2Backend | None:
    """Return the fleets of a region when one has this name; None for what is no fleet."""
    try:
        from deployer.deployments.ec2 import destroy  # without boto3 there is no fleet to look for

        aws = connect(region, "--region")
        return ec2(aws) if destroy.is_ours(aws, name) else None
    except (AwsRefusal, EnvironmentProblem):
        return None  # who looks for another kind of deployment says what is wrong


def _anywhere(name: str, store: Store) -> Aws:
    """Return the account of the environment; the usual error when it names no region."""
    try:
        return connect("", "")
    except EnvironmentProblem as error:
        try:
            store.get(name)
        except InputError as unknown:
            hint = f"{unknown.hint}; for one in AWS add --region ({error.message})"
            raise InputError(unknown.message, hint=hint) from error
        raise
