"""Limits of run time fail requests: of size, of time, of a queue; each with its reason, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deployer.cost.materials import materials
from deployer.cost.use import of_run
from deployer.profiles import Profile, ServiceTime
from deployer.runs import Run
from deployer.simulation.failures import SERVER_ANSWER_S
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import FleetQueue, Listener
from deployer.spec.scaling import Fixed, Period, QueueBacklog, ScalingPolicy, Scheduled
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)
from deployer.traffic.trace import TrafficTrace

MIB = 2**20
REALTIME = SageMakerRealtime("ml.c5.large")
SERVERLESS = SageMakerServerless(cold_start_s=0.0)
LARGE = {
    REALTIME.kind: "request larger than 6,291,456 bytes (InvokeEndpoint)",
    SERVERLESS.kind: "request larger than 4,194,304 bytes (SageMaker's serverless endpoints)",
}
Play = Callable[..., Run]


@pytest.fixture
def play(make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]) -> Play:
    """One worker of ``service_s`` each."""

    def simulate_it(
        trace: TrafficTrace,
        target: Target,
        policy: ScalingPolicy | None = None,
        service_s: float = 1.0,
        **changes: Any,
    ) -> Run:
        times = {1: ServiceTime("deterministic", 1000.0 * service_s)}
        spec = make_spec(target=target, scaling=policy or Fixed())
        return simulate(trace, make_profile(service_time_ms=times, **changes), spec, 1)

    return simulate_it


def every(seconds: float, count: int, **sizes: list[int]) -> TrafficTrace:
    arrays = {key: np.array(values) for key, values in sizes.items()}
    return TrafficTrace("even", seconds * np.arange(count), seconds * count, **arrays)


def at_once(count: int, duration_s: float) -> TrafficTrace:
    return TrafficTrace("burst", np.zeros(count), duration_s)


@pytest.mark.parametrize("target", [REALTIME, SERVERLESS])
def test_bodies_of_forty_mebibytes_fail_at_once_and_cost_no_compute(
    target: Target, play: Play
) -> None:
    run = play(every(2.0, 10, payload_bytes=[40 * MIB] * 10), target)
    assert run.status.tolist() == [413] * 10
    assert run.done_s.tolist() == run.intended_s.tolist()
    assert run.details["failed_by"] == {LARGE[target.kind]: 10}
    assert run.details["failed_status"] == {LARGE[target.kind]: 413}
    assert run.billed_compute_s in (None, 0.0)
    assert (run.request_bytes.sum(), run.response_bytes.sum()) == (0, 0)
    assert run.attainment(60.0) == 0.0


@pytest.mark.parametrize("target", [REALTIME, SERVERLESS])
def test_of_mixed_bodies_only_the_large_ones_fail(target: Target, play: Play) -> None:
    sizes = [MIB, 40 * MIB, MIB, MIB, 40 * MIB]
    run = play(every(2.0, 5, payload_bytes=sizes, response_bytes=[10] * 5), target)
    assert run.status.tolist() == [200, 413, 200, 200, 413]
    assert run.latency_s.tolist() == pytest.approx([1.0] * 3)
    assert run.details["failed_by"] == {LARGE[target.kind]: 2}
    assert run.billed_compute_s in (None, pytest.approx(3.0))
    assert run.request_bytes.tolist() == [MIB, 0, MIB, MIB, 0]
    assert run.attainment(2.0) == 0.6
    lines = materials(DeploymentSpec("digits", "none.tar.gz", target), of_run(run))
    data_in = next(line for line in lines if line.item == "endpoint data in")
    assert float(data_in.quantity or 0) == pytest.approx(3 * MIB / 2**30)
    assert any("moves no byte that is billed" in said for said in run.assumptions)


def test_a_body_at_the_limit_is_served(play: Play) -> None:
    run = play(every(2.0, 2, payload_bytes=[6 * MIB, 6 * MIB + 1]), REALTIME)
    assert run.status.tolist() == [200, 413]


def test_the_profiles_size_stands_in_for_a_trace_without_sizes(play: Play) -> None:
    run = play(every(2.0, 3), REALTIME, request_bytes=7 * MIB)
    assert run.details["failed_by"] == {LARGE[REALTIME.kind]: 3}


def test_what_is_refused_for_its_size_changes_nothing_for_the_others(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(service_time_ms={1: ServiceTime("exponential", 1000.0)})
    small = np.full(40, MIB)
    mixed = small.copy()
    mixed[1::2] = 40 * MIB
    spaced = 1000.0 * np.arange(40)
    runs = [
        simulate(TrafficTrace("t", spaced, 40_000.0, size), profile, make_spec(target=REALTIME), 3)
        for size in (small, mixed)
    ]
    assert runs[0].done_s[::2].tolist() == runs[1].done_s[::2].tolist()


@pytest.mark.parametrize("target", [Local(), Ec2Fleet("c7i.large"), SageMakerAsync("ml.c5.large")])
def test_the_bundles_server_refuses_bodies_past_its_own_limit_on_every_target(
    target: Target, play: Play
) -> None:
    trace = every(2.0, 3, payload_bytes=[MIB, 2 * MIB, 3 * MIB])
    run = play(trace, target, max_body_bytes=2 * MIB)
    assert run.status.tolist() == [200, 200, 413]
    reason = "request larger than 2,097,152 bytes (serving.max_body_bytes)"
    assert run.details["failed_by"] == {reason: 1}


def test_an_unknown_limit_of_the_server_is_named_only_where_a_body_could_meet_it(
    play: Play,
) -> None:
    fleet = Ec2Fleet("c7i.large")
    large = play(every(2.0, 3, payload_bytes=[MIB, 7 * MIB, 8 * MIB]), fleet)
    assert large.successes == 3
    said = [s for s in large.assumptions if "does not say how large a body" in s]
    assert len(said) == 1
    assert "the 2 that are larger than its default of 6,291,456 bytes" in said[0]
    for run in (
        play(every(2.0, 1, payload_bytes=[6 * MIB]), fleet),
        play(every(2.0, 1, payload_bytes=[7 * MIB]), fleet, max_body_bytes=8 * MIB),
        play(every(2.0, 1, payload_bytes=[7 * MIB]), REALTIME),
    ):
        assert not any("does not say how large a body" in s for s in run.assumptions)


def test_an_answer_too_large_for_the_target_is_billed_and_fails(play: Play) -> None:
    trace = every(2.0, 3, response_bytes=[10, 5 * MIB, 4 * MIB])
    run = play(trace, SERVERLESS)
    assert run.status.tolist() == [200, 424, 200]
    assert run.billed_compute_s == pytest.approx(3.0)
    assert run.response_bytes.tolist() == [10, 0, 4 * MIB]
    reason = "answer larger than 4,194,304 bytes (SageMaker's serverless endpoints)"
    assert run.details["failed_by"] == {reason: 1}
    assert play(trace, REALTIME).successes == 3
    assert any("its caller gets 424" in said for said in run.assumptions)


def test_the_load_balancer_gives_up_at_its_idle_timeout_and_the_server_works_on(
    play: Play,
) -> None:
    target = Ec2Fleet("c7i.large", listener=Listener(protocol="http", idle_timeout_s=30))
    trace = TrafficTrace("three", np.array([0.0, 0.0, 45.0]), 100.0)
    run = play(trace, target, service_s=20.0)
    # the second is ready at 40, which nobody waits for; the third comes to an idle server
    assert run.status.tolist() == [200, 504, 200]
    assert run.done_s.tolist() == pytest.approx([20.0, 30.0, 65.0])
    assert run.details["failed_by"] == {
        "no answer within 30 s (the load balancer's idle timeout)": 1
    }
    assert "A request without an answer after 30 s has failed." in run.assumptions


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (REALTIME, "InvokeEndpoint"),
        (Local(), "serving.request_timeout_s"),
        (Ec2Fleet("c7i.large"), "the load balancer's idle timeout"),
        (
            Ec2Fleet("c7i.large", listener=Listener(protocol="http", idle_timeout_s=70)),
            "serving.request_timeout_s",
        ),
    ],
)
def test_sixty_seconds_hold_elsewhere(target: Target, source: str, play: Play) -> None:
    # the second is expected to wait half a service time and waits a whole one: 2 x 35 s are 70
    run = play(at_once(2, 100.0), target, service_s=35.0)
    assert run.status.tolist() == [200, 504]
    assert run.done_s.tolist() == [35.0, 60.0]
    assert run.details["failed_by"] == {f"no answer within 60 s ({source})": 1}
    assert "A request without an answer after 60 s has failed." in run.assumptions


def test_a_serverless_container_has_sixty_seconds_its_cold_start_included(play: Play) -> None:
    run = play(at_once(1, 100.0), SageMakerServerless(cold_start_s=30.0), service_s=31.0)
    assert run.details["failed_by"] == {
        "no answer within 60 s (SageMaker's serverless endpoints)": 1
    }
    assert run.billed_compute_s == 61.0


def test_an_asynchronous_answer_has_fifteen_minutes_from_when_the_instance_takes_it(
    play: Play,
) -> None:
    target = SageMakerAsync("ml.c5.large", max_concurrent=1)
    assert play(at_once(3, 10_000.0), target, service_s=899.0).successes == 3
    run = play(at_once(3, 10_000.0), target, service_s=1000.0)
    assert run.status.tolist() == [504] * 3
    assert run.done_s.tolist() == [900.0, 1900.0, 2900.0]
    assert run.details["failed_by"] == {"no answer within 900 s (InvokeEndpointAsync)": 3}


def test_asynchronous_requests_that_wait_within_the_instance_use_up_their_time(
    play: Play,
) -> None:
    target = SageMakerAsync("ml.c5.large", max_concurrent=2)
    run = play(at_once(3, 10_000.0), target, service_s=800.0)
    # two are taken at 0, the one worker ends the second at 1600; the third is taken at 800, done at 2400
    assert run.status.tolist() == [200, 504, 504]
    assert run.done_s.tolist() == [800.0, 900.0, 1700.0]


def test_an_asynchronous_request_waits_six_hours_and_no_longer(play: Play) -> None:
    target = SageMakerAsync("ml.c5.large", max_concurrent=1)
    run = play(at_once(30, 40_000.0), target, service_s=800.0)
    # one is taken every 800 s: the 28th at 21,600, to the second; two are gone
    assert run.status.tolist() == [200] * 28 + [410] * 2
    assert run.done_s[-3:].tolist() == [22_400.0, 21_600.0, 21_600.0]
    assert run.details["failed_by"] == {"waited longer than 21,600 s (InvokeEndpointAsync)": 2}
    assert "A request that waits in the queue for longer than 21,600 s is gone." in run.assumptions


def test_messages_are_gone_after_their_retention(play: Play) -> None:
    target = Ec2Fleet("c7i.large", queue=FleetQueue(retention_s=60))
    run = play(at_once(5, 300.0), target, service_s=25.0, queue_limit=1)
    # taken at 0, 25 and 50, however small the server's own queue is
    assert run.status.tolist() == [200] * 3 + [410] * 2
    assert run.details["failed_by"] == {"waited longer than 60 s (SQS)": 2}


def test_messages_that_are_gone_wake_no_instance(play: Play) -> None:
    target = Ec2Fleet("c7i.large", instances=0, queue=FleetQueue(retention_s=60))
    trace = TrafficTrace("few", np.full(10, 5.0), 600.0)
    # waking takes two minutes with a backlog: at 60 there are ten, at 120 none
    run = play(trace, target, QueueBacklog(5.0))
    assert run.status.tolist() == [410] * 10
    assert run.done_s.tolist() == [65.0] * 10
    assert run.capacity.peak == 0
    longer = Ec2Fleet("c7i.large", instances=0, queue=FleetQueue(retention_s=3600))
    assert play(trace, longer, QueueBacklog(5.0)).successes == 10


def test_refusals_name_a_full_queue_and_a_fleet_without_instances(play: Play) -> None:
    policy = Scheduled((Period(0.0, 0), Period(60.0, 1)))
    trace = TrafficTrace("t", np.array([1.0, 2.0, *[300.0] * 5]), 400.0)
    run = play(trace, Ec2Fleet("c7i.large"), policy, queue_limit=2)
    assert run.details["failed_by"] == {
        "no instance in service": 2,
        f"queue of 2 full or its wait foreseen past {SERVER_ANSWER_S:g} s": 2,
    }
    assert set(run.details["failed_status"].values()) == {503}


def test_throttled_and_never_taken_requests_say_so(play: Play) -> None:
    run = play(at_once(5, 10.0), SageMakerServerless(max_concurrency=2))
    assert run.details["failed_by"] == {"more than 2 at a time (target.max_concurrency)": 3}
    never = play(at_once(1, 10.0), SageMakerAsync("ml.c5.large", instances=0), QueueBacklog(1.0))
    assert never.details["failed_by"] == {"no instance took it before the trace ended": 1}
    assert never.details["failed_status"] == {"no instance took it before the trace ended": 0}


def test_the_reasons_add_up_to_the_failures(play: Play) -> None:
    sizes = [MIB, 40 * MIB] * 20
    trace = TrafficTrace("t", np.repeat(np.arange(20.0), 2), 20.0, np.array(sizes))
    run = play(trace, REALTIME, service_s=6.0, queue_limit=5)
    assert sum(run.details["failed_by"].values()) == run.failures
    assert len(run.details["failed_by"]) == 2
    assert play(every(2.0, 3), REALTIME).details["failed_by"] == {}
