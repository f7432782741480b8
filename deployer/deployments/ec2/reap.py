"""Fleets whose time (``--ttl``) is over, found by the tags of their stacks alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from deployer.aws import fleets
from deployer.aws.session import Aws
from deployer.deployments.aws.expiry import time_of
from deployer.deployments.backend import Expired
from deployer.spec import naming
from deployer.spec.naming import EXPIRES_TAG, NAME_TAG


def expired(aws: Aws, now: datetime) -> tuple[Expired, ...]:
    """Return the fleets of the account and region whose time is over, sorted by name; reads only."""
    return tuple(sorted(_expired(aws, now), key=lambda item: item.name))


def names(aws: Aws) -> frozenset[str]:
    """Return the names of the fleets that there are."""
    return frozenset(tags[NAME_TAG] for tags in _fleets(aws))


def _expired(aws: Aws, now: datetime) -> Iterator[Expired]:
    for tags in _fleets(aws):
        name, when = tags[NAME_TAG], tags.get(EXPIRES_TAG, "")
        if when and time_of(name, when) <= now:
            yield Expired(name, when)


def _fleets(aws: Aws) -> Iterator[Mapping[str, str]]:
    """Yield the tags of each fleet's stack; one of another target is its own route's to remove."""
    for stack in fleets.Stacks(aws).all():
        tags = fleets.tags(stack)
        ours = str(stack["StackName"]) == naming.stack(tags.get(NAME_TAG, ""))
        if ours and "GroupName" in fleets.outputs(stack):
            yield tags
