"""How many requests per second the simulator plays, once compiled. Prints a line per kind of target.

Run: ``pytest tests/benchmarks/simulation -s``
"""

from __future__ import annotations

import time

import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.scaling import Fixed, ScalingPolicy, TargetTracking
from deployer.spec.target import Ec2Fleet, SageMakerRealtime, SageMakerServerless, Target
from deployer.traffic import arrivals

DAY_OF_TEN_PER_SECOND = 864_000
TRACKING = TargetTracking(max_instances=8)
PROFILE = Profile(
    name="digits",
    bundle_digest="0" * 64,
    precision="fp32",
    hardware={"cpu": "a benchmark CPU"},
    workers=2,
    threads=1,
    service_time_ms={
        1: ServiceTime("empirical", 20.0, ((0.0, 10.0), (0.9, 25.0), (1.0, 60.0))),
        8: ServiceTime("empirical", 80.0, ((0.0, 50.0), (0.9, 90.0), (1.0, 150.0))),
    },
    request_bytes=1000,
    response_bytes=100,
    memory_mb=200.0,
    startup_s=2.0,
    date="2026-01-01T00:00:00+00:00",
    max_batch=8,
)


@pytest.mark.parametrize(
    ("target", "policy"),
    [
        (SageMakerRealtime("ml.c5.large", instances=2), Fixed()),
        (SageMakerRealtime("ml.c5.large"), TRACKING),
        (Ec2Fleet("c5.large"), TRACKING),
        (SageMakerServerless(), Fixed()),
    ],
)
def test_a_day_of_traffic_takes_about_a_second(target: Target, policy: ScalingPolicy) -> None:
    trace = arrivals.daily(10.0, 1.8, seed=1)
    spec = DeploymentSpec("digits", "digits.tar.gz", target, policy, slo=Slo(p99_ms=200.0))
    began_s = time.perf_counter()
    simulate(trace, PROFILE, spec, seed=0)
    first_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    run = simulate(trace, PROFILE, spec, seed=1)
    took_s = time.perf_counter() - began_s
    print(
        f"\n{target.kind}, {policy.kind}: {len(trace):,} requests in {took_s:.2f} s, "
        f"{len(trace) / took_s:,.0f} per second (first call {first_s:.1f} s)"
    )
    assert len(trace) == pytest.approx(DAY_OF_TEN_PER_SECOND, rel=0.01)
    assert run.offered == len(trace)
    assert took_s < 5.0
