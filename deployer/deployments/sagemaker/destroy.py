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
from deployer.aws.storage import Storage
from deployer.deployments.patience import Patience, Say
from deployer.deployments.sagemaker import observe, resolve
from deployer.deployments.sagemaker.observe import BUCKET_TAG, SHARED_TAG
from deployer.deployments.sagemaker.waiting import Watch
from deployer.errors import PartialFailure
from deployer.spec.resolved import NAME_TAG, VARIANT

LOGS = "/aws/sagemaker/Endpoints/"
"""What the names of endpoints' log groups start with."""

STOP_S = 900.0
"""How long a transform job is given to stop."""


def destroy(
    aws: Aws,
    name: str,
    *,
    bucket: str = "",
    patience: Patience,
    say: Say,
    keep_logs: bool = False,
) -> tuple[str, ...]:
    """Remove what is ours under ``name`` and return it. ``bucket`` is where its objects are thought to lie.

    Raises PartialFailure listing what is left, when something is, and InputError for what a CloudFormation stack
    made.
    """
    remover = _Remover(aws, name, bucket, patience, say)
    remover.run(keep_logs=keep_logs)
    began = patience.clock()
    while left := remaining(aws, name, bucket=bucket, keep_logs=keep_logs):
        if patience.clock() - began > patience.settle_s:
            raise PartialFailure(
                f"{name!r} is not wholly removed",
                remaining=left,
                hint=f"run `deployer destroy {name}` again",
            )
        patience.sleep(patience.poll_s)
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
    yield from (f"alarm {alarm}" for alarm in observe.our_alarms(aws, name))
    if not keep_logs and _owns_logs(aws, name) and Logs(aws).group_exists(_group(name)):
        yield f"log group {_group(name)}"
    role_tags, data = _our_role(aws, name), observe.models(aws, name).values()
    for where in _buckets(aws, bucket, role_tags or {}, data):
        storage = Storage(aws, where)
        prefix = resolve.prefix(name)
        yield from (f"s3://{where}/{key}" for key in storage.keys(prefix))
        yield from (f"unfinished upload s3://{where}/{key}" for key, _ in storage.uploads(prefix))
    if role_tags is not None:
        yield f"role {role_name(aws, name)}"


class _Remover:
    """One pass over everything; ``removed`` collects what it removed."""

    def __init__(self, aws: Aws, name: str, bucket: str, patience: Patience, say: Say) -> None:
        self._aws, self._name, self._bucket = aws, name, bucket
        self._patience, self._say = patience, say
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
            self._objects(bucket)
        sagemaker = SageMaker(self._aws)
        for config in observe.configs(self._aws, self._name):
            self._note(sagemaker.delete_config(config), f"endpoint config {config}")
        for alarm in observe.our_alarms(self._aws, self._name):
            CloudWatch(self._aws).delete_alarms([alarm])
            self._note(True, f"alarm {alarm}")
        if not keep_logs and _owns_logs(self._aws, self._name):
            group = _group(self._name)
            self._note(Logs(self._aws).delete_group(group), f"log group {group}")
        for model in observe.models(self._aws, self._name):
            self._note(sagemaker.delete_model(model), f"model {model}")
        if _our_role(self._aws, self._name) is not None:
            role = role_name(self._aws, self._name)
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
        watch = Watch(self._aws, self._name, self._patience, self._say)
        found = watch.settled()  # an endpoint that is being made or updated cannot be deleted
        if found is not None:
            sagemaker.delete_endpoint(self._name)
            Watch(self._aws, self._name, self._patience, self._say).gone()
            self._note(True, f"endpoint {self._name}")

    def _jobs(self) -> None:
        sagemaker, began = SageMaker(self._aws), self._patience.clock()
        while running := observe.jobs(self._aws, self._name):
            for job, status in running.items():
                if status == "InProgress":
                    stopped = sagemaker.stop_transform_job(job)
                    self._note(stopped, f"transform job {job} (stopped)")
            if self._patience.clock() - began > STOP_S:
                return  # what remains is listed
            self._patience.sleep(self._patience.poll_s)

    def _objects(self, bucket: str) -> None:
        storage = Storage(self._aws, bucket)
        if not storage.exists():
            return
        prefix = resolve.prefix(self._name)
        count = storage.remove(prefix)
        self._note(count > 0, f"{count} objects under s3://{bucket}/{prefix}")
        tags = storage.bucket_tags()
        # A run that was cut off between making the bucket and its tag leaves it under our own name.
        cut_off = not tags and bucket == resolve.bucket_name(observe.place_of(self._aws))
        ours = cut_off or tags.get(SHARED_TAG) == "true"
        if ours and next(storage.keys(""), None) is None:
            self._note(storage.remove_bucket(), f"bucket {bucket}, which was empty")

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
    return Logs(aws).tags(_group(name)).get(NAME_TAG) == name


def keep_log(aws: Aws, name: str, tags: Mapping[str, str]) -> bool:
    """Let the log group say whose it is, for a later ``destroy`` or ``reap``; False when there is none."""
    return Logs(aws).tag(_group(name), {k: v for k, v in tags.items() if k.startswith("deployer:")})


def _group(name: str) -> str:
    return f"{LOGS}{name}"


def role_name(aws: Aws, name: str) -> str:
    """Return the name of the execution role that is made for a deployment."""
    return f"deployer-{name}-{aws.region}"


def _our_role(aws: Aws, name: str) -> dict[str, str] | None:
    """Return the tags of the role that was made; None when there is none of ours."""
    roles = Roles(aws)
    role = role_name(aws, name)
    if roles.role(role) is None:
        return None
    tags = roles.tags(role)
    return tags if tags.get(NAME_TAG) == name else None


def _buckets(
    aws: Aws, hint: str, role_tags: Mapping[str, str], data: Iterable[str]
) -> tuple[str, ...]:
    """Return where objects may lie: as said, as the role and the models say, and the usual bucket."""
    place = observe.place_of(aws)
    named = [uri.removeprefix("s3://").partition("/")[0] for uri in data]
    found = (hint, role_tags.get(BUCKET_TAG, ""), *named, resolve.bucket_name(place))
    return tuple(dict.fromkeys(bucket for bucket in found if bucket))
