"""A fleet under a step in load, by hand; routing, draining, schedules and empty fleets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.runs import Run
from deployer.simulation.failures import SERVER_ANSWER_S
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import (
    Adjustment,
    Period,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import Ec2Fleet, Local, SageMakerAsync, SageMakerRealtime, Target
from deployer.traffic import arrivals
from deployer.traffic.trace import TrafficTrace

REALTIME = SageMakerRealtime("ml.c5.large", startup_s=300.0)
TRACKING = TargetTracking(target=600.0, min_instances=1, max_instances=4)


def even_steps(*levels: tuple[float, float]) -> TrafficTrace:
    """Arrivals at equal distances, half a distance off the full second; levels are (until_s, rate_rps)."""
    times, start_s = [], 0.0
    for until_s, rate_rps in levels:
        count = round((until_s - start_s) * rate_rps)
        times.append(start_s + (np.arange(count) + 0.5) / rate_rps)
        start_s = until_s
    return TrafficTrace("steps", np.concatenate(times), levels[-1][0])


def steps_of(run: Run) -> list[tuple[float, float, float]]:
    capacity = run.capacity
    rows = zip(capacity.time_s, capacity.billed, capacity.serving, strict=True)
    return [(float(t), float(b), float(s)) for t, b, s in rows]


Play = Callable[[TrafficTrace, Target, ScalingPolicy], Run]


@pytest.fixture
def play(make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]) -> Play:
    def simulate_it(trace: TrafficTrace, target: Target, policy: ScalingPolicy) -> Run:
        return simulate(trace, make_profile(), make_spec(target=target, scaling=policy), seed=1)

    return simulate_it


STEP_IN_LOAD = even_steps((600.0, 5.0), (3000.0, 25.0), (6000.0, 2.0))


def test_target_tracking_follows_a_step_in_load_as_worked_out_by_hand(play: Play) -> None:
    # 600 per minute and instance. At 25 req/s one instance sees 1500: above at 660, 720, 780; wanted is
    # ceil(1500 / 600) = 3, in service 300 s later. Three see 500, below 540 from 1140 on: the alarm is
    # ready at 1980, but two would see 750. At 2 req/s two see 60, one 120: in at 3060, and again when
    # the 300 s of cooldown are over.
    assert steps_of(play(STEP_IN_LOAD, REALTIME, TRACKING)) == [
        (0.0, 1.0, 1.0),
        (780.0, 3.0, 1.0),
        (1080.0, 3.0, 3.0),
        (3060.0, 2.0, 2.0),
        (3360.0, 1.0, 1.0),
    ]


def test_the_bill_runs_from_the_decision_to_the_last_answer(play: Play) -> None:
    run = play(STEP_IN_LOAD, REALTIME, TRACKING)
    by_hand = 780 * 1 + (3060 - 780) * 3 + 300 * 2 + (6000 - 3360) * 1
    assert run.capacity.billed_instance_s(run.duration_s) == by_hand


def test_the_high_resolution_metric_reacts_within_thirty_seconds(play: Play) -> None:
    # 25 req/s x 10 ms are 0.25 requests in flight on average
    policy = TargetTracking(metric="concurrency", target=0.1, max_instances=4)
    run = play(even_steps((600.0, 5.0), (1200.0, 25.0)), REALTIME, policy)
    assert steps_of(run)[1] == (630.0, 3.0, 1.0)


def test_concurrency_on_an_ec2_fleet_comes_once_a_minute_as_worked_out_by_hand(play: Play) -> None:
    # by Little's law 25 req/s x 10 ms are 0.25 in flight: above 0.1 at 660, 720 and 780, so ceil(2.5) = 3
    # are in service 120 s later. At 1 req/s three see 0.0033 each, below 0.07 from 3060 on: the 15th time
    # at 3900 one goes, and 300 s later another.
    policy = TargetTracking(metric="concurrency", target=0.1, max_instances=4)
    trace = even_steps((600.0, 5.0), (3000.0, 25.0), (6000.0, 1.0))
    run = play(trace, Ec2Fleet("c5.large", startup_s=120.0), policy)
    assert steps_of(run) == [
        (0.0, 1.0, 1.0),
        (780.0, 3.0, 1.0),
        (900.0, 3.0, 3.0),
        (3900.0, 2.0, 2.0),
        (4200.0, 1.0, 1.0),
    ]
    assert (
        "Metrics come every 60 s without delay; scale-out after 3 periods above the target, scale-in after "
        "15 below 0.7 of it, one instance at a time."
    ) in run.assumptions
    assert any("Little's law" in sentence for sentence in run.assumptions)


def test_steps_on_concurrency_follow_the_period_of_their_target(play: Play) -> None:
    policy = Step("concurrency", 0.1, (Adjustment(0.0, 1),), max_instances=2)
    trace = even_steps((600.0, 5.0), (1200.0, 25.0))
    assert steps_of(play(trace, Ec2Fleet("c5.large"), policy))[1] == (780.0, 2.0, 1.0)
    assert steps_of(play(trace, REALTIME, policy))[1] == (630.0, 2.0, 1.0)


def test_cpu_is_the_busy_share_of_the_workers(play: Play) -> None:
    policy = TargetTracking(metric="cpu", target=10.0, max_instances=8)
    run = play(even_steps((600.0, 5.0), (1200.0, 25.0)), REALTIME, policy)
    assert steps_of(run)[1] == (780.0, 3.0, 1.0)  # 25% on one instance, 10% wanted


def test_an_ec2_fleet_scales_in_later_because_its_low_alarm_lies_lower(play: Play) -> None:
    trace = even_steps((3600.0, 25.0), (7200.0, 6.5))  # 3 x 130 a minute fit 1 x 600
    realtime = play(trace, SageMakerRealtime("ml.c5.large", instances=3), TRACKING)
    fleet = play(trace, Ec2Fleet("c5.large", instances=3), TRACKING)
    assert steps_of(realtime)[-1] == (3960.0, 1.0, 1.0)
    assert steps_of(fleet)[-1] == (4800.0, 1.0, 1.0)


def test_step_scaling_adds_what_its_step_says(play: Play) -> None:
    adjustments = (Adjustment(-2000.0, -1), Adjustment(-300.0, 0), Adjustment(0.0, 2))
    policy = Step("invocations_per_instance", 600.0, adjustments, max_instances=4)
    # unlike tracking it looks at the metric alone: the last minute of the lone instance still shows 1500
    # when the cooldown ends, and two more are asked for, of which the bound leaves one
    assert steps_of(play(STEP_IN_LOAD, REALTIME, policy))[:4] == [
        (0.0, 1.0, 1.0),
        (780.0, 3.0, 1.0),
        (1080.0, 4.0, 3.0),
        (1380.0, 4.0, 4.0),
    ]


def test_a_schedule_changes_capacity_on_its_minutes(play: Play) -> None:
    policy = Scheduled((Period(0.0, 2), Period(600.0, 3), Period(1200.0, 1)))
    assert steps_of(play(even_steps((1800.0, 5.0)), Ec2Fleet("c5.large"), policy)) == [
        (0.0, 2.0, 2.0),
        (600.0, 3.0, 2.0),
        (720.0, 3.0, 3.0),
        (1200.0, 1.0, 1.0),
    ]


def test_a_start_that_is_cancelled_is_no_longer_billed_and_never_serves(play: Play) -> None:
    policy = Scheduled((Period(0.0, 1), Period(600.0, 3), Period(660.0, 1)))
    assert steps_of(play(even_steps((1800.0, 5.0)), Ec2Fleet("c5.large"), policy)) == [
        (0.0, 1.0, 1.0),
        (600.0, 3.0, 1.0),
        (660.0, 1.0, 1.0),
        (720.0, 1.0, 1.0),
    ]


def test_requests_without_an_instance_are_refused(play: Play) -> None:
    policy = Scheduled((Period(0.0, 0), Period(600.0, 1)))
    run = play(even_steps((1200.0, 1.0)), Ec2Fleet("c5.large", startup_s=120.0), policy)
    assert run.refused == 720
    assert run.successes == 480


def test_scale_in_answers_what_is_in_flight_and_bills_until_then(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(service_time_ms={1: ServiceTime("deterministic", 5000.0)})
    policy = Scheduled((Period(0.0, 2), Period(60.0, 1)))
    trace = TrafficTrace("burst", np.array([58.0, 58.5, 59.0, 59.5]), 300.0)
    spec = make_spec(target=Ec2Fleet("c5.large"), scaling=policy)
    run = simulate(trace, profile, spec, seed=1)
    assert run.successes == 4
    # two requests each: the retired instance answers its second one 10 s after its first came
    drained_s = steps_of(run)[-1][0]
    assert steps_of(run)[1] == (60.0, 2.0, 1.0)
    assert drained_s in (pytest.approx(68.0), pytest.approx(68.5))
    assert steps_of(run)[-1][1:] == (1.0, 1.0)


def test_a_retired_instance_stops_with_its_last_batch(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    times = {1: ServiceTime("deterministic", 4000.0), 4: ServiceTime("deterministic", 4000.0)}
    profile = make_profile(service_time_ms=times, max_batch=4)
    policy = Scheduled((Period(0.0, 2), Period(60.0, 1)))
    spec = make_spec(target=Ec2Fleet("c5.large"), scaling=policy)
    run = simulate(TrafficTrace("burst", np.full(10, 57.0), 300.0), profile, spec, seed=1)
    # five requests each: one alone until 61, the other four until 65
    assert steps_of(run) == [(0.0, 2.0, 2.0), (60.0, 2.0, 1.0), (65.0, 1.0, 1.0)]


def test_more_instances_than_wanted_may_drain_at_once(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(service_time_ms={1: ServiceTime("deterministic", 35_000.0)})
    flips = tuple(Period(60.0 * i, 4 if i % 2 else 1) for i in range(1, 40))
    spec = make_spec(
        target=Ec2Fleet("c5.large", instances=4, startup_s=1.0), scaling=Scheduled(flips)
    )
    run = simulate(arrivals.poisson(0.5, 2400.0, 1), profile, spec, seed=1)
    assert run.capacity.peak > 4
    assert run.successes + run.refused + int(np.sum(run.status == 504)) == run.offered


def test_least_outstanding_spreads_what_random_piles_up(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = arrivals.poisson(240.0, 600.0, 1)
    realtime = make_spec(target=SageMakerRealtime("ml.c5.large", instances=4))
    fleet = make_spec(target=Ec2Fleet("c5.large", instances=4))
    at_random = simulate(trace, make_profile(), realtime, 1).latency_s.mean()
    least = simulate(trace, make_profile(), fleet, 1).latency_s.mean()
    # at random each instance is an M/D/1 of its own at 60%: 10 ms + 0.6 x 10 / (2 x 0.4) = 17.5 ms
    assert at_random == pytest.approx(0.0175, rel=0.02)
    assert least < 0.8 * at_random


def test_a_backlog_wakes_an_asynchronous_endpoint_from_zero(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = TrafficTrace("few", np.array([100.0, 100.5, 101.0]), 3600.0)
    target = SageMakerAsync("ml.c5.large", instances=0, startup_s=300.0)
    spec = make_spec(target=target, scaling=QueueBacklog(10.0))
    run = simulate(trace, make_profile(), spec, 1)
    # seen at 120 and 180; serves from 480 on; the empty queue lets it go 15 minutes later
    assert steps_of(run)[:3] == [(0.0, 0.0, 0.0), (180.0, 1.0, 0.0), (480.0, 1.0, 1.0)]
    assert run.done_s[0] == pytest.approx(480.01)
    assert run.successes == 3
    assert steps_of(run)[-1] == (1380.0, 0.0, 0.0)


def test_a_local_backlog_is_a_queue_that_idle_workers_take_from(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(
        workers=2, service_time_ms={1: ServiceTime("deterministic", 40_000.0)}, queue_limit=1
    )
    spec = make_spec(target=Local(), scaling=QueueBacklog(2.0, max_instances=3))
    run = simulate(TrafficTrace("burst", np.zeros(12), 600.0), profile, spec, 1)
    # two leave every 40 s: 10 are left at 60 s, 6 at 120 s, 4 at 180 s; 4 / 2 = 2 instances, the new
    # one 2 s later
    assert steps_of(run)[:3] == [(0.0, 1.0, 1.0), (180.0, 2.0, 1.0), (182.0, 2.0, 2.0)]
    assert run.successes == 12
    assert run.latency_s.max() > SERVER_ANSWER_S


def test_what_no_instance_ever_takes_has_no_answer(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = TrafficTrace("late", np.array([50.0]), 100.0)
    target = SageMakerAsync("ml.c5.large", instances=0)
    run = simulate(trace, make_profile(), make_spec(target=target, scaling=QueueBacklog(1.0)), 1)
    assert (run.successes, run.refused, run.failures) == (0, 0, 1)
    assert np.isnan(run.done_s[0])


def test_an_asynchronous_instance_takes_no_more_than_it_was_told(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    profile = make_profile(
        workers=4, service_time_ms={1: ServiceTime("deterministic", 1000.0)}, queue_limit=1
    )
    trace = TrafficTrace("burst", np.zeros(8), 10.0)
    spec = make_spec(target=SageMakerAsync("ml.c5.large", max_concurrent=2))
    run = simulate(trace, profile, spec, 1)
    assert run.done_s.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_local_deployment_starts_in_the_time_its_profile_measured(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    policy = Scheduled((Period(0.0, 1), Period(60.0, 2)))
    spec = make_spec(target=Local(), scaling=policy)
    run = simulate(even_steps((300.0, 1.0)), make_profile(startup_s=7.0), spec, 1)
    assert steps_of(run) == [(0.0, 1.0, 1.0), (60.0, 2.0, 1.0), (67.0, 2.0, 2.0)]
