"""simulate as a whole: repeatable to the byte, nothing lost, its origin and assumptions stated."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.errors import InputError, NotSupported
from deployer.profiles import Profile, ServiceTime
from deployer.simulation.failures import SERVER_ANSWER_S
from deployer.simulation.simulation import simulate
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.scaling import CustomMetric, Fixed, QueueBacklog, ScalingPolicy, TargetTracking
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)
from deployer.traffic import arrivals, files
from deployer.traffic.trace import TrafficTrace

TRACKING = TargetTracking(max_instances=4)
WISHES: list[tuple[Target, ScalingPolicy]] = [
    (Local(instances=2), Fixed()),
    (SageMakerRealtime("ml.c5.large"), TRACKING),
    (SageMakerRealtime("ml.c5.large"), TargetTracking(metric="concurrency", max_instances=4)),
    (SageMakerServerless(max_concurrency=3), Fixed()),
    (SageMakerAsync("ml.c5.large", instances=0), QueueBacklog(5.0)),
    (Ec2Fleet("c7i.large"), TargetTracking(metric="cpu", max_instances=4)),
]

ACROSS = """
import sys
from pathlib import Path
from deployer import profiles
from deployer.simulation.simulation import simulate
from deployer.spec import serde
from deployer.traffic import files
folder = Path(sys.argv[1])
run = simulate(files.load(folder / "trace.csv"), profiles.load(folder / "profile.json"),
               serde.load(folder / "deployment.json"), 11)
