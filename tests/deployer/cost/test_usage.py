from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.cost.usage import Usage, conventions, usage
from deployer.errors import InputError, UnknownPrice
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

TARGETS: tuple[Target, ...] = (
    SageMakerRealtime("ml.c5.large"),
    SageMakerServerless(),
    SageMakerAsync("ml.c5.large"),
    SageMakerBatch("ml.c5.large"),
    Ec2Fleet("c5.large"),
)


def by_item(lines: tuple[Usage, ...]) -> dict[str, Usage]:
    return {line.item: line for line in lines}


def test_async_pays_two_writes_and_two_reads_a_request(make_run: Callable[..., Run]) -> None:
    found = by_item(usage(make_run(duration_s=3600.0), SageMakerAsync("ml.g6e.2xlarge")))
    assert found["S3 writes"].quantity == found["S3 reads"].quantity == 2 * 36_000 // 1000
    assert str(found["ml.g6e.2xlarge instances"].sku) == "sagemaker-async/us-east-1/ml.g6e.2xlarge"


def test_batch_pays_instances_at_its_own_rate(make_run: Callable[..., Run]) -> None:
    (line,) = usage(make_run(duration_s=1800.0), SageMakerBatch("ml.g5.xlarge", region="us-west-2"))
    assert str(line.sku) == "sagemaker-batch-transform/us-west-2/ml.g5.xlarge"
    assert line.quantity == Decimal("0.5")


def test_provisioned_concurrency_is_billed_for_the_whole_run(make_run: Callable[..., Run]) -> None:
    run = make_run(duration_s=3600.0, billed_compute_s=10.0)
    found = by_item(usage(run, SageMakerServerless(provisioned_concurrency=3)))
    assert found["provisioned concurrency 2GB"].quantity == 3 * 3600


def test_serverless_run_without_compute_time_is_refused(make_run: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match="lacks billed_compute_s"):
        usage(make_run(duration_s=10.0), SageMakerServerless())


def test_local_target_has_no_price(make_run: Callable[..., Run]) -> None:
    with pytest.raises(UnknownPrice, match="a local target has no price"):
        usage(make_run(duration_s=10.0), Local())


def test_more_addresses_of_the_load_balancer_are_billed(make_run: Callable[..., Run]) -> None:
    found = by_item(usage(make_run(duration_s=3600.0), Ec2Fleet("c5.large", alb_ipv4=3)))
    assert found["public IPv4 addresses"].quantity == 1 + 3


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
def test_conventions_are_told_for_every_target(target: Target) -> None:
    assert all(sentence.endswith(".") for sentence in conventions(target))
    assert any("2^30" in sentence for sentence in conventions(target))


def test_fleet_tells_its_assumed_addresses() -> None:
    assert any("3 public IPv4" in s for s in conventions(Ec2Fleet("c5.large", alb_ipv4=3)))


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
    lines = usage(run, target)
    assert len({line.item for line in lines}) == len(lines)
    for line in lines:
        assert line.quantity.is_finite()
        assert line.quantity >= 0
        assert len(line.quantity.as_tuple().digits) <= 12
