"""From a wish to the document: what is worked out, and what cannot hold together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.deployments.backend import Asked
from deployer.deployments.ec2 import group_policies
from deployer.deployments.ec2.resolve import resolve
from deployer.deployments.sagemaker import variant_policies as sagemaker
from deployer.errors import SpecError
from deployer.spec import rules, serde
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Image, Place
from inference_code.contract import ServingConfig

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1"


def wish(rest: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
    base = {"kind": "ec2-fleet", "instance_type": "c7i.large", "listener": {"protocol": "http"}}
    return {"name": "digits", "bundle": "d.tar.gz", "target": base | target, **(rest or {})}


def resolved(
    data: dict[str, Any], serving: ServingConfig | None = None, **asked: Any
) -> ResolvedFleet:
    spec = serde.from_dict(data)
    place = Place("123456789012", data["target"].get("region", "us-east-1"), "target.region")
    image = Image("example.com/digits@sha256:" + "7b" * 32, "7b" * 32)
    used = serving or ServingConfig()
    return resolve(spec, place, image, "3f" * 32, used, "ami-1", asked=Asked(**asked), now=NOW)


def example(name: str) -> ResolvedFleet:
    spec = serde.load(ROOT / "examples" / "deploy_ec2" / f"{name}.toml")
    return resolved(serde.to_dict(spec))


def refused(data: dict[str, Any]) -> str:
    """Return the key that the rule book, or else resolving, refuses."""

    def ask() -> None:
        rules.require(serde.from_dict(data))
        resolved(data)

    with pytest.raises(SpecError) as caught:
        ask()
    return caught.value.key


def test_the_drain_adds_up() -> None:
    found = resolved(wish()).drain
    assert (found.notice_s, found.delay_s, found.server_s, found.total_s) == (20, 60, 20, 100)
    assert "no p99 is known" in found.basis
    found = resolved(wish({"slo": {"p99_ms": 2000.0}})).drain
    assert (found.delay_s, "objective" in found.basis) == (8, True)
    found = resolved(wish({"slo": {"p99_ms": 2000.0}}), p99_s=3.0).drain
    assert (found.delay_s, "measured" in found.basis) == (12, True)
    found = resolved(wish(), p99_s=1000.0).drain
    assert found.delay_s == 60, "never more than the server's own limit of a request"


def test_a_server_told_early_goes_on_until_the_load_balancer_has_seen_it() -> None:
    found = resolved(wish())
    words = dict(zip(found.serve[1::2], found.serve[2::2], strict=True))
    assert words == {"--drain-s": "40", "--lame-duck-s": "20", "--emf-s": "60"}


def test_spot_without_time_to_drain_is_refused() -> None:
    slow = ServingConfig(drain_s=40.0)
    facts = rules.Facts(drain_s=slow.drain_s, request_timeout_s=slow.request_timeout_s)
    with pytest.raises(SpecError, match=r"20 \+ 60 \+ 40 = 120 s .* AWS gives 110 s") as caught:
        rules.require(serde.from_dict(wish(spot={})), facts)
    assert caught.value.key == "target.spot"
    assert resolved(wish(spot={}), slow).drain.total_s == 120, "the same sum"
    rules.require(serde.from_dict(wish()), facts)  # on demand there is time


def test_a_measured_p99_never_widens_what_the_objective_allows() -> None:
    """Spot, 40 s of server: 20 + 4 x 1 s + 40 fits; measured 20 s make 20 + 60 + 40."""
    spec = serde.from_dict(wish({"slo": {"p99_ms": 1000.0}}, spot={}))
    facts = rules.Facts(drain_s=40.0, request_timeout_s=60.0)
    rules.require(spec, facts)
    rules.require(spec, replace(facts, p99_s=1.0))
    with pytest.raises(SpecError, match="= 120 s"):
        rules.require(spec, replace(facts, p99_s=20.0))
    unstated = serde.from_dict(wish(spot={}))
    assert [row.id for row in rules.broken(unstated, replace(facts, p99_s=0.1))] == ["drain-budget"]


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        ({"kind": "all-at-once"}, (100, 200, ())),
        ({"kind": "rolling", "batch_percent": 25}, (100, 125, ())),
        ({"kind": "canary", "percent": 25}, (100, 125, (25, 100))),
        ({"kind": "linear", "percent": 40}, (100, 140, (40, 80, 100))),
    ],
)
def test_every_rollout_is_an_instance_refresh_that_adds_before_it_removes(
    rollout: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = resolved(wish({"rollout": rollout}, instances=4)).refresh
    assert (found.least_percent, found.most_percent, found.checkpoints) == expected


def test_a_canary_of_no_instance_is_refused() -> None:
    rollout = {"rollout": {"kind": "canary", "percent": 10}}
    assert refused(wish(rollout, instances=4)) == "rollout.percent"
    assert resolved(wish(rollout, instances=10)).refresh.checkpoints == (10, 100)


def test_a_fleet_without_a_way_in_is_refused() -> None:
    data = wish()
    del data["target"]["listener"]
    assert refused(data) == "target.listener"


@pytest.mark.parametrize(
    ("scaling", "key"),
    [
        ({"kind": "target-tracking"}, "scaling.target"),
        (
            {"kind": "target-tracking", "target": 1.0, "scale_in_cooldown_s": 60.0},
            "scaling.scale_in_cooldown_s",
        ),
    ],
)
def test_scaling_that_ec2_has_not_is_refused(scaling: dict[str, Any], key: str) -> None:
    assert refused(wish({"scaling": scaling})) == key


def test_a_queue_has_no_requests_to_track() -> None:
    data = wish({"scaling": {"kind": "target-tracking", "target": 1.0}}, queue={})
    del data["target"]["listener"]
    assert refused(data) == "scaling.metric"


def test_a_target_follows_from_a_profile() -> None:
    found = resolved(wish({"scaling": {"kind": "target-tracking"}}), derived_target=412.345)
    assert found.scaling is not None
    assert found.scaling.tracking[0].target == 412.3
    assert "derived" in found.scaling.basis


def test_steps_stand_at_the_edges_where_they_begin_to_hold() -> None:
    scaling = example("warm-pool").scaling
    assert scaling is not None
    out, back = scaling.stepping
    assert (out.alarm.threshold, back.alarm.threshold) == (4.0, 2.0)
    assert [(row.lower, row.upper, row.change) for row in out.ranges] == [
        (0.0, 8.0, 1),
        (8.0, None, 3),
    ]
    assert [(row.lower, row.upper, row.change) for row in back.ranges] == [(None, 0.0, -1)]


STEPS = st.dictionaries(st.integers(-50, 50), st.integers(-3, 3), min_size=1, max_size=6)


@settings(deadline=None)
@given(STEPS)
def test_steps_become_the_same_policies_here_and_on_sagemaker(rows: dict[int, int]) -> None:
    adjustments = [{"above": float(edge), "change": rows[edge]} for edge in sorted(rows)]
    policy = {"kind": "step", "metric": "invocations_per_instance", "threshold": 600.0}
    rest = {"scaling": policy | {"adjustments": adjustments}}
    spec = serde.from_dict(wish(rest))
    if rules.broken(spec):
        return
    ours = {
        row.name.rpartition("-")[2]: (row.alarm and row.alarm.threshold, row.ranges)
        for row in group_policies.resolve(spec, "group", "", None).stepping  # type: ignore[union-attr]
    }
    target = {"kind": "sagemaker-realtime", "instance_type": "ml.c5.large"}
    other = sagemaker.resolve(
        serde.from_dict(wish(rest) | {"target": target}), "digits", derived=None, vcpus=2
    )
    assert ours == {
        row.name.rpartition("-")[2]: (row.alarm.threshold, row.ranges)
        for row in other.stepping  # type: ignore[union-attr]
    }
    assert ours


def test_the_digest_is_of_what_is_deployed_not_of_where_it_was_planned() -> None:
    found = resolved(wish())
    moved = replace(found, place=replace(found.place, region_source="AWS_REGION"))
    assert moved.digest == found.digest
    assert replace(found, ami_id="ami-2").digest != found.digest
