"""Remove everything of a deployment, in order, and look again whether anything is left.

AWS's tags tell what is ours, so another machine can do it, and a removal that was cut off resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deployer.aws.autoscaling import registered
from deployer.aws.metrics import CloudWatch, Logs
from deployer.aws.roles import Roles
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.deployments.aws import objects
from deployer.deployments.aws.alarms import alarms_of
from deployer.deployments.aws.place import bucket_of
from deployer.deployments.aws.polling import Polling
from deployer.deployments.sagemaker import observe
from deployer.deployments.sagemaker.waiting import Watch
from deployer.errors import PartialFailure
from deployer.progress import Say
from deployer.spec import naming
from deployer.spec.naming import BUCKET_TAG, NAME_TAG
from deployer.spec.resolved import VARIANT

STOP_S = 900.0
"""How long a transform job is given to stop."""


def destroy(
    aws: Aws,
    name: str,
    *,
    bucket: str = "",
    polling: Polling,
    say: Say,
    keep_logs: bool = False,
) -> tuple[str, ...]:
    """Remove what is ours under ``name`` and return it. ``bucket`` is where its objects are thought to lie.

    Raises PartialFailure listing what is left, when something is, and InputError for what a CloudFormation stack
    made.
    """
    remover = _Remover(aws, name, bucket, polling, say)
    remover.run(keep_logs=keep_logs)
    began = polling.clock()
    while left := remaining(aws, name, bucket=bucket, keep_logs=keep_logs):
        if polling.clock() - began > polling.settle_s:
            raise PartialFailure(
                f"{name!r} is not wholly removed",
                remaining=left,
                hint=f"run `deployer destroy {name}` again",
            )
        polling.sleep(polling.poll_s)
        remover.run(keep_logs=keep_logs)  # a list that was stale before may show more now
    return tuple(remover.removed)


def remaining(aws: Aws, name: str, *, bucket: str = "", keep_logs: bool = False) -> tuple[str, ...]:
    """Return everything that exists of a deployment, one line each; reads only."""
    return tuple(_remaining(aws, name, bucket, keep_logs))


def _remaining(aws: Aws, name: str, bucket: str, keep_logs: bool) -> Iterator[str]:
    found = observe.endpoint(aws, name)
    if found is not None:
        yield f"endpoint {name} ({found.status})"
    for scaling in registered(aws, _resource(name)):
        yield f"scaling target {scaling.resource_id}"
    yield from (f"endpoint config {config}" for config in observe.configs(aws, name))
    yield from (f"model {model}" for model in observe.models(aws, name))
    yield from (f"transform job {job}" for job in observe.jobs(aws, name))
    yield from (f"alarm {alarm}" for alarm in alarms_of(aws, name))
    if (
        not keep_logs
        and _owns_logs(aws, name)
        and Logs(aws).group_exists(naming.endpoint_logs(name))
    ):
        yield f"log group {naming.endpoint_logs(name)}"
    role_tags, data = _our_role(aws, name), observe.models(aws, name).values()
    for where in _buckets(aws, bucket, role_tags or {}, data):
        yield from objects.remaining(aws, where, name)
    if role_tags is not None:
        yield f"role {naming.role(name, aws.region)}"


class _Remover:
    """One pass over everything; ``removed`` collects what it removed."""

    def __init__(self, aws: Aws, name: str, bucket: str, polling: Polling, say: Say) -> None:
        self._aws, self._name, self._bucket = aws, name, bucket
        self._polling, self._say = polling, say
        self.removed: list[str] = []

    def run(self, *, keep_logs: bool) -> None:
        """Remove in order: scaling, endpoint, objects, what is free, and last what remembers the bucket."""
        role_tags = _our_role(self._aws, self._name) or {}
        models = observe.described_models(self._aws, self._name)
        found = observe.endpoint(self._aws, self._name)  # raises when one of that name is not ours
        tags = [found.tags if found else {}, role_tags, *(tags for _, tags in models.values())]
        observe.refuse_stack(self._name, observe.stack_of(*tags), "destroy")
        data = (data for data, _ in models.values())
        buckets = _buckets(self._aws, self._bucket, role_tags, data)
        self._scaling()
        self._endpoint()
        self._jobs()
        for bucket in buckets:
            for what in objects.remove_all(self._aws, bucket, self._name):
                self._note(True, what)
        sagemaker = SageMaker(self._aws)
        for config in observe.configs(self._aws, self._name):
            self._note(sagemaker.delete_config(config), f"endpoint config {config}")
        for alarm in alarms_of(self._aws, self._name):
            CloudWatch(self._aws).delete_alarms([alarm])
            self._note(True, f"alarm {alarm}")
        if not keep_logs and _owns_logs(self._aws, self._name):
            group = naming.endpoint_logs(self._name)
            self._note(Logs(self._aws).delete_group(group), f"log group {group}")
        for model in observe.models(self._aws, self._name):
            self._note(sagemaker.delete_model(model), f"model {model}")
        if _our_role(self._aws, self._name) is not None:
            role = naming.role(self._name, self._aws.region)
            self._note(Roles(self._aws).delete(role), f"role {role}")

    def _scaling(self) -> None:
        for scaling in registered(self._aws, _resource(self._name)):
            for policy in scaling.policies():
                scaling.delete_policy(str(policy["PolicyName"]))
                self._note(True, f"scaling policy {policy['PolicyName']}")
            for action in scaling.schedules():
                scaling.delete_schedule(str(action["ScheduledActionName"]))
                self._note(True, f"schedule {action['ScheduledActionName']}")
            self._note(scaling.deregister(), f"scaling target {scaling.resource_id}")

    def _endpoint(self) -> None:
        sagemaker = SageMaker(self._aws)
        watch = Watch(self._aws, self._name, self._polling, self._say)
        found = watch.settled()  # an endpoint that is being made or updated cannot be deleted
        if found is not None:
            sagemaker.delete_endpoint(self._name)
            Watch(self._aws, self._name, self._polling, self._say).gone()
            self._note(True, f"endpoint {self._name}")

    def _jobs(self) -> None:
        sagemaker, began = SageMaker(self._aws), self._polling.clock()
        while running := observe.jobs(self._aws, self._name):
            for job, status in running.items():
                if status == "InProgress":
                    stopped = sagemaker.stop_transform_job(job)
                    self._note(stopped, f"transform job {job} (stopped)")
            if self._polling.clock() - began > STOP_S:
                return  # what remains is listed
            self._polling.sleep(self._polling.poll_s)

    def _note(self, did: bool, what: str) -> None:
        if did:
            self._say(f"removed {what}")
            self.removed.append(what)


def _resource(name: str) -> str:
    return f"endpoint/{name}/variant/{VARIANT}"


def _owns_logs(aws: Aws, name: str) -> bool:
    """Whether something tells that the log group is ours: SageMaker gives it no tag, a failed start does."""
    if _our_role(aws, name) is not None or observe.models(aws, name):
        return True
    return Logs(aws).tags(naming.endpoint_logs(name)).get(NAME_TAG) == name


def keep_log(aws: Aws, name: str, tags: Mapping[str, str]) -> bool:
    """Let the log group say whose it is, for a later ``destroy`` or ``reap``; False when there is none."""
    return Logs(aws).tag(naming.endpoint_logs(name), objects.own_tags(tags))


def _our_role(aws: Aws, name: str) -> dict[str, str] | None:
    """Return the tags of the role that was made; None when there is none of ours."""
    roles = Roles(aws)
    role = naming.role(name, aws.region)
    if roles.role(role) is None:
        return None
    tags = roles.tags(role)
    return tags if tags.get(NAME_TAG) == name else None


def _buckets(
    aws: Aws, hint: str, role_tags: Mapping[str, str], data: Iterable[str]
) -> tuple[str, ...]:
    """Return where objects may lie: as said, as the role and the models say, and the usual bucket."""
    named = [uri.removeprefix("s3://").partition("/")[0] for uri in data]
    found = (hint, role_tags.get(BUCKET_TAG, ""), *named, bucket_of(aws))
    return tuple(dict.fromkeys(bucket for bucket in found if bucket))
