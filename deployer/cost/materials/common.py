"""What every target in AWS leaves in S3, ECR, CloudWatch and KMS."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cost.materials.lines import Usage, Window, gb

KMS_CALLS_PER_LAUNCH = 4
"""To read the bundle, and to make, attach and read an encrypted volume. Each counted once an instance: assumed."""


ALARMS_KEY = "rollout.generated_alarms"


def monitoring(window: Window) -> Iterator[Usage]:
    """Alarms by the metrics that they watch, and the dashboard; no free allowance."""
    made, months = window.made, window.use.months
    kinds = (("alarms", "alarm-standard", made.alarms), ("alarms on metrics of less than a minute",
             "alarm-high-resolution", made.fast_alarms))  # fmt: skip
    for item, name, count in kinds:
        if count:
            sku = f"cloudwatch/{name}"
            yield window.line(item, sku, count * months, "alarm-metric-month", ALARMS_KEY)
    if made.dashboards:
        sku, count = "cloudwatch/dashboard-above-3-free", made.dashboards
        yield window.line("dashboard", sku, count * months, "dashboard-month", "target.region")


def logs_gb(window: Window, of_instances_bytes: float = 0.0) -> float | None:
    """Return GB that go into the log; None where a request writes and nobody said how many there are."""
    each = window.spec.assumptions.log_bytes_per_request
    if each and window.traffic is None:
        return None
    requests = window.traffic.requests if window.traffic else 0
    return gb(of_instances_bytes + each * requests)


def logs(window: Window, written_gb: float | None, days: float, days_key: str) -> Iterator[Usage]:
    """What is written into CloudWatch Logs, and what is kept of it."""
    if written_gb == 0:
        return
    key = "assumptions.log_bytes_per_request"
    if written_gb is None:
        yield window.by_traffic("logs", "cloudwatch/logs-ingested", None, "GB", key)
        yield window.by_traffic("logs kept", "cloudwatch/logs-archived", None, "GB-month", days_key)
        return
    kept = written_gb * window.kept_months(days)
    add = window.by_traffic if window.spec.assumptions.log_bytes_per_request else window.line
    yield add("logs", "cloudwatch/logs-ingested", written_gb, "GB", key)
    yield add("logs kept", "cloudwatch/logs-archived", kept, "GB-month", days_key)


def stored(window: Window) -> Iterator[Usage]:
    """The bundle in S3 and, where it lies in ECR, the image."""
    months, image = window.use.months, window.spec.target.image_uri
    yield window.line("bundle in S3", "s3/standard-storage-first-50TB", window.bundle_gb * months,
                      "GB-month", "assumptions.bundle_gb")  # fmt: skip
    if not image or ".dkr.ecr." in image:
        size = window.spec.assumptions.image_gb
        key = "assumptions.image_gb"
        yield window.line("image in ECR", "ecr/storage", size * months, "GB-month", key)


def objects(
    window: Window,
    *,
    writes: float | None,
    reads: float | None,
    size_gb: float | None,
    key: str,
    what: str,
) -> Iterator[Usage]:
    """Objects that requests leave in S3: their writes and reads, and keeping them."""
    put, get = "s3/standard-put-copy-post-list", "s3/standard-get-select"
    thousand = "1000 requests"
    yield window.by_traffic(f"S3 writes of {what}", put, _thousands(writes), thousand, key)
    if reads != 0:
        yield window.by_traffic(f"S3 reads of {what}", get, _thousands(reads), thousand, key)
    months = window.kept_months(window.spec.assumptions.kept_days)
    kept = None if size_gb is None else size_gb * months
    storage = "s3/standard-storage-first-50TB"
    yield window.by_traffic(
        f"{what} kept in S3", storage, kept, "GB-month", "assumptions.kept_days"
    )


def kms(window: Window, launches: float, object_calls: float | None) -> Iterator[Usage]:
    """The customer's key, counted whole, and the calls that use it; nothing without one."""
    key = "target.kms_key_arn"
    if not window.spec.target.kms_key_arn:
        return
    yield window.line("KMS key", "kms/customer-managed-key", window.use.months, "key-month", key)
    calls = None if object_calls is None else launches * KMS_CALLS_PER_LAUNCH + object_calls
    add = "kms/requests"
    if object_calls == 0:
        yield window.line("KMS requests", add, (calls or 0) / 10_000, "10000 requests", key)
    else:
        count = None if calls is None else calls / 10_000
        yield window.by_traffic("KMS requests", add, count, "10000 requests", key)


def internet_out(window: Window) -> Usage:
    """Bytes of all answers, at the first tier's price."""
    size = None if window.traffic is None else gb(window.traffic.response_bytes)
    sku = "data-transfer/internet-out-first-10TB"
    return window.by_traffic("internet data out", sku, size, "GB")


def launches(window: Window, instance_hours: float, started: float) -> float:
    """Return how many instances start: those that scaling started, and those that the specification assumes."""
    assumed = window.spec.assumptions.launches * instance_hours / 730
    return started + assumed


def _thousands(count: float | None) -> float | None:
    return None if count is None else count / 1000
