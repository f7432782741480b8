"""The lines of SageMaker's targets."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cost.materials import common
from deployer.cost.materials.lines import Usage, Window, gb
from deployer.spec.instances import local_disks
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

SERVICES = {
    "sagemaker-realtime": "sagemaker-hosting",
    "sagemaker-async": "sagemaker-async",
    "sagemaker-batch": "sagemaker-batch-transform",
}
"""The price list's component that bills the instances of each mode."""

BASE64 = 4 / 3
"""Captured bodies are base64 text in JSON lines. Source: SageMaker developer guide, data capture."""

_OnInstances = SageMakerRealtime | SageMakerAsync


def realtime(window: Window, target: SageMakerRealtime) -> Iterator[Usage]:
    """Instance-hours, their volumes, data in and out, captured data, metrics, and what every endpoint has."""
    yield from _instances(window, target)
    yield from _endpoint_data(window)
    yield common.internet_out(window)
    if target.capture is not None:
        yield from _capture(window, target.capture.percent / 100)
    yield from _metrics(window, target)
    yield from _endpoint(window)
    captured = 0.0 if target.capture is None else _captured(window, target.capture.percent / 100)
    yield from common.kms(window, _launches(window), captured)


def serverless(window: Window, target: SageMakerServerless) -> Iterator[Usage]:
    """Compute-seconds at the price of the memory size, data, and the seconds of provisioned concurrency.

    Units are provisioned containers. Raises InputError for a run without ``billed_compute_s``.
    """
    size = f"{target.memory_mb // 1024}GB"
    traffic = window.traffic
    seconds = None if traffic is None else traffic.compute_s
    key = "target.memory_mb"
    yield window.by_traffic(
        f"serverless {size} compute", f"sagemaker-serverless/Mem-{size}", seconds, "second", key
    )
    yield from _endpoint_data(window)
    yield common.internet_out(window)
    if target.provisioned_concurrency:
        kept = window.use.unit_hours * 3600
        sku = f"sagemaker-serverless-pc/Usage-{size}"
        what = f"provisioned concurrency {size}"
        yield window.line(what, sku, kept, "second", "target.provisioned_concurrency")
    yield from _endpoint(window)
    yield from common.kms(window, 0.0, 0.0)


def asynchronous(window: Window, target: SageMakerAsync) -> Iterator[Usage]:
    """As real-time at the asynchronous rate; bodies travel through S3, notices through SNS.

    For each request the caller writes the input and reads the output, the endpoint reads the one and writes the
    other.
    """
    yield from _instances(window, target)
    yield from _endpoint_data(window)
    traffic = window.traffic
    calls = None if traffic is None else 2.0 * traffic.requests
    size = None if traffic is None else gb(traffic.request_bytes + traffic.response_bytes)
    what = "inputs and answers"
    key = "target.output"
    yield from common.objects(window, writes=calls, reads=calls, size_gb=size, key=key, what=what)
    yield common.internet_out(window)
    yield from _notices(window, target)
    yield from _metrics(window, target)
    yield from _endpoint(window)
    yield from common.kms(window, _launches(window), None if calls is None else 2 * calls)


def batch(window: Window, target: SageMakerBatch) -> Iterator[Usage]:
    """Instance-hours of the jobs; how long they run is the jobs' own. Model, image and log are kept meanwhile."""
    sku = f"{SERVICES[target.kind]}/{target.instance_type}"
    item, key = f"{target.instance_type} instances", "target.instance_type"
    if window.traffic is None:
        why = "a batch job is billed while it runs"
        yield window.unknown(item, sku, "instance-hour", key, why)
    else:
        yield window.line(item, sku, window.use.unit_hours, "instance-hour", key)
    yield from common.stored(window)
    yield from common.kms(window, 0.0, 0.0)


def _instances(window: Window, target: _OnInstances) -> Iterator[Usage]:
    """Instance-hours, billed by the second; a volume each where the type has no disks of its own."""
    hours, kind = window.use.unit_hours, target.instance_type
    key = "target.instance_type"
    sku = f"{SERVICES[target.kind]}/{kind}"
    yield window.line(f"{kind} instances", sku, hours, "instance-hour", key)
    if local_disks(kind):
        return
    said = target.volume_gb
    size = window.spec.assumptions.volume_gb if said is None else said
    key = "assumptions.volume_gb" if said is None else "target.volume_gb"
    storage = "sagemaker/endpoint-storage"
    yield window.line("endpoint storage", storage, hours * size / 730, "GB-month", key)


def _launches(window: Window) -> float:
    return common.launches(window, window.use.unit_hours, window.use.launches)


def _endpoint_data(window: Window) -> Iterator[Usage]:
    """Data in = bytes of all requests, data out = bytes of all answers, in GB."""
    traffic = window.traffic
    for way in ("in", "out"):
        size = None
        if traffic is not None:
            size = gb(traffic.request_bytes if way == "in" else traffic.response_bytes)
        yield window.by_traffic(f"endpoint data {way}", f"sagemaker/data-{way}", size, "GB")


def _captured(window: Window, share: float) -> float | None:
    """Return the objects that capture writes: one a request, but no more than one a minute and instance."""
    if window.traffic is None:
        return None
    return min(share * window.traffic.requests, window.use.unit_hours * 60)


def _capture(window: Window, share: float) -> Iterator[Usage]:
    traffic = window.traffic
    size = None
    if traffic is not None:
        size = gb(share * BASE64 * (traffic.request_bytes + traffic.response_bytes))
    writes = _captured(window, share)
    key = "target.capture.percent"
    yield from common.objects(
        window, writes=writes, reads=0, size_gb=size, key=key, what="captured data"
    )


def _metrics(window: Window, target: _OnInstances) -> Iterator[Usage]:
    """Metrics by instance and of the server's own, billed as custom ones."""
    if target.metrics is None:
        return
    kinds = int(target.metrics.enhanced) + int(target.metrics.scrape)
    count = window.spec.assumptions.endpoint_metrics * kinds * window.use.unit_hours / 730
    if count:
        sku = "cloudwatch/custom-metric-first-10k"
        yield window.line("endpoint metrics", sku, count, "metric-month", "target.metrics")


def _notices(window: Window, target: SageMakerAsync) -> Iterator[Usage]:
    """One notice a request: of success, or of failure."""
    output, traffic = target.output, window.traffic
    for key, topic, failed in (
        ("success_topic_arn", output.success_topic_arn, False),
        ("error_topic_arn", output.error_topic_arn, True),
    ):
        if not topic:
            continue
        count = None
        if traffic is not None:
            count = traffic.requests - traffic.successes if failed else traffic.successes
        millions = None if count is None else count / 1e6
        what = f"SNS notices of {'failure' if failed else 'success'}"
        yield window.by_traffic(
            what, "sns/standard-publishes", millions, "1M requests", f"target.output.{key}"
        )


def _endpoint(window: Window) -> Iterator[Usage]:
    """What every endpoint has."""
    yield from common.monitoring(window)
    days = window.spec.assumptions.log_kept_days
    key = "assumptions.log_kept_days"
    yield from common.logs(window, common.logs_gb(window), days, key)
    yield from common.stored(window)
