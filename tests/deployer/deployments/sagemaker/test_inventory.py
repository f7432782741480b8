"""What a plan says of cost: the one bill at its sizes; unknown with the reason, never another mode's price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from deployer.cost.materials import Made
from deployer.cost.month import MonthlyCost
from deployer.deployments.backend import Asked
from deployer.deployments.sagemaker import inventory
from deployer.deployments.sagemaker.resolve import resolve
from deployer.pricing import snapshot
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.resolved import Image, Place
from deployer.spec.rollout import AllAtOnce
from deployer.spec.scaling import (
    Adjustment,
    Fixed,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.scaling import Period as At
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

ALWAYS = Fixed()


def predicted(target: Target, scaling: ScalingPolicy = ALWAYS) -> MonthlyCost:
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
    return inventory.predict(resolved, snapshot.load())


def test_a_fleet_costs_its_bounds_a_month() -> None:
    found = predicted(
        SageMakerRealtime("ml.c5.large"), TargetTracking(target=600.0, max_instances=3)
    )
    lines = {line.item: line for line in found.lines}
    instances = lines["ml.c5.large instances"]
    assert (instances.usd_least, instances.usd_most) == (Decimal("74.460"), Decimal("223.380"))
    assert (lines["alarms"].least, lines["alarms"].most) == (4, 4), "two made, two of AWS's own"
    # 74.46, a volume of 30 GB, 4 alarms, a dashboard, 0.1 GB in S3 and 0.15 in ECR.
    rest = 30 * Decimal("0.112") + Decimal("0.4") + 3 + Decimal("0.0023") + Decimal("0.015")
    assert found.month_least == Decimal("74.460") + rest
    assert found.unknown == {}
    assert "endpoint data in" in found.by_traffic
    assert found.per_thousand is None


@pytest.mark.parametrize(
    ("target", "item"),
    [
        (SageMakerAsync("ml.c5.large"), "ml.c5.large instances"),
        (SageMakerBatch("ml.c5.large"), "ml.c5.large instances"),
        (SageMakerServerless(provisioned_concurrency=2), "provisioned concurrency 2GB"),
        (SageMakerRealtime("ml.c5.7xlarge"), "ml.c5.7xlarge instances"),
        (SageMakerAsync("ml.z9.large"), "ml.z9.large instances"),
    ],
)
def test_what_was_not_read_for_the_mode_is_unknown_with_the_reason(
    target: Target, item: str
) -> None:
    found = predicted(target)
    assert (found.month_least, found.month_most) == (None, None)
    assert "no price for sagemaker-" in found.unknown[item]


def test_an_unknown_price_of_the_work_leaves_the_fixed_part_known() -> None:
    found = predicted(SageMakerServerless(memory_mb=1024))
    assert found.month_least is not None
    assert "no price for sagemaker-serverless" in found.unknown["serverless 1GB compute"]


STEPS = Step("cpu", 50.0, (Adjustment(-20, -1), Adjustment(-10, 0), Adjustment(0, 1)))


@pytest.mark.parametrize(
    ("target", "rest", "expected"),
    [
        (SageMakerRealtime("ml.c5.large"), {}, Made(2, 0, 1)),
        (SageMakerRealtime("ml.c5.large"), {"slo": Slo(p99_ms=1)}, Made(3, 0, 1)),
        (
            SageMakerRealtime("ml.c5.large"),
            {"rollout": AllAtOnce(generated_alarms=False)},
            Made(0, 0, 1),
        ),
        (
            SageMakerRealtime("ml.c5.large"),
            {"scaling": TargetTracking(metric="concurrency", target=4.0)},
            Made(2, 2, 1),
        ),
        (SageMakerRealtime("ml.c5.large"), {"scaling": STEPS}, Made(4, 0, 1)),
        (SageMakerRealtime("ml.c5.large"), {"scaling": Scheduled((At(0, 1),))}, Made(2, 0, 1)),
        (SageMakerAsync("ml.c5.large"), {"scaling": QueueBacklog(5.0)}, Made(4, 0, 1)),
        (SageMakerServerless(), {}, Made(0, 0, 1)),
        (SageMakerBatch("ml.c5.large"), {}, Made(0, 0, 0)),
    ],
)
def test_alarms_are_those_that_are_made(
    target: Target, rest: dict[str, Any], expected: Made
) -> None:
    assert inventory.made(DeploymentSpec("digits", "b.tar.gz", target, **rest)) == expected
