"""Rules that need facts of the bundle: what it can use, what it sends, how long it drains."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec import deregistration, limits
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.instances import accelerator
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.target import Ec2Fleet, SageMakerAsync, SageMakerBatch


def _types(spec: DeploymentSpec) -> Iterator[tuple[str, str]]:
    """Yield every instance type with its key."""
    if name := spec.target.instance_type:
        yield "target.instance_type", name
    if isinstance(spec.target, Ec2Fleet):
        for index, row in enumerate(spec.target.types):
            yield f"target.types[{index}].instance_type", row.instance_type


def _accelerated(spec: DeploymentSpec) -> bool:
    return any(accelerator(name) for _, name in _types(spec))


@rule(
    "accelerator-unused",
    "target.instance_type",
    "target.types",
    says="An instance type with an accelerator is for a bundle that can use it, or an image whose name says gpu, cuda "
    "or neuron.",
    source="deployer: the accelerator is most of the price, and the processor would do all the work",
    needs=("needs_no_accelerator",),
    applies=_accelerated,
)
def idle_accelerator(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Paying for what stands idle is never the lowest cost."""
    image = spec.target.image_uri
    if not facts.needs_no_accelerator or any(word in image for word in ("gpu", "cuda", "neuron")):
        return
    for key, name in _types(spec):
        if kind := accelerator(name):
            yield Wrong(
                key,
                f"{name!r} has {kind}, and the bundle can only use the processor: "
                f"{facts.needs_no_accelerator}",
                "choose a type without one, or package the bundle with a runtime that uses it",
            )


def _limited(spec: DeploymentSpec) -> bool:
    return limits.of(spec.target).request_bytes < float("inf")


@rule(
    "sample-size",
    "target.kind",
    says="The bundle's largest sample request is within what the target takes.",
    source="deployer: a sample is a request as they come; the limits stand in the documentation of each mode "
    "(InvokeEndpoint, serverless endpoints, InvokeEndpointAsync, CreateTransformJob, SQS)",
    needs=("largest_sample",),
    applies=_limited,
)
def sample(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A request that is too long fails by itself while the deployment runs on."""
    limit = int(limits.of(spec.target).request_bytes)
    if facts.largest_sample is None or facts.largest_sample <= limit:
        return
    own = isinstance(spec.target, SageMakerBatch | SageMakerAsync)
    yield Wrong(
        "target.max_payload_mb" if isinstance(spec.target, SageMakerBatch) else "target.kind",
        f"a sample request of the bundle has {facts.largest_sample:,} bytes; "
        f"a {spec.target.kind} target takes {limit:,}",
        "make the requests smaller" if own else "use sagemaker-async, which takes 1 GB through S3",
    )


def _behind_queue(spec: DeploymentSpec) -> bool:
    return isinstance(spec.target, Ec2Fleet) and spec.target.queue is not None


@rule(
    "queue-boto3",
    "target.queue",
    "bundle",
    says="A bundle behind a queue requires boto3.",
    source="deployer: a worker asks its queue with it, and the serving code's own requirements leave it out",
    needs=("boto3",),
    applies=_behind_queue,
)
def worker(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The image would hold none."""
    if not facts.boto3:
        yield Wrong(
            "target.queue",
            "the bundle does not require boto3, with which a worker asks its queue",
            "package it again with --requirements FILE, in which stands boto3 and its version",
        )


def _drains(spec: DeploymentSpec) -> bool:
    return isinstance(spec.target, Ec2Fleet)


@rule(
    "drain-budget",
    "target.spot",
    "target.listener.deregistration_delay_s",
    "target.health",
    says=f"A drain ends within what AWS gives: {deregistration.SPOT_LIMIT_S} s with spot, "
    f"{deregistration.HOOK_LIMIT_S:,} s without.",
    source="EC2 user guide, Spot Instance interruption notices: a warning two minutes before; EC2 Auto Scaling, "
    "PutLifecycleHook.HeartbeatTimeout: “The range is from 30 to 7200 seconds”",
    needs=("drain_s", "request_timeout_s"),
    applies=_drains,
)
def drain_budget(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """By the objective, and by the measured p99 where there is one: a measurement never widens the verdict."""
    if not isinstance(spec.target, Ec2Fleet):
        return
    drain_s, request_s = facts.drain_s or 0.0, facts.request_timeout_s or 0.0
    for p99_s in (None, *(() if facts.p99_s is None else (facts.p99_s,))):
        found = deregistration.budget(spec, spec.target, drain_s, request_s, p99_s)
        if found.total_s > found.limit_s:
            yield Wrong(
                "target.spot" if spec.target.spot is not None else "target.listener",
                f"draining takes {found.notice_s} + {found.delay_s} + {found.server_s} = {found.total_s} s "
                f"(notice, load balancer, server); AWS gives {found.limit_s} s",
                "shorten target.listener.deregistration_delay_s, target.health or the bundle's drain_s",
            )
            return


RULES = (idle_accelerator, sample, worker, drain_budget)
"""The rules of this area."""
