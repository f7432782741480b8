"""Deployments whose time (``--ttl``) is over, whatever target they are on: which they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from deployer.deployments.backend import Expired, Reaped
from deployer.errors import DeployerError, PartialFailure
from deployer.progress import Say
from deployer.spec.naming import EXPIRES_TAG


def remove_each(
    found: Iterable[tuple[Expired, Callable[[str], tuple[str, ...]]]], say: Say
) -> tuple[Reaped, ...]:
    """Remove one deployment after the other, each by its own backend.

    Raises PartialFailure listing what is left, after trying all.
    """
    done: list[Reaped] = []
    left: list[str] = []
    for item, remove in found:
        say(f"{item.name}: its time was over at {item.expires}")
        try:
            done.append(Reaped(item.name, item.expires, remove(item.name)))
        except PartialFailure as error:
            left += error.remaining
        except DeployerError as error:
            left.append(f"{item.name}: {error.message}")
    if left:
        raise PartialFailure(
            "not everything was removed", remaining=left, hint="run `deployer reap` again"
        )
    return tuple(done)


def time_of(name: str, text: str) -> datetime:
    """Return when the time of a deployment is over. Raises DeployerError for a tag that is no time."""
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
