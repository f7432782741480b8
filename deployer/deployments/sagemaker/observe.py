"""What exists under a deployment's name: reads only.

Names find, tags decide: a resource is ours when its tag ``deployer:name`` is the deployment's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.aws.autoscaling import Autoscaling
from deployer.aws.metrics import CloudWatch
from deployer.aws.roles import Roles
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.storage import Storage
from deployer.deployments.aws.alarms import alarms_of
from deployer.errors import DeployerError, InputError
from deployer.spec import naming
from deployer.spec.naming import NAME_TAG, PREVIOUS_TAG, STACK_TAG
from deployer.spec.resolved import PROVISIONED_CONCURRENCY, VARIANT, Resolved

RUNNING = ("InProgress", "Stopping")

LOOKS = 20
"""So many looks at an endpoint may contradict one another before it is an error."""

AGAIN_S = 1.0
"""Seconds between two looks that contradict one another."""

POLICY = "deployer"
"""The name of the role's one inline policy."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as AWS describes it. ``previous`` is the config it ran before, or empty.

    ``rollout`` is the DeploymentConfig of the last rollout, empty where AWS tells of none.
    """

    name: str
    arn: str
    status: str
    config: str
    created: datetime
    modified: datetime
    tags: Mapping[str, str]
    reason: str = ""
    variants: tuple[Mapping[str, Any], ...] = ()
    rollout: Mapping[str, Any] = field(default_factory=dict)

    @property
    def previous(self) -> str:
        """The config before, from the tag; empty when it names none but the one that runs."""
        words = self.tags.get(PREVIOUS_TAG, "").split()
        return next((word for word in words if word != self.config), "")

    def agrees(self, other: Endpoint | None) -> bool:
        """Whether another look saw the same; how many instances there are does not matter."""
        return other is not None and (
            (self.arn, self.status, self.config, self.modified, self.tags)
            == (other.arn, other.status, other.config, other.modified, other.tags)
        )


@dataclass(frozen=True)
class Observed:
    """What was found. ``configs`` maps our configs to their model, ``models`` our models to their data.

    ``busy`` are the models of the transform jobs that run; ``stack`` is the CloudFormation stack that made what
    is there, or empty.
    """

    endpoint: Endpoint | None
    configs: Mapping[str, str]
    models: Mapping[str, str]
    bucket_exists: bool
    bundles: frozenset[str]
    bundle_there: bool
    role: Mapping[str, Any] | None
    policy: Mapping[str, Any] | None
    alarms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: Mapping[str, Any] | None = None
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    schedules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    stack: str = ""


def observe(
    aws: Aws, resolved: Resolved, *, sleep: Callable[[float], None] = time.sleep
) -> Observed:
    """Look at everything that deploying ``resolved`` may touch. Raises DeployerError for what is not ours."""
    name = resolved.spec.name
    storage = Storage(aws, resolved.artifact.bucket)
    bucket = storage.exists()
    role, policy, role_tags = _role(aws, resolved)
    scaling = scaling_of(aws, resolved)
    found = surely(aws, name, sleep=sleep) if resolved.endpoint_name else None
    described = described_models(aws, name)
    return Observed(
        endpoint=found,
        configs=configs(aws, name),
        models={model: data for model, (data, _) in described.items()},
        bucket_exists=bucket,
        bundles=frozenset(bundles(storage, name)) if bucket else frozenset(),
        bundle_there=bucket and bundle_there(storage, resolved),
        role=role,
        policy=policy,
        alarms=alarms_of(aws, name),
        target=scaling.target() if scaling else None,
        policies={str(p["PolicyName"]): p for p in scaling.policies()} if scaling else {},
        schedules={str(s["ScheduledActionName"]): s for s in scaling.schedules()}
        if scaling
        else {},
        busy=frozenset() if resolved.endpoint_name else busy_models(aws, name),
        stack=stack_of(found.tags if found else {}, role_tags, *(t for _, t in described.values())),
    )


def stack_of(*tags: Mapping[str, str]) -> str:
    """Return the CloudFormation stack that the tags of some resources name; empty when none does."""
    return next((found[STACK_TAG] for found in tags if STACK_TAG in found), "")


def refuse_stack(name: str, stack: str, verb: str) -> None:
    """Raise InputError for a deployment that a stack made: CloudFormation would not know of a change."""
    if stack:
        raise InputError(
            f"{name!r} was made by the CloudFormation stack {stack!r}: `deployer {verb}` does not touch it",
            hint="use the stack's own route: `cdk deploy` and `cdk destroy` with -c resolved=resolved.json",
        )


def scaling_of(aws: Aws, resolved: Resolved) -> Autoscaling | None:
    """Return the scaling of the endpoint's variant; None for a target without an endpoint."""
    if not resolved.endpoint_name:
        return None
    serverless = resolved.spec.target.kind == "sagemaker-serverless"
    dimension = PROVISIONED_CONCURRENCY if serverless else "sagemaker:variant:DesiredInstanceCount"
    return Autoscaling(aws, resolved.resource_id, dimension)


