"""The lines of an EC2 fleet, behind a load balancer or behind a queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployer.cost.materials import common, network
from deployer.cost.materials.credits import credits
from deployer.cost.materials.lines import Usage, Window, gb
from deployer.cost.use import Use
from deployer.spec.fleet import ZONES, FleetType, Spot
from deployer.spec.target import Ec2Fleet
from deployer.stats import Floats

EMF_METRICS = 8
"""Metrics of the record that each server behind a load balancer writes into its log once a minute, by model."""
EMF_BYTES = 900
"""Bytes of that record."""
LOG_FILES_PER_HOUR = 12
"""A load balancer writes its access log every 5 minutes in each zone. Source: ELB user guide, access logs."""
POLLS_PER_HOUR = 180
"""Long polls of 20 s by a worker that finds nothing."""
SQS_CALLS = 2
"""Of a message beside sending and receiving it, which carry its bytes: the delete, and its visibility once."""


@dataclass(frozen=True)
class Fleet:
    """Instances of a window: on demand, on spot, and those that wait in the warm pool."""

    kind: str
    on_demand: Use
    spot: Use
    waiting: int
    running: bool

    @property
    def hours(self) -> float:
        """Instance-hours of those in the group."""
        return self.on_demand.launch_hours + self.spot.launch_hours

    @property
    def launches(self) -> float:
        """Instances that started within the window."""
        return self.on_demand.launches + self.spot.launches


def of(window: Window, target: Ec2Fleet) -> Fleet:
    """Return the instances that the units of a window are.

    Of several types the first is counted: on demand AWS takes it first ("prioritized"), on spot it chooses.
    """
    rows = target.types or (FleetType(target.instance_type),)
    first, spot = rows[0], target.spot

    def instances(units: Floats) -> Floats:
        return np.asarray(np.ceil(units / first.weight))

    pool = target.warm_pool
    return Fleet(
        first.instance_type,
        window.use.each(lambda units: instances(on_demand(units, spot))),
        window.use.each(lambda units: instances(units - on_demand(units, spot))),
        pool.size if pool else 0,
        pool is not None and pool.state == "running",
    )


def on_demand(units: Floats, spot: Spot | None) -> Floats:
    """Return how many of the units are on demand: the base, and the share of what is above it, rounded up."""
    if spot is None:
        return units
    base = np.minimum(units, spot.on_demand_base)
    above = np.ceil((units - base) * spot.on_demand_percent / 100 - 1e-9)
    return np.asarray(base + above)


def lines(window: Window, target: Ec2Fleet) -> Iterator[Usage]:
    """Return every line of a fleet."""
    fleet = of(window, target)
    yield from _instances(window, fleet, target)
    waiting = fleet.waiting * window.use.hours
    volumes = (fleet.hours + waiting) * target.volume_gb / 730
    storage = "ebs/gp3-storage"
    yield window.line("EBS gp3 storage", storage, volumes, "GB-month", "target.volume_gb")
    yield from _entry(window, fleet, target)
    running = fleet.hours + (waiting if fleet.running else 0.0)
    metrics = window.spec.assumptions.detailed_metrics * running / 730
    custom, unit = "cloudwatch/custom-metric-first-10k", "metric-month"
    key = "assumptions.detailed_metrics"
    yield window.line("detailed monitoring", custom, metrics, unit, key)
    written = _log_gb(window, fleet, target)
    yield from network.lines(window, target, fleet.hours, waiting if fleet.running else 0.0)
    yield from network.ways_out(window, target, launches(window, fleet), written)
    yield from common.monitoring(window)
    yield from common.logs(window, written, target.log_days, "target.log_days")
    yield from common.stored(window)
    # The key encrypts the bundle alone: S3 encrypts the answers of a queue with its own.
    yield from common.kms(window, launches(window, fleet), 0.0)


def launches(window: Window, fleet: Fleet) -> float:
    """Return how many instances start in the window."""
    return common.launches(window, fleet.hours, fleet.launches)


def _instances(window: Window, fleet: Fleet, target: Ec2Fleet) -> Iterator[Usage]:
    """Instance-hours, at least 60 s for each launch."""
    kind, unit = fleet.kind, "instance-hour"
    key = "target.types" if target.types else "target.instance_type"
    name = f"{kind} instances"
    if target.spot is None:
        yield window.line(name, f"ec2/{kind}", fleet.on_demand.launch_hours, unit, key)
    else:
        hours = fleet.on_demand.launch_hours
        yield window.line(f"{name} on demand", f"ec2/{kind}", hours, unit, key)
        hours, spot = fleet.spot.launch_hours, "target.spot"
        yield window.line(f"{name} on spot", f"ec2-spot/{kind}", hours, unit, spot)
    if fleet.running:
        hours = fleet.waiting * window.use.hours
        pool = "target.warm_pool"
        yield window.line(f"{name} in the warm pool", f"ec2/{kind}", hours, unit, pool)
    yield from credits(window, kind, fleet.hours)


def _entry(window: Window, fleet: Fleet, target: Ec2Fleet) -> Iterator[Usage]:
    if target.queue is None:
        yield from _balancer(window, target)
    else:
        yield from _queue(window, fleet)


def _balancer(window: Window, target: Ec2Fleet) -> Iterator[Usage]:
    """The load balancer, its capacity units (the largest of their dimensions each hour), and its log."""
    name, key, traffic = "elb/application-load-balancer", "target.listener", window.traffic
    yield window.line("load balancer", name, window.use.hours, "hour", key)
    units = None if traffic is None else traffic.lcu_hours
    yield window.by_traffic("load balancer capacity", f"{name}-lcu", units, "LCU-hour", key)
    listener = target.listener
    if listener is None or not listener.internal:
        yield common.internet_out(window)
    emf, custom = EMF_METRICS * window.use.months, "cloudwatch/custom-metric-first-10k"
    yield window.line("metrics of the servers", custom, emf, "metric-month", key)
    if listener is not None and listener.access_logs:
        yield from _access_logs(window, target)


def _access_logs(window: Window, target: Ec2Fleet) -> Iterator[Usage]:
    key = "target.listener.access_logs"
    files = LOG_FILES_PER_HOUR * ZONES * window.use.hours / 1000
    put = "s3/standard-put-copy-post-list"
    yield window.line("S3 writes of access logs", put, files, "1000 requests", key)
    kept = None
    if window.traffic is not None:
        written = gb(window.traffic.requests * window.spec.assumptions.access_log_bytes)
        kept = written * window.kept_months(target.log_days)
    storage = "s3/standard-storage-first-50TB"
    yield window.by_traffic("access logs kept in S3", storage, kept, "GB-month", key)


def _queue(window: Window, fleet: Fleet) -> Iterator[Usage]:
    """Requests to SQS, each for 64 KB of a message: sent, received, given back; polls; the answers in S3.

    Messages are counted one by one, the dearest reading: workers take up to ten at once.
    """
    traffic, key = window.traffic, "target.queue"
    calls = None
    if traffic is not None:
        polls = POLLS_PER_HOUR * fleet.hours
        calls = (2 * traffic.chunks + SQS_CALLS * traffic.requests + polls) / 1e6
    sqs = "sqs/standard-requests-tier1"
    yield window.by_traffic("SQS requests", sqs, calls, "1M requests", key)
    answers = None if traffic is None else float(traffic.successes)
    size = None if traffic is None else gb(traffic.response_bytes)
    yield from common.objects(
        window, writes=answers, reads=answers, size_gb=size, key=key, what="answers"
    )
    yield common.internet_out(window)


def _log_gb(window: Window, fleet: Fleet, target: Ec2Fleet) -> float | None:
    """GB that go into the log: a record a minute of each server behind a load balancer, and what handlers write."""
    records = 0.0 if target.queue is not None else fleet.hours * 60 * EMF_BYTES
    return common.logs_gb(window, records)
