"""Run + Target = Usage: how much of each billed thing one run used. Every line's formula is in a docstring.

Conventions, stated in every report (``conventions``):

- The trace is a window of a service that runs on: hours count as ``duration / 3600``, no part hour is
  rounded up. Idle time, failed and refused requests are all in the bill.
- 1 GB is 2^30 bytes, as AWS meters storage and transfer; were it 10^9, data lines would be 7.4% higher.
- Callers are on the internet: each target pays the first-tier transfer price for its answers, and the
  account's monthly free allowance is not applied.
- A GB-month is a GB kept for 730 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from deployer.cost.fleet import billed_instance_s, lcu_hours
from deployer.errors import InputError, UnknownPrice
from deployer.pricing.book import Sku
from deployer.runs import Run
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)
from deployer.units import round_significant

BYTES_PER_GB = 2**30
HOURS_PER_MONTH = 730
_DIGITS = 12


@dataclass(frozen=True)
class Usage:
    """A quantity of something billed, in the unit of its price; ``item`` is its name on the bill."""

    item: str
    sku: Sku
    quantity: Decimal
    unit: str


def usage(run: Run, target: Target) -> tuple[Usage, ...]:
    """Return what a run on a target is billed for, one line per price.

    Raises UnknownPrice for a local target, which AWS does not bill, and InputError for a serverless run
    without ``billed_compute_s``.
    """
    match target:
        case SageMakerRealtime():
            return _realtime(run, target)
        case SageMakerServerless():
            return _serverless(run, target)
        case SageMakerAsync():
            return _async(run, target)
        case SageMakerBatch():
            return (_sagemaker_instances(run, "sagemaker-batch-transform", target),)
        case Ec2Fleet():
            return _fleet(run, target)
        case Local():
            raise UnknownPrice(
                "a local target has no price: its machine is not rented by the hour",
                hint="compare AWS targets, or price this machine as the ec2-fleet it resembles",
            )
        case _:
            assert_never(target)


def conventions(target: Target) -> tuple[str, ...]:
    """Return the sentences that say how a target's bill is counted."""
    common = (
        "Hours are prorated over the trace, as a window of a service that runs on.",
        "1 GB is 2^30 bytes; a GB-month is 730 hours of one GB.",
        "Callers are on the internet: answers pay the first transfer tier on every target, "
        "without the account's free allowance.",
    )
    match target:
        case Ec2Fleet():
            return (
                *common,
                "Every request opens its own connection to the load balancer: the dearest reading.",
                f"The load balancer is billed {target.alb_ipv4} public IPv4 addresses (assumed) and "
                "each instance one: public subnets, no NAT gateway.",
            )
        case _:
            return common


def _realtime(run: Run, target: SageMakerRealtime) -> tuple[Usage, ...]:
    """Instance-hours, data in and out of the endpoint, internet transfer of the answers."""
    hours = _sagemaker_instances(run, "sagemaker-hosting", target)
    return (hours, *_endpoint_data(run, target.region), _internet_out(run, target.region))


def _serverless(run: Run, target: SageMakerServerless) -> tuple[Usage, ...]:
    """Compute-seconds = run.billed_compute_s, at the price per second of the endpoint's memory size.

    Data and internet transfer as for real-time. Provisioned concurrency: concurrency * duration_s.
    """
    if run.billed_compute_s is None:
        raise InputError(
            "a serverless run lacks billed_compute_s",
            hint="simulate it with a sagemaker-serverless target",
        )
    region, size = target.region, f"{target.memory_mb // 1024}GB"
    sku = Sku("sagemaker-serverless", region, f"Mem-{size}")
    compute = Usage(f"serverless {size} compute", sku, _decimal(run.billed_compute_s), "second")
    lines = (compute, *_endpoint_data(run, region), _internet_out(run, region))
    if not target.provisioned_concurrency:
        return lines
    kept = Sku("sagemaker-serverless-pc", region, f"Usage-{size}")
    seconds = _decimal(run.duration_s * target.provisioned_concurrency)
    return (*lines, Usage(f"provisioned concurrency {size}", kept, seconds, "second"))


