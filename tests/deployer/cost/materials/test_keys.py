"""Every key of every target moves a line of the bill, or stands here with the reason why it moves none.

A key that is added to a target and to neither table fails, so that nothing AWS bills can be forgotten in silence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployer.cost.materials import materials
from deployer.cost.use import Use, of_run
from deployer.deployments.inventory import made
from deployer.runs import CapacityTimeline, Run
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.fleet import FleetNetwork, FleetQueue, FleetType, Listener, Spot, WarmPool
from deployer.spec.hosting import AsyncOutput, Capture, Metrics
from deployer.spec.rollout import AllAtOnce
from deployer.spec.scaling import QueueBacklog, TargetTracking
from deployer.spec.target import (
    Ec2Fleet,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
TOPIC = "arn:aws:sns:us-east-1:123456789012:done"
OUTSIDE = "registry.example/digits@sha256:" + "7b" * 32
BEHIND = Ec2Fleet(
    "c5.large",
    instances=2,
    listener=Listener("http"),
    network=FleetNetwork("nat"),
    kms_key_arn=KEY,
)
QUEUED = Ec2Fleet("c5.large", instances=2, queue=FleetQueue(), network=FleetNetwork("nat"))
REALTIME = SageMakerRealtime(
    "ml.c5.large", volume_gb=30, capture=Capture(10), metrics=Metrics(), kms_key_arn=KEY
)
ASYNC = SageMakerAsync("ml.c5.large", output=AsyncOutput(success_topic_arn=TOPIC))
SERVERLESS = SageMakerServerless(provisioned_concurrency=2)
BATCH = SageMakerBatch("ml.c5.large")

PRICED: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "behind a load balancer": (
        BEHIND,
        {
            "image_uri": OUTSIDE,
            "kms_key_arn": "",
            "instance_type": "c5.xlarge",
            "region": "us-west-2",
            "volume_gb": 99,
            "alb_ipv4": 5,
            "log_days": 365,
            "types": (FleetType("c5a.large"), FleetType("c5.large")),
            "spot": Spot(),
            "warm_pool": WarmPool(3),
            "warm_pool.state": WarmPool(3, "running"),
            "network.egress": FleetNetwork("public"),
            "network.nat_gateways": FleetNetwork("nat", nat_gateways=2),
            "network.vpc_id": FleetNetwork(
                "nat", vpc_id="vpc-0a1b2c3d", subnets=("subnet-0a1b2c3d", "subnet-1a1b2c3d")
            ),
            "listener.internal": Listener("http", internal=True),
            "listener.access_logs": Listener("http", access_logs=False),
            "queue": "other",
        },
    ),
    "from a queue": (
        QUEUED,
        {
            "instance_type": "c5.xlarge",
            "kms_key_arn": KEY,
            "volume_gb": 99,
            "network.egress": FleetNetwork("endpoints"),
        },
    ),
    "sagemaker-realtime": (
        REALTIME,
        {
            "image_uri": OUTSIDE,
            "kms_key_arn": "",
            "instance_type": "ml.m5.large",
            "region": "eu-west-1",
            "volume_gb": 60,
            "capture.percent": Capture(50),
            "metrics": None,
            "metrics.enhanced": Metrics(enhanced=False),
            "metrics.scrape": Metrics(scrape=False),
        },
    ),
    "sagemaker-async": (
        ASYNC,
        {
            "image_uri": OUTSIDE,
            "kms_key_arn": KEY,
            "instance_type": "ml.m5.large",
            "region": "eu-west-1",
            "volume_gb": 60,
            "metrics": Metrics(),
            "metrics.enhanced": Metrics(enhanced=False),
            "metrics.scrape": Metrics(scrape=False),
            "output.success_topic_arn": AsyncOutput(),
            "output.error_topic_arn": AsyncOutput(success_topic_arn=TOPIC, error_topic_arn=TOPIC),
        },
    ),
    "sagemaker-serverless": (
        SERVERLESS,
        {
            "image_uri": OUTSIDE,
            "kms_key_arn": KEY,
            "region": "eu-west-1",
            "memory_mb": 3072,
            "provisioned_concurrency": 0,
        },
    ),
    "sagemaker-batch": (
        BATCH,
        {
            "image_uri": OUTSIDE,
            "kms_key_arn": KEY,
            "instance_type": "ml.m5.large",
            "region": "eu-west-1",
        },
    ),
}

BY_RUN = "the run's capacity and requests say what it comes to"
FREE = "AWS bills nothing for it"
PLACE = "where things lie, not how much there is"
NOT_PRICED: Mapping[str, str] = {
    "role_arn": FREE,
    "bucket": PLACE,
    "environment": FREE,
    "model_data": "the same bytes, as one object or as several",
    "network": "interfaces are free; what a container calls through them is the caller's own",
    "health_check_timeout_s": FREE,
    "download_timeout_s": FREE,
    "instances": BY_RUN,
    "startup_s": BY_RUN,
    "cold_start_s": BY_RUN,
    "idle_s": BY_RUN,
    "max_concurrency": BY_RUN,
    "max_concurrent": BY_RUN,
    "routing": BY_RUN,
    "capture.s3_uri": PLACE,
    "metrics.period_s": "CloudWatch bills a metric by the month, however often it is published",
    "output.s3_uri": PLACE,
    "output.failure_s3_uri": PLACE,
    "max_payload_mb": BY_RUN,
    "input_s3_uri": PLACE,
    "output_s3_uri": PLACE,
    "content_type": FREE,
    "accept": FREE,
    "strategy": BY_RUN,
    "split": FREE,
    "assemble": FREE,
    "ami_id": "an Amazon Linux image is free",
    "network.subnets": PLACE,
    "network.balancer_subnets": PLACE,
    "network.cidr": FREE,
    "spot.on_demand_base": "in test_lines: what the base and the share leave",
    "spot.on_demand_percent": "in test_lines: what the base and the share leave",
    "types.instance_type": "in test_lines, by the first of them",
    "types.weight": "in test_lines: units of a weighted type",
    "warm_pool.size": "in test_lines: a stopped and a running pool",
    "listener.protocol": FREE,
    "listener.certificate_arn": "a public certificate of ACM is free",
    "listener.allow_cidrs": FREE,
    "listener.idle_timeout_s": FREE,
    "listener.deregistration_delay_s": FREE,
    "queue.visibility_s": FREE,
    "queue.max_receives": BY_RUN,
    "queue.retention_s": FREE,
    "queue.results_s3_uri": PLACE,
    "health.interval_s": FREE,
    "health.timeout_s": FREE,
    "health.healthy": FREE,
    "health.unhealthy": FREE,
    "health.boot_timeout_s": BY_RUN,
}

INNER = {
    "capture": Capture,
    "metrics": Metrics,
    "output": AsyncOutput,
    "network": FleetNetwork,
    "spot": Spot,
    "types": FleetType,
    "warm_pool": WarmPool,
    "listener": Listener,
    "queue": FleetQueue,
}


def a_run(units: float = 2) -> Run:
    """An hour in which a unit was added, with requests that some fail."""
    count = 36_000
    times = np.arange(count) / 10
    status = np.full(count, 200, np.int16)
    status[:100] = 503
    steps, billed = np.array([0.0, 600.0]), np.array([float(units), units + 1.0])
    sizes = np.full(count, 3000)
    return Run(
        "simulated", 3600.0, times, times + 0.01, status, sizes, sizes,
        CapacityTimeline(steps, billed, billed), billed_compute_s=360.0,
    )  # fmt: skip


def bill(spec: DeploymentSpec, use: Use) -> dict[tuple[str, str], Any]:
    return {(line.item, str(line.sku)): line.quantity for line in materials(spec, use, made(spec))}


def of(target: Any, **rest: Any) -> DeploymentSpec:
    return DeploymentSpec("digits", "none.tar.gz", target, **rest)


def cases() -> Iterator[Any]:
    for name, (base, changes) in PRICED.items():
        for key, value in changes.items():
            yield pytest.param(base, key, value, id=f"{name}: {key}")


@pytest.mark.parametrize(("base", "key", "value"), list(cases()))
def test_a_priced_key_moves_a_line(base: Any, key: str, value: Any) -> None:
    use = of_run(a_run())
    if (key, value) == ("queue", "other"):
        other = replace(base, listener=None, queue=FleetQueue())
    else:
        other = replace(base, **{key.partition(".")[0]: value})
    assert other != base
    assert bill(of(base), use) != bill(of(other), use)


def keys_of(kind: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(kind):
        yield prefix + item.name
        inner = INNER.get(item.name)
        if not prefix and inner is not None and is_dataclass(inner) and _has(kind, item.name):
            yield from (f"{item.name}.{f.name}" for f in fields(inner))


def _has(kind: Any, name: str) -> bool:
    """SageMaker's own ``network`` is not a fleet's."""
    return name != "network" or kind is Ec2Fleet


@pytest.mark.parametrize(
    "kind",
    [SageMakerRealtime, SageMakerServerless, SageMakerAsync, SageMakerBatch, Ec2Fleet],
    ids=lambda kind: kind.kind,
)
def test_every_key_is_priced_or_says_why_not(kind: Any) -> None:
    priced = {key for base, changes in PRICED.values() if isinstance(base, kind) for key in changes}
    whole = {key.partition(".")[0] for key in priced if "." in key}
    refused = {"volume_gb"} if kind is SageMakerBatch else set()  # a rule refuses it
    said = refused | priced | set(NOT_PRICED) | whole | {"health", "listener", "queue", "capture"}
    assert set(keys_of(kind)) <= said


def test_the_reasons_are_of_keys_that_exist() -> None:
    kinds = (SageMakerRealtime, SageMakerServerless, SageMakerAsync, SageMakerBatch, Ec2Fleet)
    health = {f"health.{item.name}" for item in fields(type(BEHIND.health))}
    known = {key for kind in kinds for key in keys_of(kind)} | health
    assert set(NOT_PRICED) <= known


ASSUMED: Mapping[str, tuple[Any, Any]] = {
    "image_gb": (BEHIND, 3.0),
    "bundle_gb": (BEHIND, 3.0),
    "boot_gb": (BEHIND, 3.0),
    "log_bytes_per_request": (SERVERLESS, 100.0),
    "kept_days": (ASYNC, 3.0),
    "log_kept_days": (REALTIME, 3.0),
    "detailed_metrics": (BEHIND, 3),
    "endpoint_metrics": (REALTIME, 3),
    "access_log_bytes": (BEHIND, 3.0),
    "volume_gb": (ASYNC, 3.0),
    "launches": (BEHIND, 3.0),
    "cpu_share": (Ec2Fleet("t3.large", queue=FleetQueue()), 0.9),
}


@pytest.mark.parametrize("key", ASSUMED)
def test_every_assumption_moves_a_line(key: str) -> None:
    target, value = ASSUMED[key]
    base = Assumptions(log_bytes_per_request=10.0) if key == "log_kept_days" else Assumptions()
    use = of_run(a_run())
    other = of(target, assumptions=replace(base, **{key: value}))
    assert bill(of(target, assumptions=base), use) != bill(other, use)
    assert set(ASSUMED) == {item.name for item in fields(Assumptions)}


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        (BEHIND, {"scaling": TargetTracking(target=600.0)}),
        (BEHIND, {"scaling": TargetTracking(metric="concurrency", target=4.0)}),
        (BEHIND, {"slo": Slo(p99_ms=100)}),
        (BEHIND, {"rollout": AllAtOnce(generated_alarms=False)}),
        (QUEUED, {"scaling": QueueBacklog(target=10.0)}),
        (ASYNC, {"scaling": QueueBacklog(target=10.0)}),
        (REALTIME, {"scaling": TargetTracking(target=600.0)}),
        (REALTIME, {"slo": Slo(p99_ms=100)}),
        (REALTIME, {"rollout": AllAtOnce(generated_alarms=False)}),
        (SERVERLESS, {"scaling": TargetTracking(metric="provisioned_concurrency", target=0.7)}),
    ],
)
def test_policies_and_objectives_bring_alarms(target: Any, rest: dict[str, Any]) -> None:
    use = of_run(a_run())
    assert bill(of(target), use) != bill(of(target, **rest), use)


def test_the_traffic_moves_every_line_that_follows_it() -> None:
    for base, _ in PRICED.values():
        spec = of(base)
        once, use = of_run(a_run()), of_run(a_run())
        assert use.traffic is not None
        twice = replace(
            use,
            traffic=replace(
                use.traffic,
                **{item.name: 2 * getattr(use.traffic, item.name) for item in fields(use.traffic)},
            ),
        )
        lines = {line.item: line for line in materials(spec, once)}
        for line in materials(spec, twice):
            assert (line.quantity != lines[line.item].quantity) == line.traffic or (
                "captured" in line.item or line.item == "KMS requests"
            ), line.item


def test_readme_tells_every_assumption_with_its_default() -> None:
    text = (Path(__file__).parents[4] / "README.md").read_text()
    block = text.partition("```toml\n[assumptions]")[2].partition("```")[0]
    told = tomllib.loads(block)
    usual = {item.name: item.default for item in fields(Assumptions)}
    shown = {"bundle_gb": 0.1, "cpu_share": 0.2}  # these have none
    assert told == {**usual, **shown}