def endpoint(aws: Aws, name: str) -> Endpoint | None:
    """Describe the endpoint; None when there is none. Raises DeployerError when it is not ours."""
    client = SageMaker(aws)
    found = client.endpoint(name)
    if found is None:
        return None
    arn = str(found["EndpointArn"])
    tags = client.tags(arn)
    if tags.get(NAME_TAG) != name and client.endpoint(name) is not None:
        raise DeployerError(
            f"endpoint {name!r} exists and deployer did not make it: it lacks the tag {NAME_TAG}={name}",
            hint="choose another name; nothing was touched",
        )
    return read_endpoint(found, tags)


def surely(aws: Aws, name: str, *, sleep: Callable[[float], None] = time.sleep) -> Endpoint | None:
    """Describe the endpoint as two looks in a row see it: one answer alone may be stale.

    What it runs, and what its tag says that it ran before, decide what is left alone and what is removed.
    Raises DeployerError when the looks go on to contradict one another.
    """
    before = endpoint(aws, name)
    for _ in range(LOOKS):
        found = endpoint(aws, name)
        if found is None and before is None:
            return None
        if found is not None and found.agrees(before):
            return found
        before = found
        sleep(AGAIN_S)
    raise DeployerError(
        f"AWS's answers about endpoint {name!r} go on to contradict one another",
        hint="something else changes it: run the same command again when that is over",
    )


def read_endpoint(found: Mapping[str, Any], tags: Mapping[str, str]) -> Endpoint:
    """Return AWS's description as our noun."""
    return Endpoint(
        name=str(found["EndpointName"]),
        arn=str(found["EndpointArn"]),
        status=str(found["EndpointStatus"]),
        config=str(found.get("EndpointConfigName", "")),
        created=found["CreationTime"],
        modified=found["LastModifiedTime"],
        tags=tags,
        reason=str(found.get("FailureReason") or ""),
        variants=tuple(found.get("ProductionVariants") or ()),
        rollout=dict(found.get("LastDeploymentConfig") or {}),
    )


def invocations(aws: Aws, name: str, since: datetime) -> float | None:
    """Return how many requests an endpoint has met since then; None when nothing was recorded."""
    where = {"EndpointName": name, "VariantName": VARIANT}
    until = max(datetime.now(UTC), since + timedelta(minutes=1))  # AWS takes no empty span
    return CloudWatch(aws).total("AWS/SageMaker", "Invocations", where, since, until)


def nothing(aws: Aws, name: str) -> InputError:
    """Return the error that there is nothing of ours under a name."""
    return InputError(
        f"there is no endpoint {name!r} in {aws.region} (from {aws.region_source})",
        hint="give the region it is in with --region",
    )


def configs(aws: Aws, name: str) -> dict[str, str]:
    """Return our endpoint configs of a deployment, each with its model."""
    client = SageMaker(aws)
    found: dict[str, str] = {}
    for config, arn in client.configs(f"{name}-"):
        if is_ours(name, config) and client.tags(arn).get(NAME_TAG) == name:
            described = client.config(config)
            if described is not None:
                found[config] = str(described["ProductionVariants"][0].get("ModelName", ""))
    return found


