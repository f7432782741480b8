"""Remove everything of a fleet, in order, and look again whether anything is left."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.aws import fleets
from deployer.aws.metrics import Logs
from deployer.aws.queues import Queues
from deployer.aws.roles import Roles
from deployer.aws.session import Aws
from deployer.aws.storage import Storage
from deployer.deployments.aws import objects
from deployer.deployments.aws.place import bucket_of
from deployer.deployments.aws.polling import Polling
from deployer.errors import DeployerError, PartialFailure
from deployer.progress import Say
from deployer.spec import naming
from deployer.spec.naming import NAME_TAG

FAILED = "DELETE_FAILED"


def destroy(
    aws: Aws, name: str, *, bucket: str = "", polling: Polling, say: Say
) -> tuple[str, ...]:
    """Remove what is ours under ``name`` and return it. ``bucket`` is where its bundles are thought to lie.

    Raises DeployerError when the stack of that name is not ours, PartialFailure listing what is left.
    """
    removed: list[str] = []

    def note(what: str) -> None:
        say(f"removed {what}")
        removed.append(what)

    if _delete_stack(aws, name, polling, say):
        note(f"stack {naming.stack(name)}")
    for found in _log_buckets(aws, name):
        storage = Storage(aws, found)
        count = storage.remove("")
        if storage.remove_bucket():
            note(f"bucket {found} with {count} access logs")
    where = bucket or bucket_of(aws)
    for what in objects.remove_all(aws, where, name):
        note(what)
    left = remaining(aws, name, bucket=where)
    if left:
        raise PartialFailure(
            f"{name!r} is not wholly removed",
            remaining=left,
            hint=f"run `deployer destroy {name}` again",
        )
    return tuple(removed)


def remaining(aws: Aws, name: str, *, bucket: str = "") -> tuple[str, ...]:
    """Return everything that exists of a fleet, one line each; reads only."""
    return tuple(_remaining(aws, name, bucket or bucket_of(aws)))


def _remaining(aws: Aws, name: str, bucket: str) -> Iterator[str]:
    stack = fleets.Stacks(aws).find(naming.stack(name))
    if stack is not None:
        yield f"stack {naming.stack(name)} ({stack['StackStatus']})"
    if fleets.group(aws, naming.group(name)) is not None:
        yield f"group {naming.group(name)}"
    group = naming.fleet_logs(name)
    if Logs(aws).group_exists(group):
        yield f"log group {group}"
    for queue in (naming.group(name), naming.dead_letters(naming.group(name))):
        if Queues(aws).url(queue):
            yield f"queue {queue}"
    role = naming.role(name, aws.region)
    roles = Roles(aws)
    if roles.role(role) is not None and roles.tags(role).get(NAME_TAG) == name:
        yield f"role {role}"
    yield from (f"bucket {found}" for found in _log_buckets(aws, name))
    yield from objects.remaining(aws, bucket, name)


def is_ours(aws: Aws, name: str) -> bool:
    """Whether a stack of this name is a fleet of ours."""
    stack = fleets.Stacks(aws).find(naming.stack(name))
    return stack is not None and "GroupName" in fleets.outputs(stack)


def _delete_stack(aws: Aws, name: str, polling: Polling, say: Say) -> bool:
    """Delete the stack and wait until it is gone; False when there was none."""
    stacks, stack = fleets.Stacks(aws), naming.stack(name)
    found = stacks.find(stack)
    if found is None:
        return False
    if fleets.tags(found).get(NAME_TAG) != name:
        raise DeployerError(
            f"stack {stack!r} exists and does not say that it is {name!r}: it lacks the tag {NAME_TAG}",
            hint="look at it in CloudFormation",
        )
    stacks.delete(stack)
    began, said = polling.clock(), ""
    while (found := stacks.find(stack)) is not None:
        status = str(found["StackStatus"])
        if status != said:
            said = status
            say(f"stack {stack}: {status}")
        if status == FAILED or polling.clock() - began > polling.limit_s:
            reasons = "; ".join(stacks.failures(stack)) or status
            raise PartialFailure(
                f"stack {stack!r} cannot be removed: {reasons}",
                remaining=[f"stack {stack} ({status})"],
                hint=f"remove what holds it, then run `deployer destroy {name}` again",
            )
        polling.sleep(polling.poll_s)
    return True


def _log_buckets(aws: Aws, name: str) -> tuple[str, ...]:
    """Return the buckets of access logs, which outlive the stack: those with our tag that are there."""
    tagged = fleets.buckets(aws, NAME_TAG, name)
    return tuple(found for found in tagged if Storage(aws, found).exists())