def _async(run: Run, target: SageMakerAsync) -> tuple[Usage, ...]:
    """As real-time at the asynchronous rate, and per request 2 S3 writes and 2 reads.

    The caller writes the input and reads the output; the endpoint reads the one and writes the other.
    """
    region = target.region
    thousands = _decimal(2 * run.offered / 1000)
    return (
        _sagemaker_instances(run, "sagemaker-async", target),
        *_endpoint_data(run, region),
        Usage(
            "S3 writes",
            Sku("s3", region, "standard-put-copy-post-list"),
            thousands,
            "1000 requests",
        ),
        Usage("S3 reads", Sku("s3", region, "standard-get-select"), thousands, "1000 requests"),
        _internet_out(run, region),
    )


def _fleet(run: Run, target: Ec2Fleet) -> tuple[Usage, ...]:
    """Return the lines of a fleet behind a load balancer, with D = duration_s / 3600 hours.

    - instances: instance-hours = seconds billed / 3600, at least 60 s for each launch
    - load balancer: D hours
    - LCU-hours: for each hour the largest of its four dimensions (``fleet.lcu_hours``)
    - EBS gp3: instance-hours * volume_gb / 730 GB-months
    - public IPv4: instance-hours + D * alb_ipv4
    - internet out: bytes of all answers / 2^30 GB
    """
    region = target.region
    instance_hours = billed_instance_s(run.capacity, run.duration_s) / 3600
    hours = run.duration_s / 3600
    alb = "application-load-balancer"
    return (
        Usage(
            f"{target.instance_type} instances",
            Sku("ec2", region, target.instance_type),
            _decimal(instance_hours),
            "instance-hour",
        ),
        Usage("load balancer", Sku("elb", region, alb), _decimal(hours), "hour"),
        Usage(
            "load balancer capacity",
            Sku("elb", region, f"{alb}-lcu"),
            _decimal(lcu_hours(run)),
            "LCU-hour",
        ),
        Usage(
            "EBS gp3 storage",
            Sku("ebs", region, "gp3-storage"),
            _decimal(instance_hours * target.volume_gb / HOURS_PER_MONTH),
            "GB-month",
        ),
        Usage(
            "public IPv4 addresses",
            Sku("vpc", region, "public-ipv4-address"),
            _decimal(instance_hours + hours * target.alb_ipv4),
            "hour",
        ),
        _internet_out(run, region),
    )


def _sagemaker_instances(
    run: Run, service: str, target: SageMakerRealtime | SageMakerAsync | SageMakerBatch
) -> Usage:
    """Instance-hours = integral of billed instances over the run / 3600; billed by the second."""
    hours = run.capacity.billed_instance_s(run.duration_s) / 3600
    kind = target.instance_type
    sku = Sku(service, target.region, kind)
    return Usage(f"{kind} instances", sku, _decimal(hours), "instance-hour")


def _endpoint_data(run: Run, region: str) -> tuple[Usage, Usage]:
    """Data in = bytes of all requests / 2^30, data out = bytes of all answers / 2^30, in GB."""
    return (
        Usage("endpoint data in", Sku("sagemaker", region, "data-in"), _gb(run, "in"), "GB"),
        Usage("endpoint data out", Sku("sagemaker", region, "data-out"), _gb(run, "out"), "GB"),
    )


def _internet_out(run: Run, region: str) -> Usage:
    """Internet transfer = bytes of all answers / 2^30 GB, at the first tier's price."""
    sku = Sku("data-transfer", region, "internet-out-first-10TB")
    return Usage("internet data out", sku, _gb(run, "out"), "GB")


def _gb(run: Run, direction: str) -> Decimal:
    sizes = run.request_bytes if direction == "in" else run.response_bytes
    return _decimal(int(sizes.sum()) / BYTES_PER_GB)


def _decimal(value: float) -> Decimal:
    rounded = round_significant(Decimal(repr(float(value))), _DIGITS)
    return Decimal(f"{rounded.normalize():f}")