def models(aws: Aws, name: str) -> dict[str, str]:
    """Return our models of a deployment, each with the address of its data."""
    return {model: data for model, (data, _) in described_models(aws, name).items()}


def described_models(aws: Aws, name: str) -> dict[str, tuple[str, Mapping[str, str]]]:
    """Return our models of a deployment, each with the address of its data and its tags."""
    client = SageMaker(aws)
    found: dict[str, tuple[str, Mapping[str, str]]] = {}
    for model, arn in client.models(f"{name}-"):
        tags = client.tags(arn) if is_ours(name, model) else {}
        if tags.get(NAME_TAG) == name:
            described = client.model(model)
            if described is not None:
                found[model] = (data_of(described), tags)
    return found


def jobs(aws: Aws, name: str) -> dict[str, str]:
    """Return the transform jobs of a deployment that run, each with its status."""
    client = SageMaker(aws)
    running = [job for job in client.transform_jobs(f"{name}-") if job[2] in RUNNING]
    return {job: status for job, arn, status in running if client.tags(arn).get(NAME_TAG) == name}


def busy_models(aws: Aws, name: str) -> frozenset[str]:
    """Return the models that running transform jobs of a deployment use."""
    described = [SageMaker(aws).transform_job(job) for job in jobs(aws, name)]
    return frozenset(str(job["ModelName"]) for job in described if job is not None)


def is_ours(name: str, resource: str) -> bool:
    """Whether a model's or config's name is one that this deployment would give."""
    return re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{{naming.SHORT}}}", resource) is not None


def bundles(storage: Storage, name: str) -> set[str]:
    """Return the digests of the bundles that lie in S3, whole or in part."""
    start = naming.bundles(name)
    keys = [*storage.keys(start), *(key for key, _ in storage.uploads(start))]
    return {key.removeprefix(start).partition("/")[0] for key in keys}


def bundle_there(storage: Storage, resolved: Resolved) -> bool:
    """Whether the bundle lies in S3 whole: its last object is written last."""
    key = marker_key(resolved)
    found = storage.metadata(key)
    return found is not None and found.get("digest") == resolved.artifact.digest


def marker_key(resolved: Resolved) -> str:
    """The object whose presence says that all of the bundle is there."""
    artifact = resolved.artifact
    return f"{artifact.key}code/manifest.json" if artifact.files else artifact.key


def digest_of(data: str) -> str:
    """Return the bundle's digest in the address of a model's data; empty when there is none."""
    match = re.search(r"/bundles/([0-9a-f]{64})/", data)
    return match[1] if match else ""


def holds(wanted: Any, found: Any) -> bool:
    """Whether AWS's description has all that was asked for; it may have more (defaults, times)."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            holds(value, found.get(key)) for key, value in wanted.items() if key != "Tags"
        )
    if isinstance(wanted, list):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            return False
        return all(any(holds(item, other) for other in found) for item in wanted)
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return float(wanted) == float(found)
    return bool(wanted == found)


def data_of(described: Mapping[str, Any]) -> str:
    """Return the address of a described model's data; empty when it has none."""
    container = described.get("PrimaryContainer") or {}
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return str(source.get("S3Uri") or container.get("ModelDataUrl") or "")


def _role(
    aws: Aws, resolved: Resolved
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None, Mapping[str, str]]:
    """Return the execution role, its policy and its tags."""
    if not resolved.role.made:
        return None, None, {}
    roles = Roles(aws)
    name = resolved.role.name
    role = roles.role(name)
    if role is None:
        return None, None, {}
    tags = roles.tags(name)
    if tags.get(NAME_TAG) != resolved.spec.name and roles.role(name) is not None:
        raise DeployerError(
            f"role {name!r} exists and deployer did not make it",
            hint="name it with target.role_arn",
        )
    return role, roles.policy(name, POLICY), tags
