"""Lines of the bill of materials against pencil and paper: an hour, or a month, of a stated use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.cost.materials import Made, Usage, conventions, materials
from deployer.cost.use import month, of_run
from deployer.errors import InputError, UnknownPrice
from deployer.runs import CapacityTimeline, Run
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import FleetNetwork, FleetQueue, FleetType, Listener, Spot, WarmPool
from deployer.spec.hosting import AsyncOutput, Capture, Metrics
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
TARGETS: tuple[Target, ...] = (
    SageMakerRealtime("ml.c5.large"),
    SageMakerServerless(),
    SageMakerAsync("ml.c5.large"),
    SageMakerBatch("ml.c5.large"),
    Ec2Fleet("c5.large", listener=Listener("http")),
    Ec2Fleet("c5.large", queue=FleetQueue()),
)


def of(target: Target, **assumed: Any) -> DeploymentSpec:
    return DeploymentSpec("digits", "none.tar.gz", target, assumptions=Assumptions(**assumed))


def quantities(lines: tuple[Usage, ...]) -> dict[str, Decimal | None]:
    assert len({line.item for line in lines}) == len(lines)
    return {line.item: line.quantity for line in lines}


def in_an_hour(make_run: Callable[..., Run], target: Target, **assumed: Any) -> dict[str, Any]:
    """36,000 requests of 3,000 bytes, answered with 1,200, on one instance."""
    run = make_run(duration_s=3600.0, billed_compute_s=360.0)
    return quantities(materials(of(target, **assumed), of_run(run)))


def in_a_month(target: Target, units: float = 1, **assumed: Any) -> dict[str, Any]:
    return quantities(materials(of(target, **assumed), month(units)))


def test_async_pays_two_writes_and_two_reads_a_request(make_run: Callable[..., Run]) -> None:
    found = in_an_hour(make_run, SageMakerAsync("ml.g6e.2xlarge"))
    assert found["S3 writes of inputs and answers"] == 2 * 36
    assert found["S3 reads of inputs and answers"] == 2 * 36
    kept_gb = 36_000 * 4200 / 2**30 * 30 * 24 / 730
    assert float(found["inputs and answers kept in S3"]) == pytest.approx(kept_gb)
    assert "endpoint storage" not in found, "g6e has disks of its own"


def test_notices_of_async_are_counted_by_their_outcome(make_run: Callable[..., Run]) -> None:
    topic = "arn:aws:sns:us-east-1:123456789012:done"
    output = AsyncOutput(success_topic_arn=topic, error_topic_arn=topic)
    run = make_run(duration_s=3600.0, refused=6_000)
    spec = of(SageMakerAsync("ml.c5.large", output=output))
    found = quantities(materials(spec, of_run(run)))
    assert found["SNS notices of success"] == Decimal("0.03")
    assert found["SNS notices of failure"] == Decimal("0.006")


def test_batch_pays_instances_at_its_own_rate_while_a_job_runs(
    make_run: Callable[..., Run],
) -> None:
    target = SageMakerBatch("ml.g5.xlarge", region="us-west-2")
    lines = {line.item: line for line in materials(of(target), of_run(make_run(duration_s=1800.0)))}
    line = lines["ml.g5.xlarge instances"]
    assert str(line.sku) == "sagemaker-batch-transform/us-west-2/ml.g5.xlarge"
    assert line.quantity == Decimal("0.5")
    (unknown,) = (line for line in materials(of(target), month(1)) if line.quantity is None)
    assert "billed while it runs" in unknown.unknown


def test_provisioned_concurrency_is_billed_for_the_whole_window() -> None:
    found = in_a_month(SageMakerServerless(provisioned_concurrency=3), units=3)
    assert found["provisioned concurrency 2GB"] == 3 * 730 * 3600
    assert found["serverless 2GB compute"] is None, "nobody said the traffic"


def test_serverless_run_without_compute_time_is_refused(make_run: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match="lacks billed_compute_s"):
        materials(of(SageMakerServerless()), of_run(make_run(duration_s=10.0)))


def test_local_target_has_no_price(make_run: Callable[..., Run]) -> None:
    with pytest.raises(UnknownPrice, match="a local target has no price"):
        materials(of(Local()), of_run(make_run(duration_s=10.0)))


def test_capture_keeps_its_share_as_base64(make_run: Callable[..., Run]) -> None:
    target = SageMakerRealtime("ml.c5.large", capture=Capture(10))
    found = in_an_hour(make_run, target, kept_days=73.0)
    kept_gb = 0.1 * 36_000 * 4200 * 4 / 3 / 2**30 * 73 * 24 / 730
    assert float(found["captured data kept in S3"]) == pytest.approx(kept_gb)
    assert found["S3 writes of captured data"] == Decimal("0.06"), "one a minute at most"


def test_volume_of_an_endpoint_is_said_or_assumed() -> None:
    said = in_a_month(SageMakerRealtime("ml.c5.large", volume_gb=50))
    assert said["endpoint storage"] == 50
    assert in_a_month(SageMakerRealtime("ml.c5.large"))["endpoint storage"] == 30
    assert in_a_month(SageMakerRealtime("ml.c5.large"), volume_gb=7)["endpoint storage"] == 7
    assert "endpoint storage" not in in_a_month(SageMakerRealtime("ml.m5d.large"))


def test_endpoint_metrics_are_billed_as_custom_ones() -> None:
    both = SageMakerRealtime("ml.c5.large", metrics=Metrics())
    assert in_a_month(both, units=2, endpoint_metrics=5)["endpoint metrics"] == 2 * 5 * 2
    assert "endpoint metrics" not in in_a_month(SageMakerRealtime("ml.c5.large"))


FLEET = Ec2Fleet("c5.large", listener=Listener("http", access_logs=False), volume_gb=10)


def test_a_fleet_in_a_month_by_pencil() -> None:
    found = in_a_month(FLEET, units=2)
    assert found["c5.large instances"] == 2 * 730
    assert found["EBS gp3 storage"] == 2 * 10
    assert found["load balancer"] == 730
    assert found["public IPv4 addresses"] == 730 * (2 + 2)
    assert found["detailed monitoring"] == 2 * 7
    assert found["metrics of the servers"] == 8
    assert found["image in ECR"] == Decimal("0.15")
    assert found["bundle in S3"] == Decimal("0.1")
    assert found["load balancer capacity"] is None
    assert float(found["logs"]) == pytest.approx(2 * 730 * 60 * 900 / 2**30)


def test_the_fleets_network_is_billed_as_it_is_made() -> None:
    nat = in_a_month(replace(FLEET, network=FleetNetwork("nat", nat_gateways=1)), launches=2.0)
    assert nat["NAT gateways"] == 730
    assert nat["public IPv4 addresses"] == 730 * 3, "two of the load balancer, one of NAT"
    starts_gb = 2 * (0.15 + 0.1 + 0.1)
    logs_gb = 730 * 60 * 900 / 2**30
    assert float(nat["data through NAT"]) == pytest.approx(starts_gb + logs_gb)
    assert nat["data between zones to NAT"] == nat["data through NAT"]
    two = in_a_month(replace(FLEET, network=FleetNetwork("nat", nat_gateways=2)))
    assert two["NAT gateways"] == 2 * 730
    assert "data between zones to NAT" not in two
    private = in_a_month(replace(FLEET, network=FleetNetwork("endpoints")))
    assert private["VPC endpoints (7 services in 2 zones)"] == 14 * 730
    assert private["public IPv4 addresses"] == 2 * 730
    subnets = ("subnet-0a1b2c3d", "subnet-1a1b2c3d")
    theirs = FleetNetwork("nat", vpc_id="vpc-0a1b2c3d", subnets=subnets)
    existing = in_a_month(replace(FLEET, network=theirs))
    assert "NAT gateways" not in existing
    assert "data through NAT" in existing, "it takes the way that is there"


def test_an_internal_load_balancer_has_no_address_and_sends_nothing_out(
    make_run: Callable[..., Run],
) -> None:
    inside = replace(FLEET, listener=Listener("http", internal=True))
    found = in_an_hour(make_run, inside)
    assert "internet data out" not in found
    assert found["public IPv4 addresses"] == 1, "the instance's own"


def test_access_logs_are_written_and_kept(make_run: Callable[..., Run]) -> None:
    logged = replace(FLEET, listener=Listener("http"), log_days=365)
    found = in_an_hour(make_run, logged, access_log_bytes=200.0)
    assert found["S3 writes of access logs"] == Decimal("0.024")
    kept_gb = 36_000 * 200 / 2**30 * 365 * 24 / 730
    assert float(found["access logs kept in S3"]) == pytest.approx(kept_gb)


def test_a_stopped_pool_costs_volumes_and_a_running_one_everything() -> None:
    none = in_a_month(FLEET)
    stopped = in_a_month(replace(FLEET, warm_pool=WarmPool(4)))
    assert stopped["EBS gp3 storage"] == 10 * 5
    assert {k: v for k, v in stopped.items() if v != none[k]} == {"EBS gp3 storage": Decimal(50)}
    running = in_a_month(replace(FLEET, warm_pool=WarmPool(4, "running")))
    assert running["c5.large instances in the warm pool"] == 4 * 730
    assert running["public IPv4 addresses"] == 730 * (2 + 5)
    assert running["detailed monitoring"] == 5 * 7


@pytest.mark.parametrize(
    ("units", "base", "percent", "kept"),
    [(4, 1, 0, 1), (4, 1, 50, 3), (4, 0, 25, 1), (1, 2, 0, 1), (5, 0, 100, 5), (3, 1, 1, 2)],
)
def test_spot_is_what_the_base_and_the_share_leave(
    units: int, base: int, percent: int, kept: int
) -> None:
    found = in_a_month(replace(FLEET, spot=Spot(base, percent)), units=units)
    assert found["c5.large instances on demand"] == kept * 730
    assert found.get("c5.large instances on spot", 0) == (units - kept) * 730


def test_units_of_a_weighted_type_are_whole_instances() -> None:
    types = (FleetType("c5.large", 2), FleetType("c5a.large", 1))
    assert in_a_month(replace(FLEET, types=types), units=5)["c5.large instances"] == 3 * 730


def test_a_minute_is_billed_for_each_launch_of_a_weighted_type() -> None:
    steps = np.array([0.0, 600.0, 610.0])
    counts = np.array([1.0, 3.0, 1.0])
    use = replace(month(1), duration_s=3600.0, capacity=CapacityTimeline(steps, counts, counts))
    found = quantities(materials(of(replace(FLEET, types=(FleetType("c5.large", 2),))), use))
    # One instance throughout, a second one for 10 s.
    assert float(found["c5.large instances"] or 0) == pytest.approx(3660 / 3600)


def test_a_queue_fleet_pays_messages_and_objects_and_no_load_balancer(
    make_run: Callable[..., Run],
) -> None:
    target = Ec2Fleet("c5.large", queue=FleetQueue(), network=FleetNetwork("nat"))
    run = make_run(duration_s=3600.0, request_bytes=100_000, refused=6_000)
    found = quantities(materials(of(target), of_run(run)))
    # Two chunks of 64 KB, sent and received; a delete and a visibility each; 180 polls.
    assert found["SQS requests"] == Decimal(36_000 * (2 * 2 + 2) + 180) / 10**6
    assert found["S3 writes of answers"] == 30
    assert not {"load balancer", "load balancer capacity", "metrics of the servers"} & set(found)
    messages = 36_000 * (100_000 + 1200) / 2**30
    assert float(found["data through NAT"] or 0) == pytest.approx(messages + 0.35 / 730, rel=1e-6)
    assert found["NAT gateways"] == 1
    assert found["public IPv4 addresses"] == 1, "NAT's"


def test_a_key_is_counted_whole_with_its_calls(make_run: Callable[..., Run]) -> None:
    fleet = in_a_month(replace(FLEET, kms_key_arn=KEY), units=2, launches=5.0)
    assert fleet["KMS key"] == 1
    assert fleet["KMS requests"] == Decimal(2 * 5 * 4) / 10_000
    queued = in_an_hour(make_run, SageMakerAsync("ml.c5.large", kms_key_arn=KEY))
    assert float(queued["KMS requests"]) == pytest.approx((4 * 36_000 + 4 / 730) / 10_000)


@pytest.mark.parametrize(
    ("instance_type", "share", "vcpu_hours"),
    [("t3.large", 0.5, 2 * 0.2), ("t4g.xlarge", 0.9, 4 * 0.5), ("t3.large", 0.3, 0.0),
     ("t2.large", 1.0, 0.0), ("c5.large", 1.0, 0.0)],
)  # fmt: skip
def test_credits_are_what_lies_above_the_baseline(
    instance_type: str, share: float, vcpu_hours: float
) -> None:
    found = in_a_month(replace(FLEET, instance_type=instance_type), cpu_share=share)
    credit = found.get("CPU credits above the baseline", Decimal(0))
    assert float(credit) == pytest.approx(vcpu_hours * 730)


def test_how_busy_a_burstable_type_is_must_be_said() -> None:
    (line,) = (
        row
        for row in materials(of(replace(FLEET, instance_type="t3.large")), month(1))
        if row.item.startswith("CPU credits")
    )
    assert (line.quantity, line.key) == (None, "assumptions.cpu_share")
    assert "set assumptions.cpu_share" in line.unknown


def test_what_a_handler_logs_follows_the_traffic(make_run: Callable[..., Run]) -> None:
    said = {"log_bytes_per_request": 2.0**19}
    assert in_a_month(SageMakerServerless(), **said)["logs"] is None
    assert in_an_hour(make_run, SageMakerServerless(), **said)["logs"] == Decimal(36_000) / 2048
    assert "logs" not in in_an_hour(make_run, SageMakerServerless())


def test_alarms_and_dashboards_are_those_that_are_made() -> None:
    found = quantities(materials(of(FLEET), month(1), Made(4, 2, 1)))
    assert found["alarms"] == 4
    assert found["alarms on metrics of less than a minute"] == 2
    assert found["dashboard"] == 1
    assert "alarms" not in in_a_month(FLEET)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
def test_conventions_are_told_for_every_target(target: Target) -> None:
    assert all(sentence.endswith(".") for sentence in conventions(of(target)))
    assert any("2^30" in sentence for sentence in conventions(of(target)))
    assert any("assumptions.image_gb" in sentence for sentence in conventions(of(target)))


def test_fleet_tells_its_assumed_addresses() -> None:
    told = conventions(of(Ec2Fleet("c5.large", alb_ipv4=3)))
    assert any("3 public IPv4" in sentence for sentence in told)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
@given(
    rps=st.floats(0.1, 5),
    duration_s=st.floats(60, 7200),
    instances=st.integers(0, 5),
    size=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_quantities_are_finite_not_negative_and_plain(
    make_run: Callable[..., Run],
    target: Target,
    rps: float,
    duration_s: float,
    instances: int,
    size: int,
) -> None:
    run = make_run(
        rps=rps,
        duration_s=duration_s,
        instances=instances,
        response_bytes=size,
        billed_compute_s=1.5,
    )
    for line in materials(of(target), of_run(run)):
        assert line.quantity is not None
        assert line.quantity.is_finite()
        assert line.quantity > 0, "lines of nothing are left out"
        assert len(line.quantity.as_tuple().digits) <= 12
