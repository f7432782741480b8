"""How a bill is counted, in sentences: what holds for every target, for this one, and what it assumes."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cost.materials.credits import FAMILIES
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import NAT
from deployer.spec.instances import local_disks
from deployer.spec.target import (
    Ec2Fleet,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

COMMON = (
    "Hours are prorated over the trace, as a window of a service that runs on.",
    "1 GB is 2^30 bytes; a GB-month is 730 hours of one GB.",
    "Callers are on the internet: answers pay the first transfer tier on every target. No free allowance is applied.",
    "The dashboard is counted whole, although an account has three free; `deployer deploy` to SageMaker makes none.",
)


def conventions(spec: DeploymentSpec) -> tuple[str, ...]:
    """Return the sentences that say how the bill of a specification is counted, and what it assumes."""
    return (*COMMON, *_of_target(spec), *_assumed(spec))


def _of_target(spec: DeploymentSpec) -> Iterator[str]:
    target = spec.target
    if isinstance(target, SageMakerAsync) or (isinstance(target, Ec2Fleet) and target.queue):
        yield "Callers read each answer from S3 once."
    if not isinstance(target, Ec2Fleet):
        return
    if target.queue is None:
        yield "Every request opens its own connection to the load balancer: the dearest reading."
        if target.listener is None or not target.listener.internal:
            count = target.alb_ipv4
            yield f"The load balancer is billed {count} public IPv4 addresses (target.alb_ipv4, assumed)."
    else:
        yield "Messages are sent, received and deleted one by one: the dearest reading."
    if target.types:
        first = target.types[0].instance_type
        yield f"Of several types the first ({first}) is counted; AWS takes another where it lacks that one."
    if target.spot is not None:
        yield "Spot prices move by the hour: the bill takes those of the price book's date."
    if target.network.egress == NAT and target.network.made:
        yield "Half of what takes the one NAT gateway of two zones crosses between them, and is billed on both sides."


def _assumed(spec: DeploymentSpec) -> Iterator[str]:
    """Yield each assumption that this bill rests on, with its value and key."""
    said, target = spec.assumptions, spec.target
    for relevant, words, key, value in (
        (True, "GB of the image in ECR", "image_gb", said.image_gb),
        (
            not isinstance(target, SageMakerBatch),
            "bytes that the handler logs for a request",
            "log_bytes_per_request",
            said.log_bytes_per_request,
        ),
        (
            _keeps_objects(spec),
            "days that objects of requests are kept",
            "kept_days",
            said.kept_days,
        ),
        (
            _has_unsaid_volume(spec),
            "GB of the volume that SageMaker attaches to an instance",
            "volume_gb",
            said.volume_gb,
        ),
        (
            isinstance(target, Ec2Fleet),
            "metrics of an instance with detailed monitoring",
            "detailed_metrics",
            said.detailed_metrics,
        ),
        (
            target.metrics is not None,
            "metrics of an endpoint's instance, of each kind",
            "endpoint_metrics",
            said.endpoint_metrics,
        ),
        (
            isinstance(target, Ec2Fleet) and _logs_access(target),
            "bytes of a request in the load balancer's log",
            "access_log_bytes",
            said.access_log_bytes,
        ),
        (_downloads(spec), "starts of each instance in a month", "launches", said.launches),
        (_is_burstable(spec), "share of the vCPUs in use", "cpu_share", said.cpu_share),
    ):
        if relevant and value is not None:
            yield f"Assumed: {value:g} {words} (assumptions.{key})."


def _keeps_objects(spec: DeploymentSpec) -> bool:
    target = spec.target
    if isinstance(target, SageMakerRealtime):
        return target.capture is not None
    return isinstance(target, SageMakerAsync) or (
        isinstance(target, Ec2Fleet) and target.queue is not None
    )


def _has_unsaid_volume(spec: DeploymentSpec) -> bool:
    target = spec.target
    if not isinstance(target, SageMakerRealtime | SageMakerAsync):
        return False
    return target.volume_gb is None and not local_disks(target.instance_type)


def _logs_access(target: Ec2Fleet) -> bool:
    return target.listener is not None and target.listener.access_logs


def _downloads(spec: DeploymentSpec) -> bool:
    """Whether starts of instances are billed: through NAT, or for the calls to a key."""
    target = spec.target
    nat = isinstance(target, Ec2Fleet) and target.network.egress == NAT
    return nat or (bool(target.kms_key_arn) and not isinstance(target, SageMakerServerless))


def _is_burstable(spec: DeploymentSpec) -> bool:
    name = spec.target.instance_type
    return isinstance(spec.target, Ec2Fleet) and name.partition(".")[0] in FAMILIES
