"""The verbs on a fleet: plan, apply, status. ``destroy`` has its own module."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployer.aws import fleets
from deployer.aws.metrics import Logs
from deployer.aws.queues import Queues
from deployer.aws.session import Aws
from deployer.aws.storage import Storage
from deployer.clients.sqs import Work
from deployer.deployments.aws import objects, prepare
from deployer.deployments.aws.alarms import alarms_of
from deployer.deployments.aws.checks import profiled
from deployer.deployments.aws.place import place_of, refuse_other
from deployer.deployments.backend import Asked
from deployer.deployments.ec2 import cdk, checks, facts, inventory, rollback
from deployer.deployments.ec2.nouns import STABLE, FleetDeployed, FleetStatus
from deployer.deployments.ec2.resolve import resolve
from deployer.deployments.facts import facts_of
from deployer.deployments.plan import Plan, Step, resolving
from deployer.deployments.state import ServerLog
from deployer.errors import ConditionFailed, InputError
from deployer.pricing.book import PriceBook
from deployer.progress import Say
from deployer.runs import Run
from deployer.spec import naming, rules
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.naming import EXPIRES_TAG
from deployer.spec.resolved import Image


def plan(
    aws: Aws, spec: DeploymentSpec, book: PriceBook, *, asked: Asked, run: Run | None = None
) -> Plan[ResolvedFleet]:
    """Work out what deploying ``spec`` would change; no call changes anything.

    ``run`` is what traffic would be like, which prices what follows it.

    Raises RuleBroken, InputError, EnvironmentProblem or DeployerError for what would fail later.
    """
    target = checks.fleet_of(spec)
    spec = prepare.ready(spec, asked.p99_s)
    bundle = prepare.opened(spec, "EC2")
    place, now, serving = place_of(aws), datetime.now(UTC), bundle.manifest.serving
    # The price comes first, on stand-ins for what AWS is asked: it needs nobody's answer.
    draft = resolve(
        spec, place, Image("to-be-found"), bundle.digest, serving, "", asked=asked, now=now
    )
    predicted = inventory.predict(draft, book, run)
    image = facts.find_image(aws, spec, target)
    ami = facts.find_ami(aws, target)
    resolved = resolve(spec, place, image, bundle.digest, serving, ami, asked=asked, now=now)
    found = (*facts.check(aws, resolved, book), *profiled(asked, bundle.digest))
    return resolving(resolved, steps(aws, resolved), found, predicted)


def replan(aws: Aws, resolved: ResolvedFleet, book: PriceBook) -> Plan[ResolvedFleet]:
    """Return the steps from what exists to a document resolved earlier, which is taken verbatim.

    Raises InputError when the credentials or the region are others than the document's, RuleBroken for its
    specification.
    """
    refuse_other(aws, resolved.place)
    rules.require(resolved.spec, facts_of(resolved.spec, digest=resolved.artifact.digest))
    found = facts.check(aws, resolved, book)
    return resolving(resolved, steps(aws, resolved), found, inventory.predict(resolved, book))


def steps(aws: Aws, resolved: ResolvedFleet) -> tuple[Step, ...]:
    """Return what is to be done: the bucket, the bundle in it, and the stack of just this document."""
    artifact = resolved.artifact
    storage = Storage(aws, artifact.bucket)
    bucket = storage.exists()
    there = bucket and storage.metadata(artifact.key) is not None
    stack = fleets.Stacks(aws).find(resolved.stack)
    digest = fleets.outputs(stack).get("DocumentDigest") if stack else None
    if stack is None:
        last = Step("create", "stack", resolved.stack)
    elif digest == resolved.digest and stack["StackStatus"] in STABLE:
        last = Step("keep", "stack", resolved.stack)
    else:
        last = Step("update", "stack", resolved.stack, f"it is {stack['StackStatus']}")
    return (
        Step("keep" if bucket else "create", "bucket", artifact.bucket),
        Step("keep" if there else "create", "bundle", artifact.digest[:12]),
        last,
    )


class BootLogs:
    """Says what instances write while they start, each line once."""

    def __init__(self, aws: Aws, group: str, say: Say) -> None:
        self._logs, self._group, self._say = Logs(aws), group, say
        self._seen: dict[str, int] = {}

    def tell(self) -> None:
        """Look once."""
        for stream in self._logs.streams(self._group, prefix="boot/"):
            lines = self._logs.tail(self._group, stream, 500)
            for line in lines[self._seen.get(stream, 0) :]:
                self._say(f"{stream.removeprefix('boot/')}: {line}")
            self._seen[stream] = len(lines)


def apply(aws: Aws, plan: Plan[ResolvedFleet], *, say: Say) -> FleetDeployed:
    """Make the account equal to the plan's document and return what runs.

    Running it twice changes nothing. Raises ConditionFailed when too few instances serve afterwards, DeployerError
    when CloudFormation rolled the stack back.
    """
    resolved, began = plan.resolved, datetime.now(UTC)
    for number, step in enumerate(plan.changes, 1):
        say(f"[{number}/{len(plan.changes)}] {step.action} {step.kind} {step.name}")
        if step.kind == "bucket":
            objects.make_bucket(aws, resolved.artifact)
        elif step.kind == "bundle":
            objects.put_archive(
                aws, resolved.artifact, resolved.tags, resolved.target.kms_key_arn, say
            )
        else:
            boot = BootLogs(aws, resolved.log_group, say)
            cdk.deploy(resolved, say, beside=boot.tell)
            rollback.keep(aws, resolved)
    found = status(aws, resolved.spec.name)
    if found.serving < resolved.least and not resolved.target.types:
        raise ConditionFailed(
            f"{found.serving} of {resolved.least} instances serve: {found.rows}",
            hint=f"`deployer status {resolved.spec.name}` shows whether it is only late",
        )
    return FleetDeployed(
        name=resolved.spec.name,
        kind=resolved.spec.target.kind,
        region=resolved.place.region,
        account=resolved.place.account,
        group=resolved.group,
        url=f"{found.url}/invocations" if found.url else found.queue_url,
        bundle_digest=resolved.artifact.digest,
        seconds=round((datetime.now(UTC) - began).total_seconds(), 1),
        changed=len(plan.changes),
    )


def status(aws: Aws, name: str) -> FleetStatus:
    """Ask AWS how a fleet is. Raises InputError when there is none of ours under that name."""
    stack = fleets.Stacks(aws).find(naming.stack(name))
    if stack is None or "GroupName" not in fleets.outputs(stack):
        raise InputError(
            f"there is no fleet {name!r} in {aws.region} (from {aws.region_source})",
            hint="give the region it is in with --region",
        )
    said = fleets.outputs(stack)
    group: Any = fleets.group(aws, said["GroupName"]) or {}
    arn = said.get("TargetGroupArn", "")
    health = fleets.health(aws, arn) if arn else {}
    unknown = "not registered" if arn else ""
    alarms = alarms_of(aws, name)
    return FleetStatus(
        name=name,
        region=aws.region,
        stack=str(stack["StackName"]),
        status=str(stack["StackStatus"]),
        bundle_digest=said.get("BundleDigest", ""),
        url=said.get("Url", ""),
        bounds=(int(group.get("MinSize", 0)), int(group.get("MaxSize", 0))),
        desired=int(group.get("DesiredCapacity", 0)),
        instances=tuple(
            (row["InstanceId"], row["LifecycleState"], health.get(row["InstanceId"], unknown))
            for row in group.get("Instances", ())
        ),
        alarms=tuple((key, str(row.get("StateValue", ""))) for key, row in sorted(alarms.items())),
        expires=fleets.tags(stack).get(EXPIRES_TAG, ""),
        **_depths(aws, said),
    )


def _depths(aws: Aws, said: Mapping[str, str]) -> dict[str, Any]:
    """Return what is known of a fleet's queue; nothing without one."""
    url = said.get("QueueUrl", "")
    if not url:
        return {}
    queues = Queues(aws)
    waiting, taken = queues.depth(url)
    dead = sum(queues.depth(said["DeadLettersUrl"]))
    where = {"queue_url": url, "results_s3_uri": said["Results"]}
    return {**where, "waiting": waiting, "taken": taken, "dead": dead}


def work(aws: Aws, name: str) -> Work | None:
    """Return where a fleet takes its messages and leaves its answers; None for one behind a load balancer."""
    stack = fleets.Stacks(aws).find(naming.stack(name))
    said = fleets.outputs(stack) if stack else {}
    if "QueueUrl" not in said:
        return None
    return Work(said["QueueUrl"], said["DeadLettersUrl"], said["Results"])


def logs(aws: Aws, name: str, *, lines: int) -> tuple[ServerLog, ...]:
    """Return the last lines of the servers and of the starts that spoke last."""
    group, client = naming.fleet_logs(name), Logs(aws)
    return tuple(
        ServerLog(8080, f"{group}/{stream}", client.tail(group, stream, lines))
        for stream in client.streams(group)
    )