sys.stdout.write(run.dumps())
"""


@pytest.fixture
def profile(make_profile: Callable[..., Profile]) -> Profile:
    return make_profile(
        workers=2,
        service_time_ms={
            1: ServiceTime("empirical", 20.0, ((0.0, 10.0), (0.9, 25.0), (1.0, 60.0))),
            4: ServiceTime("empirical", 50.0, ((0.0, 30.0), (0.9, 60.0), (1.0, 90.0))),
        },
        max_batch=4,
        queue_limit=10,
    )


@pytest.mark.parametrize(("target", "policy"), WISHES)
def test_equal_arguments_give_the_same_bytes(
    target: Target,
    policy: ScalingPolicy,
    profile: Profile,
    make_spec: Callable[..., DeploymentSpec],
) -> None:
    trace = arrivals.gamma(20.0, 400.0, 2.0, seed=4)
    spec = make_spec(target=target, scaling=policy, slo=Slo(p99_ms=100.0))
    first, second, other = (simulate(trace, profile, spec, seed).dumps() for seed in (11, 11, 12))
    assert first == second
    assert first != other


def test_equal_arguments_give_the_same_bytes_in_another_process(
    profile: Profile, make_spec: Callable[..., DeploymentSpec], tmp_path: Path
) -> None:
    spec = make_spec(target=SageMakerRealtime("ml.c5.large"), scaling=TRACKING)
    files.save(arrivals.poisson(20.0, 400.0, 1), tmp_path / "trace.csv")
    profile.save(tmp_path / "profile.json")
    (tmp_path / "deployment.json").write_text(json.dumps(serde.to_dict(spec)))
    command = [sys.executable, "-c", ACROSS, str(tmp_path)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    trace = files.load(tmp_path / "trace.csv")
    assert simulate(trace, profile, spec, 11).dumps() == there


rates = st.floats(0.5, 150.0)


@pytest.mark.parametrize(("target", "policy"), WISHES)
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rate=rates, cv=st.floats(0.5, 5.0), seed=st.integers(0, 1000))
def test_every_offered_request_has_one_fate_and_bounds_hold(
    target: Target,
    policy: ScalingPolicy,
    profile: Profile,
    make_spec: Callable[..., DeploymentSpec],
    rate: float,
    cv: float,
    seed: int,
) -> None:
    trace = arrivals.gamma(rate, 1500.0, cv, seed)
    run = simulate(trace, profile, make_spec(target=target, scaling=policy), seed)
    unanswered = int(np.sum(run.status == 0))
    late = int(np.sum(run.status == 504))
    assert run.offered == len(trace)
    assert run.offered == run.successes + run.refused + late + unanswered
    assert np.all(run.latency_s >= 0.010 - 1e-9)  # the fastest batch
    assert np.all(np.isnan(run.done_s) == (run.status == 0))
    if isinstance(policy, TargetTracking):
        assert run.capacity.serving.min() >= policy.min_instances
        assert run.capacity.serving.max() <= policy.max_instances
    assert np.all(run.capacity.serving <= run.capacity.billed)
    assert np.all(np.diff(run.capacity.time_s) > 0)


def test_a_full_queue_refuses_at_once(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = TrafficTrace("burst", np.zeros(10), 1.0)
    run = simulate(trace, make_profile(queue_limit=3), make_spec(), 0)
    assert run.status.tolist() == [200] * 4 + [503] * 6
    assert run.done_s[4:].tolist() == [0.0] * 6


def test_waiting_requests_leave_in_batches(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    times = {1: ServiceTime("deterministic", 10.0), 4: ServiceTime("deterministic", 16.0)}
    trace = TrafficTrace("burst", np.zeros(6), 1.0)
    run = simulate(trace, make_profile(service_time_ms=times, max_batch=4), make_spec(), 0)
    # one goes alone at once, four wait for it, the last one waits for the four
    assert run.done_s.tolist() == pytest.approx([0.010] + [0.026] * 4 + [0.036])


def test_a_part_full_batch_waits_as_long_as_the_profile_says(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    times = {1: ServiceTime("deterministic", 10.0), 2: ServiceTime("deterministic", 10.0)}
    profile = make_profile(service_time_ms=times, max_batch=2, max_wait_ms=30.0)
    trace = TrafficTrace("pairs", np.array([0.1, 0.12, 0.7]), 1.0)
    run = simulate(trace, profile, make_spec(), 0)
    assert run.done_s.tolist() == pytest.approx([0.13, 0.13, 0.74])


def test_no_rounding_of_its_timer_keeps_a_batch_waiting(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    times = {1: ServiceTime("deterministic", 10.0), 2: ServiceTime("deterministic", 10.0)}
    profile = make_profile(service_time_ms=times, max_batch=2, max_wait_ms=30.0)
    lone = np.arange(2000) + np.random.default_rng(1).random(2000) / 2
    run = simulate(TrafficTrace("lone", lone, 2001.0), profile, make_spec(), 0)
    assert run.latency_s == pytest.approx(np.full(2000, 0.040))


def test_a_request_that_would_wait_past_the_deadline_is_refused(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(service_time_ms={1: ServiceTime("deterministic", 10_000.0)})
    run = simulate(TrafficTrace("burst", np.zeros(20), 1.0), profile, make_spec(), 0)
    assert run.refused > 0
    late = run.status == 504
    assert np.all(run.done_s[late] == SERVER_ANSWER_S)
    assert np.all(run.latency_s <= SERVER_ANSWER_S)


def test_sizes_come_from_the_trace_else_from_the_profile(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    times = np.array([0.0, 0.5])
    sized = TrafficTrace("sized", times, 1.0, np.array([10, 20]), np.array([3, 4]))
    run = simulate(sized, profile, make_spec(), 0)
    assert (run.request_bytes.tolist(), run.response_bytes.tolist()) == ([10, 20], [3, 4])
    run = simulate(TrafficTrace("bare", times, 1.0), profile, make_spec(), 0)
    assert (run.request_bytes.tolist(), run.response_bytes.tolist()) == ([1000] * 2, [100] * 2)


def test_a_refused_request_sends_no_response_bytes(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = TrafficTrace("burst", np.zeros(3), 1.0)
    run = simulate(trace, make_profile(queue_limit=1), make_spec(), 0)
    assert run.response_bytes.tolist() == [100, 100, 0]


def test_the_run_says_where_it_comes_from_and_carries_no_clock_date(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = arrivals.poisson(5.0, 60.0, 1)
    run = simulate(trace, profile, make_spec(), 7)
    assert run.provenance == "simulated"
    assert run.details["seed"] == 7
    assert run.details["trace"]["digest"] == trace.digest
    assert run.details["profile"]["bundle_digest"] == profile.bundle_digest
    assert "date" not in run.dumps()


def test_assumptions_are_sentences_with_their_values(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    spec = make_spec(
        target=SageMakerRealtime("ml.c7i.large", startup_s=240.0),
        scaling=TRACKING,
        slo=Slo(p99_ms=200.0),
    )
    said = simulate(arrivals.poisson(5.0, 60.0, 1), profile, spec, 7).assumptions
    assert said[0] == (
        "Service times measured on a test CPU are carried to ml.c7i.large at factor 1.0."
    )
    assert any("serves 240 s after the scaling decision" in sentence for sentence in said)
    assert any(sentence.startswith("The scaling target is derived: 0.5 x") for sentence in said)
    assert all(sentence.endswith(".") for sentence in said)


def test_what_has_no_simulation_says_so_by_name(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = arrivals.constant(1.0, 10.0)
    with pytest.raises(NotSupported, match="sagemaker-batch"):
        simulate(trace, profile, make_spec(target=SageMakerBatch("ml.c5.large")), 0)
    custom = TargetTracking("custom", 2.0, custom=CustomMetric("Mine", "Depth"))
    with pytest.raises(NotSupported, match="'custom' cannot be simulated"):
        simulate(trace, profile, make_spec(target=Ec2Fleet("c5.large"), scaling=custom), 0)
    with pytest.raises(InputError, match="seed must not be negative"):
        simulate(trace, profile, make_spec(), -1)


def test_numbers_of_a_run_are_plain_and_finite(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    spec = make_spec(target=SageMakerRealtime("ml.c5.large"), scaling=TRACKING)
    policy = simulate(arrivals.poisson(5.0, 60.0, 1), profile, spec, 7).details["policy"]
    assert all(type(value) in (float, bool) and math.isfinite(value) for value in policy.values())
