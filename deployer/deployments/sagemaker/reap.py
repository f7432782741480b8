"""What may go: deployments whose time (``--ttl``) is over, found by their tags alone.

A deployment that was cut off early has only a role, or only objects in the usual bucket; those are looked at too. Not
found: what lies in a bucket that the specification names, before there is a role or a model to tell of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from deployer.aws.metrics import Logs
from deployer.aws.roles import Roles
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.storage import Storage
from deployer.deployments.aws.expiry import time_of
from deployer.deployments.aws.place import bucket_of
from deployer.deployments.backend import Expired
from deployer.spec import naming
from deployer.spec.naming import EXPIRES_TAG, NAME_TAG


def expired(aws: Aws, now: datetime) -> tuple[Expired, ...]:
    """Return the deployments of the account and region whose time is over, sorted by name; reads only.

    The endpoint's mark counts; without an endpoint that of the models, of which none may lack it; without any of
    both that of the role, then that of an object, and last that of the log of a start that failed.
    """
    marks = dict(_marks(aws))
    over = [
        Expired(name, when) for name, when in marks.items() if when and time_of(name, when) <= now
    ]
    return tuple(sorted(over, key=lambda item: item.name))


def _marks(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield each deployment and when its time is over; empty for one that stays. What comes later counts."""
    yield from _of_logs(aws)
    yield from _of_objects(aws)
    yield from _of_roles(aws)
    client = SageMaker(aws)
    of_models: dict[str, list[str]] = {}
    for _, arn in client.models(""):
        tags = client.tags(arn)
        if NAME_TAG in tags:
            of_models.setdefault(tags[NAME_TAG], []).append(tags.get(EXPIRES_TAG, ""))
    for name, times in of_models.items():
        yield name, max(times) if all(times) else ""
    for endpoint, arn in client.endpoints(""):  # comes last: its word counts
        tags = client.tags(arn)
        if tags.get(NAME_TAG) == endpoint:
            yield endpoint, tags.get(EXPIRES_TAG, "")


def _of_logs(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield what the log groups say that were kept when a start had failed: SageMaker's own have no tags."""
    logs = Logs(aws)
    for group in logs.groups(naming.ENDPOINT_LOGS):
        tags = logs.tags(group)
        if tags.get(NAME_TAG) == group.removeprefix(naming.ENDPOINT_LOGS):
            yield tags[NAME_TAG], tags.get(EXPIRES_TAG, "")


def _of_roles(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield what the execution roles say: they are made first."""
    roles = Roles(aws)
    for role in roles.names("deployer-"):
        tags = roles.tags(role) if role.endswith(f"-{aws.region}") else {}
        name = tags.get(NAME_TAG, "")
        if name and role == naming.role(name, aws.region):
            yield name, tags.get(EXPIRES_TAG, "")


def _of_objects(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield what the first object of each deployment in the usual bucket says."""
    storage = Storage(aws, bucket_of(aws))
    for folder in storage.folders(naming.objects("")[:-1]):
        key = next(storage.keys(folder), "")
        tags = storage.tags(key) if key else {}
        if tags.get(NAME_TAG) and folder == naming.objects(tags[NAME_TAG]):
            yield tags[NAME_TAG], tags.get(EXPIRES_TAG, "")
