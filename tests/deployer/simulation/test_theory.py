"""The simulator against queueing theory: seeds 0 to 19, 99% intervals of at most 1% of the mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec
from deployer.stats import Interval, mean_interval
from deployer.traffic import arrivals

SEEDS = range(20)
SERVICE_S = 0.010
WARM_UP_S = 100.0


def mean_wait_s(
    profile: Profile, spec: DeploymentSpec, rate_rps: float, duration_s: float, seed: int
) -> float:
    """Return the mean time in the queue after the warm-up: latency without the mean service time."""
    trace = arrivals.poisson(rate_rps, duration_s, seed)
    run = simulate(trace, profile, spec, seed)
    assert run.successes == run.offered
    return float(run.latency_s[trace.arrival_s > WARM_UP_S].mean()) - SERVICE_S


def assert_holds(found: Interval, theory_s: float) -> None:
    assert found.relative <= 0.01
    assert abs(found.mean - theory_s) <= found.half_width


def erlang_c_wait_s(rate_rps: float, workers: int) -> float:
    """Return the mean wait of M/M/c: Erlang's probability of waiting over the spare capacity."""
    load = rate_rps * SERVICE_S
    terms = [load**k / math.factorial(k) for k in range(workers)]
    all_busy = load**workers / math.factorial(workers) * workers / (workers - load)
    return all_busy / (sum(terms) + all_busy) / (workers / SERVICE_S - rate_rps)


def test_m_d_1_waits_twenty_milliseconds_at_eighty_percent_load(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    waits = [mean_wait_s(make_profile(), make_spec(), 80.0, 5000.0, seed) for seed in SEEDS]
    assert_holds(mean_interval(np.array(waits), 0.99), 0.020)


@pytest.mark.parametrize(("workers", "duration_s"), [(1, 8000.0), (2, 6000.0), (4, 4000.0)])
def test_m_m_c_waits_as_erlang_c_says_at_eighty_percent_load(
    workers: int,
    duration_s: float,
    make_profile: Callable[..., Profile],
    make_spec: Callable[..., DeploymentSpec],
) -> None:
    profile = make_profile(
        workers=workers, service_time_ms={1: ServiceTime("exponential", SERVICE_S * 1000)}
    )
    rate_rps = 80.0 * workers
    waits = [mean_wait_s(profile, make_spec(), rate_rps, duration_s, seed) for seed in SEEDS]
    assert_holds(mean_interval(np.array(waits), 0.99), erlang_c_wait_s(rate_rps, workers))


@pytest.mark.parametrize("rate_rps", [50.0, 100.0, 150.0])
def test_m_m_1_k_loses_the_share_of_the_closed_form(
    rate_rps: float, make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    room = 5  # four wait, one is served
    profile = make_profile(
        service_time_ms={1: ServiceTime("exponential", SERVICE_S * 1000)}, queue_limit=room - 1
    )
    load = rate_rps * SERVICE_S
    weights = [load**k for k in range(room + 1)]
    lost = []
    for seed in SEEDS:
        run = simulate(arrivals.poisson(rate_rps, 2000.0, seed), profile, make_spec(), seed)
        lost.append(run.refused / run.offered)
    found = mean_interval(np.array(lost), 0.99)
    assert found.relative <= 0.05
    assert abs(found.mean - weights[-1] / sum(weights)) <= found.half_width


def test_littles_law_holds_for_requests_in_the_system(
    make_profile: Callable[..., Profile], make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = arrivals.gamma(150.0, 600.0, 2.0, seed=3)
    profile = make_profile(
        workers=2, service_time_ms={1: ServiceTime("exponential", 10.0)}, max_batch=1
    )
    run = simulate(trace, profile, make_spec(), 3)
    # the number in the system, counted at every change, against arrival rate x mean time in the system
    times = np.concatenate((run.intended_s, run.done_s))
    change = np.concatenate((np.ones(run.offered), -np.ones(run.offered)))
    order = np.argsort(times, kind="stable")
    inside = np.cumsum(change[order])[:-1]
    end_s = times.max()
    mean_inside = float(np.sum(inside * np.diff(times[order]))) / end_s
    assert mean_inside == pytest.approx(run.offered / end_s * run.latency_s.mean(), rel=1e-9)
