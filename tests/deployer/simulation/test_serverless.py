"""Serverless containers: cold starts, idle expiry, throttling, billing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.runs import Run
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import SageMakerServerless
from deployer.traffic.trace import TrafficTrace

Play = Callable[..., Run]


@pytest.fixture
def play(make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]) -> Play:
    """Requests of exactly 1 s; a cold start takes 5 s, an idle container stays for 60 s."""

    def simulate_it(arrivals: list[float], **target: float) -> Run:
        profile = make_profile(service_time_ms={1: ServiceTime("deterministic", 1000.0)})
        wish = SageMakerServerless(**({"cold_start_s": 5.0, "idle_s": 60.0} | target))
        trace = TrafficTrace("few", np.array(arrivals), 1000.0)
        return simulate(trace, profile, make_spec(target=wish), 1)

    return simulate_it


def test_the_first_request_pays_the_cold_start_and_later_ones_do_not(play: Play) -> None:
    run = play([0.0, 10.0, 20.0])
    assert run.latency_s.tolist() == [6.0, 1.0, 1.0]
    assert run.details["cold_starts"] == 1


def test_an_idle_container_goes_and_the_next_request_starts_cold(play: Play) -> None:
    # the first ends at 6: at 66 it is still there, the second ends at 67 and is gone at 127.5
    run = play([0.0, 66.0, 127.5])
    assert run.latency_s.tolist() == [6.0, 1.0, 6.0]


def test_concurrent_requests_need_a_container_each(play: Play) -> None:
    run = play([0.0, 0.0, 0.0, 100.0], idle_s=200.0)
    assert run.latency_s.tolist() == [6.0, 6.0, 6.0, 1.0]


def test_requests_beyond_the_concurrency_are_throttled_at_once(play: Play) -> None:
    run = play([0.0, 0.0, 1.0, 6.0], max_concurrency=2)
    assert run.status.tolist() == [200, 200, 429, 200]
    assert run.done_s[2] == 1.0
    assert run.refused == 1


def test_provisioned_containers_are_warm_from_the_start_and_for_ever(play: Play) -> None:
    run = play([0.0, 0.0, 900.0], provisioned_concurrency=1)
    assert run.latency_s.tolist() == [1.0, 6.0, 1.0]
    assert run.capacity.billed.tolist() == [1.0]


def test_the_last_used_container_serves_next_so_that_the_others_expire(play: Play) -> None:
    # both are warm; the one that ended at 31.2 serves at 60, so the one that ended at 31 is gone at 91.1
    run = play([0.0, 0.5, 30.0, 30.2, 60.0, 91.1, 91.1])
    assert run.latency_s[2:5].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert run.latency_s[-2:].tolist() == pytest.approx([1.0, 6.0])


def test_the_bill_counts_work_and_cold_starts_but_no_throttled_request(play: Play) -> None:
    run = play([0.0, 0.0, 1.0, 6.0], max_concurrency=2)
    assert run.billed_compute_s == 6.0 + 6.0 + 1.0
    assert run.details["cold_starts"] == 2
    assert "A cold start takes 5 s and is billed as compute." in run.assumptions


def test_a_request_past_the_deadline_fails_but_is_billed(play: Play) -> None:
    run = play([0.0], cold_start_s=100.0)
    assert run.status.tolist() == [504]
    assert run.done_s.tolist() == [60.0]
    assert run.billed_compute_s == 101.0
