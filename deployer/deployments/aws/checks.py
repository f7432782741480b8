"""What a plan looked at, and what both AWS targets look at alike: image, role, alarms that the user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployer.deployments.backend import Asked
from deployer.deployments.plan import Check
from deployer.errors import DeployerError, InputError, SpecError
from deployer.spec.placeholders import BUNDLE, IMAGE
from deployer.spec.resolved import Image, Role


def given_alarms(names: tuple[str, ...], states: Mapping[str, str]) -> None:
    """Refuse the user's own alarms that would break a rollout; ``states`` are those of the ones that are there.

    Raises SpecError for one that is not there, DeployerError for one that fires.
    """
    missing = [name for name in names if name not in states]
    if missing:
        raise SpecError("rollout.alarms", f"there is no alarm {missing[0]!r}", hint="make it first")
    firing = [name for name in names if states[name] == "ALARM"]
    if firing:
        raise DeployerError(
            f"alarm {firing[0]!r} fires now: it would stop the rollout at once",
            hint="look at it first, or leave it out of rollout.alarms",
        )


def given_role(role: Role, *, there: bool) -> None:
    """Raise InputError for a role that the user names and that is not there."""
    if not role.made and not there:
        raise InputError(f"there is no role {role.arn}", hint="correct target.role_arn")


def profiled(asked: Asked, digest: str) -> Iterator[Check]:
    """Yield a note when the profile is of another bundle than the one of ``digest``, which is deployed."""
    if asked.digest not in ("", digest):
        words = f"measured of bundle {asked.digest[:12]}, not of the one that is deployed"
        yield Check("profile", "note", words)


def unchecked(subject: str, words: str) -> Check:
    """Return the note about one thing that only AWS could tell."""
    return Check(subject, "note", f"not checked offline: {words}")


def ground(image: Image, source: str, placeholders: tuple[str, ...]) -> Iterator[Check]:
    """Yield what offline is to be said of image and bundle; ``source`` is the bundle's path."""
    if IMAGE in placeholders:
        words = f"{image.uri} is a placeholder for its digest, which names are made of"
    else:
        words = f"whether {image.uri} is there and for {image.architecture}"
    yield unchecked("image", words)
    if BUNDLE in placeholders:
        words = f"{source} is not there: a digest of zeros stands for it"
        yield unchecked("bundle", words)


def rest(role: str, made: bool, alarms: tuple[str, ...]) -> Iterator[Check]:
    """Yield what offline is to be said of role, permissions, alarms and what exists."""
    yield unchecked("permissions", "whether you may do what deploying does")
    if not made:
        yield unchecked("role", f"whether {role} is there")
    if alarms:
        yield unchecked("alarms", f"whether {', '.join(alarms)} are there and none fires")
    yield unchecked("what exists", "so no change is listed")
