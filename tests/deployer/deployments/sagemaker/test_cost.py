"""What a plan says of cost: from the price book, or unknown with the reason; never another mode's price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from deployer.deployments.sagemaker import cost
from deployer.deployments.sagemaker.resolve import Asked, resolve
from deployer.errors import SpecError
from deployer.pricing import snapshot
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Image, Place
from deployer.spec.scaling import Fixed, ScalingPolicy, TargetTracking
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

ALWAYS = Fixed()


def predicted(target: Target, scaling: ScalingPolicy = ALWAYS, **known: Any) -> cost.PlannedCost:
    place = Place("123456789012", "us-east-1", "target.region")
    resolved = resolve(
        DeploymentSpec("digits", "b.tar.gz", target, scaling),
        place,
        Image("i"),
        "3f" * 32,
        asked=Asked(),
        now=datetime(2026, 11, 21, tzinfo=UTC),
        vcpus=2,
    )
    return cost.predict(resolved, snapshot.load(), **known)


def test_a_fleet_costs_its_bounds_a_month_and_a_thousand_requests_at_the_target() -> None:
    found = predicted(
        SageMakerRealtime("ml.c5.large"), TargetTracking(target=600.0, max_instances=3)
    )
    assert (found.month_least, found.month_most) == (Decimal("74.460"), Decimal("223.380"))
    assert found.per_thousand == Decimal("0.102") / 36  # 36,000 requests an hour
    assert found.unknown == ""


@pytest.mark.parametrize(
    "target",
    [
        SageMakerAsync("ml.c5.large"),
        SageMakerBatch("ml.c5.large"),
        SageMakerServerless(memory_mb=2048, provisioned_concurrency=2),
        SageMakerServerless(memory_mb=1024),
    ],
)
def test_what_was_not_read_for_the_mode_is_unknown_with_the_reason(target: Target) -> None:
    found = predicted(target)
    assert (found.month_least, found.per_hour, found.per_thousand) == (None, None, None)
    assert found.unknown.startswith("no price for sagemaker-")


def test_serverless_costs_nothing_a_month_unless_something_is_kept_warm() -> None:
    found = predicted(SageMakerServerless(memory_mb=2048), busy_ms=100.0)
    assert (found.month_least, found.month_most) == (0, 0)
    price = snapshot.load().lookup("sagemaker-serverless", "us-east-1", "Mem-2GB").usd
    assert found.per_thousand == price * 100


@pytest.mark.parametrize(
    "target", [SageMakerRealtime("ml.c5.7xlarge"), SageMakerAsync("ml.z9.large")]
)
def test_an_instance_type_without_any_price_is_refused(target: Target) -> None:
    with pytest.raises(SpecError, match=r"target\.instance_type: no price"):
        predicted(target)
