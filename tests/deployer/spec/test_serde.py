"""A specification survives the round trip, and a wrong key is named."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import InputError, SpecError
from deployer.spec import rules, serde
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.scaling import Adjustment, Period, QueueBacklog, Scheduled, Step, TargetTracking
from deployer.spec.target import TARGETS, Ec2Fleet, SageMakerAsync, SageMakerRealtime

TOML = """
name = "digits"
bundle = "dist/digits-0123456789ab.tar.gz"
[target]
kind = "sagemaker-realtime"
instance_type = "ml.c7i.large"
[scaling]
kind = "target-tracking"
max_instances = 6
[rollout]
kind = "canary"
percent = 25
[slo]
p99_ms = 100
[tags]
team = "vision"
"""


def base(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "digits",
        "bundle": "b.tar.gz",
        "target": {"kind": "ec2-fleet", "instance_type": "c7i.large"},
    }
    return {**data, **changes}


def test_toml_is_read_with_defaults_filled(tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(TOML)
    spec = serde.load(path)
    assert spec.target == SageMakerRealtime("ml.c7i.large")
    assert spec.scaling == TargetTracking(max_instances=6)
    assert spec.slo == Slo(p99_ms=100.0)
    assert spec.tags == {"team": "vision"}
    assert Path(spec.bundle) == tmp_path / "dist/digits-0123456789ab.tar.gz"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (base(colour="red"), "colour"),
        (
            base(target={"kind": "ec2-fleet", "instance_type": "c7i.large", "vpcs": 1}),
            "target.vpcs",
        ),
        (base(target={"kind": "lambda"}), "target.kind"),
        (base(target={"kind": ["x"]}), "target.kind"),
        (base(target={"kind": "ec2-fleet"}), "target.instance_type"),
        (
            base(target={"kind": "ec2-fleet", "instance_type": "ml.c5.large"}),
            "target.instance_type",
        ),
        (base(target={"kind": "ec2-fleet", "instance_type": "fast"}), "target.instance_type"),
        (
            base(target={"kind": "sagemaker-realtime", "instance_type": "c5.large"}),
            "target.instance_type",
        ),
        (base(target={"kind": "sagemaker-serverless", "memory_mb": 2000}), "target.memory_mb"),
        (base(target={"kind": "local", "port": 70000}), "target.port"),
        (base(target={"kind": "local", "port": "80"}), "target.port"),
        (base(target={"kind": "local", "instances": True}), "target.instances"),
        (base(target="local"), "target"),
        (base(scaling={"kind": "target-tracking", "target": -1}), "scaling.target"),
        (base(scaling={"kind": "target-tracking", "target": float("nan")}), "scaling.target"),
        (
            base(scaling={"kind": "step", "metric": "cpu", "threshold": 1, "adjustments": []}),
            "scaling.adjustments",
        ),
        (
            base(
                scaling={
                    "kind": "step",
                    "metric": "cpu",
                    "threshold": 1,
                    "adjustments": [{"above": 0, "plus": 1}],
                }
            ),
            "scaling.adjustments[0].plus",
        ),
        (base(rollout={"kind": "canary", "percent": 90}), "rollout.percent"),
        (base(slo={"p99_ms": 0}), "slo.p99_ms"),
        (base(slo={"p95_ms": 10}), "slo.p95_ms"),
        (base(tags={"team": 3}), "tags.team"),
        (base(name="-bad-"), "name"),
        (base(name="x" * 42), "name"),
        (base(bundle=""), "bundle"),
        ({"name": "digits"}, "bundle"),
    ],
)
def test_a_wrong_key_is_named(data: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        serde.from_dict(data)
    assert caught.value.key == key
    assert caught.value.message.startswith(f"{key}: ")


def test_what_concerns_several_keys_is_no_matter_of_reading() -> None:
    """It is born, and the rule book names every key that does not go with another."""
    crossed = base(scaling={"kind": "target-tracking", "min_instances": 5, "max_instances": 2})
    backlog = base(scaling={"kind": "queue-backlog", "target": 10})
    for data, key in ((crossed, "scaling.min_instances"), (backlog, "scaling.kind")):
        assert key in [row.key for row in rules.broken(serde.from_dict(data))]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (base(colour="red"), "key"),
        (base(tags={"team": 3}), "key"),
        ({"name": "digits"}, "key"),
        (base(target={"kind": "ec2-fleet"}), "key"),
        (base(target={"kind": "local", "port": 70000}), "value"),
        (base(target={"kind": "lambda"}), "value"),
    ],
)
def test_a_wrong_key_and_a_wrong_value_are_told_apart(data: dict[str, Any], code: str) -> None:
    with pytest.raises(SpecError) as caught:
        serde.from_dict(data)
    assert caught.value.code == code


def test_a_service_mix_up_says_what_to_write() -> None:
    with pytest.raises(SpecError) as caught:
        Ec2Fleet("ml.c7i.large")
    assert caught.value.hint == "write 'c7i.large'"


def test_a_missing_or_broken_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        serde.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(InputError, match="is not toml"):
        serde.load(broken)


SCALING = st.one_of(
    st.builds(
        TargetTracking,
        target=st.none() | st.floats(0.1, 1e5),
        min_instances=st.integers(1, 4),
        max_instances=st.integers(4, 90),
    ),
    st.just(Step("cpu", 70.0, (Adjustment(0.0, 1), Adjustment(10.0, 3)))),
    st.just(Scheduled((Period(0.0, 1), Period(3600.0, 4)))),
)


@given(
    scaling=SCALING, p99=st.none() | st.floats(1, 1e4), tags=st.dictionaries(st.text(), st.text())
)
def test_specifications_survive_the_round_trip(
    scaling: Any, p99: float | None, tags: dict[str, str]
) -> None:
    spec = DeploymentSpec(
        "a", "b.tar.gz", Ec2Fleet("c7i.large"), scaling, slo=Slo(p99_ms=p99), tags=tags
    )
    assert serde.from_dict(serde.to_dict(spec)) == spec
    assert serde.from_dict(tomllib.loads(serde.to_toml(spec))) == spec


def test_every_target_kind_is_registered_under_its_own_name() -> None:
    assert all(kind.kind == name for name, kind in TARGETS.items())


def test_queue_backlog_suits_async() -> None:
    spec = DeploymentSpec("a", "b", SageMakerAsync("ml.c5.large"), QueueBacklog(5.0))
    assert serde.from_dict(serde.to_dict(spec)) == spec
