"""The highest good rate of one instance, and the scaling target that follows from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.simulation.capacity import headroom
from deployer.simulation.simulation import derive_target, serving_of, simulate
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.scaling import Fixed, QueueBacklog, TargetTracking
from deployer.spec.target import Local, SageMakerAsync, SageMakerRealtime
from deployer.traffic import arrivals

REALTIME = SageMakerRealtime("ml.c5.large")


def test_the_highest_rate_meets_the_objective_and_a_little_more_does_not(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(service_time_ms={1: ServiceTime("exponential", 10.0)})
    found = headroom(profile, serving_of(profile, make_spec(), Local()), Slo(p99_ms=100.0))
    # the time in an M/M/1 is exponential with rate 100 - x: its 99th percentile is 100 ms where
    # x = 100 - ln(100) / 0.1 s = 53.95
    assert found.is_met
    assert found.max_rps == pytest.approx(53.95, rel=0.05)
    assert found.busy_share == pytest.approx(found.max_rps / 100, rel=0.02)
    assert found.in_flight == pytest.approx(found.max_rps / (100 - found.max_rps), rel=0.1)


def test_without_an_objective_it_is_saturation(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(workers=2)
    found = headroom(profile, serving_of(profile, make_spec(), Local()), Slo())
    assert (found.max_rps, found.busy_share, found.in_flight) == (200.0, 1.0, 2.0)


def test_an_objective_below_the_service_time_cannot_be_met(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile()
    found = headroom(profile, serving_of(profile, make_spec(), Local()), Slo(p99_ms=9.0))
    assert not found.is_met
    assert found.max_rps == 100.0
    spec = make_spec(target=REALTIME, scaling=TargetTracking(), slo=Slo(p99_ms=9.0))
    run = simulate(arrivals.constant(1.0, 60.0), profile, spec, 5)
    assert "no rate meets p99 9 ms" in run.assumptions[-1]


@pytest.mark.parametrize("slo", [Slo(p50_ms=20.0), Slo(p90_ms=20.0), Slo(p99_ms=20.0)])
def test_every_objective_counts(
    slo: Slo, make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile()
    both = Slo(slo.p50_ms or 25.0, slo.p90_ms or 25.0, slo.p99_ms or 25.0)
    serving = serving_of(profile, make_spec(), Local())
    assert headroom(profile, serving, both).max_rps <= headroom(profile, serving, slo).max_rps


def test_the_derived_target_is_awss_formula(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile()
    spec = make_spec(target=REALTIME, scaling=TargetTracking(), slo=Slo(p99_ms=50.0))
    room = headroom(profile, serving_of(profile, spec, REALTIME), spec.slo)
    assert derive_target(profile, spec) == room.max_rps * 0.5 * 60
    run = simulate(arrivals.constant(1.0, 60.0), profile, spec, 5)
    assert run.details["policy"]["target_per_instance"] == room.max_rps * 0.5 * 60


def test_other_metrics_aim_at_half_their_value_at_the_highest_rate(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile()
    for metric, at_saturation in (("cpu", 100.0), ("concurrency", 1.0)):
        spec = make_spec(target=REALTIME, scaling=TargetTracking(metric=metric))
        assert derive_target(profile, spec) == 0.5 * at_saturation


def test_a_target_that_is_given_is_not_derived(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile()
    given = make_spec(target=REALTIME, scaling=TargetTracking(target=7.0))
    backlog = make_spec(target=SageMakerAsync("ml.c5.large"), scaling=QueueBacklog(3.0))
    fixed = make_spec(target=REALTIME, scaling=Fixed())
    assert [derive_target(profile, spec) for spec in (given, backlog, fixed)] == [7.0, 3.0, None]
