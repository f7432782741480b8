"""What may go: deployments whose time (``--ttl``) is over, found by their tags alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.deployments.sagemaker import destroy
from deployer.deployments.sagemaker.waiting import Patience, Say
from deployer.errors import DeployerError, PartialFailure
from deployer.spec.resolved import EXPIRES_TAG, NAME_TAG


@dataclass(frozen=True)
class Expired:
    """A deployment whose time was over at ``expires`` (ISO)."""

    name: str
    expires: str


@dataclass(frozen=True)
class Reaped:
    """A deployment that was destroyed, and what that removed."""

    name: str
    expires: str
    removed: tuple[str, ...]


def expired(aws: Aws, now: datetime) -> tuple[Expired, ...]:
    """Return the deployments of the account and region whose time is over, sorted by name; reads only.

    The endpoint's mark counts; without an endpoint that of the models, of which none may lack it.
    """
    marks = dict(_marks(aws))
    over = [
        Expired(name, when) for name, when in marks.items() if when and _time(name, when) <= now
    ]
    return tuple(sorted(over, key=lambda item: item.name))


def reap(
    aws: Aws, found: tuple[Expired, ...], *, patience: Patience, say: Say
) -> tuple[Reaped, ...]:
    """Destroy what has expired. Raises PartialFailure listing what is left, after trying all."""
    done: list[Reaped] = []
    left: list[str] = []
    for item in found:
        say(f"{item.name}: its time was over at {item.expires}")
        try:
            removed = destroy.destroy(aws, item.name, patience=patience, say=say)
            done.append(Reaped(item.name, item.expires, removed))
        except PartialFailure as error:
            left += error.remaining
    if left:
        raise PartialFailure(
            "not everything was removed", remaining=left, hint="run `deployer reap` again"
        )
    return tuple(done)


def _marks(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield each deployment and when its time is over; empty for one that stays."""
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


def _time(name: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise DeployerError(
            f"{name!r} has the tag {EXPIRES_TAG}={text!r}, which is no time",
            hint="correct the tag, or destroy it by name",
        )
    return when
