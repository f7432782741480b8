"""What a fleet decides, without any process."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deployer.autoscaler import CALM, Observation
from deployer.deployments.local.balanced import canary, control, haproxy, record, rollout
from deployer.deployments.local.balanced.canary import Sight
from deployer.deployments.local.balanced.control import Period
from deployer.errors import RuleBroken
from deployer.spec import rules
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.scaling import (
    Adjustment,
    Fixed,
    QueueBacklog,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.scaling import (
    Period as Hours,
)
from deployer.spec.target import Local


def spec(policy=Fixed(), instances=2, port=8080, **more) -> DeploymentSpec:  # noqa: B008
    return DeploymentSpec("echo", "e.tar.gz", Local(instances, port, balancer=True), policy, **more)


def test_invocations_are_per_server_and_minute_whatever_the_period():
    period = Period(100.0)
    for _ in range(10):
        period.add(30, 8, 2)
    assert period.metric("invocations_per_instance", 105.0) == (300 / (5 / 60) / 2, 2.0)
    assert period.metric("concurrency", 105.0) == (4.0, 2.0)


def test_a_metric_of_no_server_is_missing():
    value, served = Period(0.0).metric("concurrency", 1.0)
    assert math.isnan(value)
    assert served == 0


def test_tracking_is_the_simulators_own_function():
    wish = spec(TargetTracking(target=100.0, max_instances=6))
    seen, state = Observation(250.0, 2.0, 2, 2), CALM
    for at in (60.0, 120.0):
        wanted, state = control.decide(wish, at, seen, state)
        assert wanted == 2
    assert control.decide(wish, 180.0, seen, state)[0] == 5


def test_steps_and_hours_are_followed():
    steps = Step("concurrency", 2.0, (Adjustment(0.0, 1),), max_instances=3)
    state = CALM
    for at in (10.0, 20.0, 30.0):
        wanted, state = control.decide(spec(steps), at, Observation(3.0, 1.0, 1, 1), state)
    assert wanted == 2
    hours = Scheduled((Hours(0, 1), Hours(3600, 3)))
    assert control.at_start(spec(hours), None, 7200.0) == 3
    assert control.most(spec(hours)) == 3


def test_a_fleet_that_has_scaled_keeps_its_size_within_the_bounds():
    policy = TargetTracking(target=1.0, min_instances=2, max_instances=4)
    assert control.at_start(spec(policy, 1), None, 0.0) == 2
    assert control.at_start(spec(policy, 1), 3, 0.0) == 3
    assert control.at_start(spec(policy, 1), 9, 0.0) == 4
    assert control.at_start(spec(instances=3), 9, 0.0) == 3


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (spec(QueueBacklog(3.0)), "has no queue"),
        (spec(TargetTracking(metric="cpu", target=50.0)), "'cpu' is not measured"),
        (spec(rollout=Linear()), "'linear' is not there yet"),
    ],
)
def test_what_a_local_fleet_cannot_do_is_refused_by_name(wish, words):
    with pytest.raises(RuleBroken, match=words):
        rules.require(wish)


def test_a_target_must_be_given_and_ports_must_exist():
    with pytest.raises(RuleBroken, match=r"scaling.target: is missing"):
        rules.require(spec(TargetTracking()))
    with pytest.raises(RuleBroken, match=r"target.port: .* need ports to 65539"):
        rules.require(spec(port=65535))
    assert record.slots(spec(port=8080)) == (8081, 8082, 8083, 8084)


@pytest.mark.parametrize(
    ("kind", "old", "wanted", "sizes"),
    [
        (AllAtOnce(), 4, 4, (4,)),
        (Rolling(batch_percent=50), 4, 4, (2, 2)),
        (Rolling(batch_percent=30), 4, 4, (1, 1, 1, 1)),
        (Rolling(batch_percent=40), 5, 5, (2, 2, 1)),
        (Canary(percent=10), 4, 4, (1, 3)),
        (Canary(percent=50), 4, 4, (2, 2)),
        (Canary(percent=10), 0, 4, (4,)),
        (Canary(percent=10), 1, 1, (1,)),
    ],
)
def test_batches_add_up(kind, old, wanted, sizes):
    assert rollout.batches(kind, old, wanted) == sizes


def test_a_canary_gets_its_share_by_weight():
    weight = rollout.canary_weight(10, 4, 1)
    assert weight / (400 + weight) == pytest.approx(0.1, abs=0.005)


METRICS = """\
inference_requests_total{code="200"} 190
inference_requests_total{code="503"} 10
inference_request_seconds_bucket{le="0.025"} 100
inference_request_seconds_bucket{le="0.05"} 180
inference_request_seconds_bucket{le="+Inf"} 200
"""


def test_a_version_is_judged_by_errors_and_by_latencies_that_are_certainly_too_long():
    seen = Sight.parse(METRICS)
    assert (seen.answers, seen.errors) == (200, 10)
    assert seen.slower_than(0.02) == 100  # those above 25 ms: some of the others may be, too
    assert seen.slower_than(0.05) == 20
    assert "5.0% of its 200 answers are errors" in canary.complaint(seen, AllAtOnce(), Slo())
    lenient = AllAtOnce(max_error_percent=10)
    assert "20 of its 200 answers took longer" in canary.complaint(seen, lenient, Slo(p99_ms=50))
    assert canary.complaint(seen, lenient, Slo()) == ""
    assert canary.complaint(seen, AllAtOnce(generated_alarms=False), Slo(p99_ms=1)) == ""
    assert seen.plus(seen).answers == 400


def test_too_few_answers_are_no_verdict():
    few = Sight(canary.MIN_REQUESTS - 1, canary.MIN_REQUESTS - 1, ())
    assert canary.complaint(few, AllAtOnce(), Slo()) == ""


def test_nothing_is_sent_twice_by_the_balancer():
    text = haproxy.config(8080)
    assert "retries 0" in text
    assert "no option redispatch" in text
    assert "bind 127.0.0.1:8080" in text


def test_without_haproxy_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(haproxy, "PLACES", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="haproxy is not installed") as caught:
        haproxy.find()
    assert "apt-get install haproxy" in (caught.value.hint or "")
