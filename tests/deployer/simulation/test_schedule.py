"""A schedule acts at the clock of the trace: a log's own hours, full minutes, midnight where nobody knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.comparison import Question
from deployer.cost.sensitivity import Change
from deployer.profiles import Profile, ServiceTime
from deployer.simulation.simulation import simulate
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import Fixed, Period, Scheduled
from deployer.spec.target import Ec2Fleet, SageMakerRealtime
from deployer.traffic import arrivals, files, logs
from deployer.traffic.trace import TrafficTrace

TEN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MORNING = Scheduled((Period(0.0, 1), Period(36_000.0, 3), Period(43_200.0, 1)))
"""Three instances from 10:00 to 12:00, else one."""
NO_START = "The trace has no start: it is taken to begin at midnight UTC; `# start=` in trace.csv says otherwise."
RATE = 1.5
"""Requests per second: half as many again as one instance of a second per request can serve."""


@pytest.fixture
def profile(make_profile: Callable[..., Profile]) -> Profile:
    times = {1: ServiceTime("deterministic", 1000.0)}
    return make_profile(service_time_ms=times, queue_limit=10)


@pytest.fixture
def spec(make_spec: Callable[..., DeploymentSpec]) -> DeploymentSpec:
    result = make_spec(target=Ec2Fleet("c7i.large", startup_s=120.0), scaling=MORNING)
    assert isinstance(result, DeploymentSpec)
    return result


def stamp(offset_s: float) -> str:
    return (TEN + timedelta(seconds=offset_s)).isoformat().replace("+00:00", "Z")


def alb_log(path: Path) -> TrafficTrace:
    lines = [
        f"https {stamp(i / RATE + 1)} app/models/5 203.0.113.7:2817 10.0.0.1:8080 0 0.04 0 200 200 300 80 "
        '"POST https://m.example.com:443/invocations HTTP/1.1" "curl/8" C TLSv1.2 arn:t "Root=1" '
        f'"m.example.com" "arn:c" 0 {stamp(i / RATE)} "forward" "-" "-" "10.0.0.1:8080" "200" "-" "-"'
        for i in range(int(3600 * RATE))
    ]
    path.write_text("\n".join(lines) + "\n")
    return logs.read(path, log_format="alb")


def counts_json(path: Path) -> TrafficTrace:
    points = [{"Timestamp": stamp(60.0 * i), "Sum": 60 * RATE} for i in range(60)]
    path.write_text(json.dumps({"Label": "RequestCount", "Datapoints": points}))
    return logs.read(path, log_format="cloudwatch", spacing="uniform")


def counts_csv(path: Path) -> TrafficTrace:
    rows = [f"{stamp(60.0 * i)},{60 * RATE}" for i in range(60)]
    path.write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    return logs.read(path, log_format="cloudwatch", spacing="uniform")


@pytest.mark.parametrize(
    ("read", "name"), [(alb_log, "a.log"), (counts_json, "c.json"), (counts_csv, "c.csv")]
)
def test_a_log_of_ten_oclock_meets_the_instances_of_ten_oclock(
    read: Callable[[Path], TrafficTrace],
    name: str,
    profile: Profile,
    spec: DeploymentSpec,
    tmp_path: Path,
) -> None:
    trace = read(tmp_path / name)
    files.save(trace, tmp_path / "trace.csv")
    kept = files.load(tmp_path / "trace.csv")
    assert kept.start == TEN
    run = simulate(kept, profile, spec, 1)
    assert run.successes == run.offered == 5400
    assert NO_START not in run.assumptions
    assert "The schedule acts on full minutes of the clock (UTC)." in run.assumptions
    assert run.details["trace"]["start"] == "2026-03-02T10:00:00Z"


def test_without_a_start_the_run_says_that_midnight_was_taken(
    profile: Profile, spec: DeploymentSpec, tmp_path: Path
) -> None:
    trace = replace(alb_log(tmp_path / "a.log"), start=None)
    run = simulate(trace, profile, spec, 1)
    # one instance answers one a second of 1.5, and ten that waited at the end
    assert run.successes / run.offered == pytest.approx(2 / 3, abs=0.01)
    assert NO_START in run.assumptions
    assert "start" not in run.details["trace"]


def test_the_start_matters_to_a_schedule_alone(
    profile: Profile, make_spec: Callable[..., DeploymentSpec]
) -> None:
    trace = arrivals.constant(1.0, 60.0)
    fixed = make_spec(target=SageMakerRealtime("ml.c5.large"), scaling=Fixed())
    without, known = (simulate(t, profile, fixed, 1) for t in (trace, replace(trace, start=TEN)))
    assert NO_START not in without.assumptions
    assert without.assumptions == known.assumptions
    assert without.done_s.tolist() == known.done_s.tolist()


def test_a_trace_that_runs_past_midnight_meets_the_next_days_periods(
    profile: Profile, spec: DeploymentSpec
) -> None:
    trace = replace(arrivals.constant(0.5, 3600.0), start=TEN.replace(hour=23, minute=50))
    policy = Scheduled((Period(0.0, 2), Period(1200.0, 1)))  # two from 0:00 to 0:20
    run = simulate(trace, profile, replace(spec, scaling=policy), 1)
    assert run.capacity.time_s.tolist() == [0.0, 600.0, 720.0, 1800.0]
    assert run.capacity.billed.tolist() == [1.0, 2.0, 2.0, 1.0]


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(micros=st.integers(1, 600 * 10**6))
def test_a_schedule_acts_on_the_full_minute_of_the_clock_wherever_the_trace_starts(
    micros: int, profile: Profile, spec: DeploymentSpec
) -> None:
    trace = TrafficTrace("few", np.array([0.0]), 900.0, start=TEN - timedelta(microseconds=micros))
    run = simulate(trace, profile, spec, 1)
    assert run.capacity.time_s[1] == pytest.approx(micros / 1e6, abs=1e-9)
    assert run.capacity.billed.tolist()[:2] == [1.0, 3.0]


def test_the_runs_of_the_sensitivity_keep_the_clock(profile: Profile, spec: DeploymentSpec) -> None:
    trace = replace(arrivals.constant(RATE, 3600.0), start=TEN)
    question = Question((spec,), trace, (profile,), seeds=(0,))
    for change in (Change(startup_extra_s=60.0), Change(traffic=0.5)):
        (entry,) = question.changed(change, lambda _: None)
        assert entry.runs[0].successes == entry.runs[0].offered
        assert NO_START not in entry.runs[0].assumptions
