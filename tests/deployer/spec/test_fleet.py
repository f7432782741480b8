"""A fleet that cannot be is refused, where it is born or by the rule book, and the key is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import NotSupported, SpecError
from deployer.spec import rules, serde

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "deploy_ec2").glob("*.toml"))
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1"


def fleet(**target: Any) -> dict[str, Any]:
    rest = {"kind": "ec2-fleet", "instance_type": "c7i.large"} | target
    return {"name": "digits", "bundle": "d.tar.gz", "target": rest}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_survives_the_round_trip(path: Path) -> None:
    spec = serde.load(path)
    assert serde.from_dict(serde.to_dict(spec)) == spec


def ask(data: dict[str, Any]) -> None:
    """Read a specification and ask the rule book, as every verb does."""
    rules.require(serde.from_dict(data))


def test_a_fleet_says_no_more_than_it_was_told() -> None:
    spec = serde.from_dict(fleet())
    assert serde.to_dict(spec)["target"] == {
        "kind": "ec2-fleet",
        "instance_type": "c7i.large",
        "region": "us-east-1",
        "instances": 1,
        "volume_gb": 20,
        "alb_ipv4": 2,
        "startup_s": 120.0,
    }


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"listener": {}}, "target.listener.certificate_arn"),
    (
        {"listener": {"protocol": "http", "certificate_arn": CERTIFICATE}},
        "target.listener.certificate_arn",
    ),
    ({"listener": {"protocol": "ftp"}}, "target.listener.protocol"),
    (
        {"listener": {"protocol": "http", "allow_cidrs": ["10.0.0.1/8"]}},
        "target.listener.allow_cidrs",
    ),
    ({"listener": {"protocol": "http", "allow_cidrs": ["::/0"]}}, "target.listener.allow_cidrs"),
    ({"listener": {"protocol": "http", "idle_timeout_s": 75}}, "target.listener.idle_timeout_s"),
    ({"warm_pool": {}, "spot": {}}, "target.warm_pool"),
    ({"warm_pool": {}, "types": [{"instance_type": "c7i.large"}]}, "target.warm_pool"),
    ({"types": [{"instance_type": "c6i.large"}]}, "target.types"),
    (
        {"types": [{"instance_type": "c7i.large"}, {"instance_type": "c7g.large"}]},
        "target.types[1].instance_type",
    ),
    ({"types": [{"instance_type": "c7i.large"}] * 2}, "target.types"),
    ({"types": [{"instance_type": "ml.c7i.large"}]}, "target.types.instance_type"),
    ({"spot": {"on_demand_percent": 101}}, "target.spot.on_demand_percent"),
    ({"queue": {}, "listener": {"protocol": "http"}}, "target.queue"),
    ({"queue": {"max_receives": 0}}, "target.queue.max_receives"),
    ({"network": {"egress": "vpn"}}, "target.network.egress"),
    ({"network": {"vpc_id": "vpc-0a1b2c3d"}}, "target.network.subnets"),
    (
        {"network": {"vpc_id": "vpc-0a1b2c3d", "subnets": ["subnet-0a1b2c3d"]}},
        "target.network.subnets",
    ),
    ({"network": {"vpc_id": "vpc-nope", "subnets": []}}, "target.network.vpc_id"),
    ({"network": {"cidr": "10.0.0.0/8"}}, "target.network.cidr"),
    ({"network": {"nat_gateways": 3}}, "target.network.nat_gateways"),
    ({"health": {"interval_s": 5, "timeout_s": 5}}, "target.health.timeout_s"),
    ({"ami_id": "latest"}, "target.ami_id"),
    ({"log_days": 2}, "target.log_days"),
    ({"instances": 0}, "target.instances"),
    ({"bastion": True}, "target.bastion"),
]


@pytest.mark.parametrize(("target", "key"), REFUSED)
def test_what_cannot_be_is_refused_by_its_key(target: dict[str, Any], key: str) -> None:
    entry = {} if {"listener", "queue"} & target.keys() else {"listener": {"protocol": "http"}}
    with pytest.raises(SpecError) as caught:
        ask(fleet(**entry, **target))
    assert caught.value.key == key


def test_least_above_most_is_refused_by_its_key() -> None:
    scaling = {"kind": "target-tracking", "min_instances": 5, "max_instances": 2, "target": 1.0}
    with pytest.raises(SpecError) as caught:
        ask(fleet(listener={"protocol": "http"}) | {"scaling": scaling})
    assert caught.value.key == "scaling.min_instances"


@pytest.mark.parametrize("key", ["waf", "mirror", "ab_test", "blue_green", "gpu", "predictive"])
def test_what_comes_later_is_refused_by_name(key: str) -> None:
    with pytest.raises(NotSupported, match=rf"target\.{key}: .* not there yet"):
        serde.from_dict(fleet(**{key: {}}))


def test_kinds_that_come_later_are_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="blue/green"):
        serde.from_dict(fleet() | {"rollout": {"kind": "blue-green"}})
    with pytest.raises(NotSupported, match="predictive"):
        serde.from_dict(fleet() | {"scaling": {"kind": "predictive"}})


def test_a_backlog_needs_a_queue() -> None:
    with pytest.raises(SpecError) as caught:
        ask(
            fleet(listener={"protocol": "http"})
            | {"scaling": {"kind": "queue-backlog", "target": 5.0}}
        )
    assert caught.value.key == "scaling.kind"
