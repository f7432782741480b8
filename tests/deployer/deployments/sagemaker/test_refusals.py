"""What cannot work is one clear error before anything is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

import deployer
from deployer.aws.session import connect
from deployer.deployments.sagemaker import verbs
from deployer.errors import (
    DeployerError,
    EnvironmentProblem,
    InputError,
    NotSupported,
    RuleBroken,
    SpecError,
)
from deployer.pricing import snapshot
from deployer.spec import serde
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.scaling import Fixed, QueueBacklog, TargetTracking
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

FIXED = {"scaling": Fixed(), "rollout": AllAtOnce()}


def refused(cloud: Any, spec: Any, error: type[DeployerError], words: str, **asked: Any) -> None:
    with pytest.raises(error, match=words):
        cloud.plan(spec, **asked)
    assert cloud.fake.changing == []


@pytest.mark.parametrize("metric", ["invocations_per_instance", "concurrency"])
def test_a_metric_that_async_does_not_have(cloud: Any, metric: str) -> None:
    track = TargetTracking(metric=metric, target=5.0)
    spec = cloud.spec(target=SageMakerAsync("ml.c5.large"), scaling=track, rollout=AllAtOnce())
    refused(cloud, spec, SpecError, "scaling.metric: .* has no meaning for a sagemaker-async")


def test_a_backlog_where_there_is_no_queue(cloud: Any) -> None:
    spec = cloud.spec(scaling=QueueBacklog(target=5.0))
    refused(cloud, spec, RuleBroken, "queue-backlog has no meaning for a sagemaker-realtime")


def test_provisioned_concurrency_on_instances(cloud: Any) -> None:
    spec = cloud.spec(scaling=TargetTracking(metric="provisioned_concurrency", target=0.5))
    refused(cloud, spec, RuleBroken, "provisioned_concurrency has no meaning")


def test_a_fleet_policy_on_serverless(cloud: Any) -> None:
    refused(cloud, cloud.spec(target=SageMakerServerless()), RuleBroken, "scales by itself")


def test_an_instance_type_without_a_price(cloud: Any) -> None:
    spec = cloud.spec(target=SageMakerRealtime("ml.u9.large"), **FIXED)
    refused(cloud, spec, SpecError, "target.instance_type: .*ml.u9.large")


def test_an_instance_type_that_the_quota_does_not_allow(cloud: Any) -> None:
    cloud.fake.behaviour.quotas = {"ml.c5.large for endpoint usage": 3.0}
    refused(cloud, cloud.spec(), DeployerError, "the quota .* is 3; this deployment may need 4")


@pytest.mark.parametrize("rollout", [Canary(10), Linear(10), Rolling(10)], ids=lambda r: r.kind)
def test_a_part_of_one_instance(cloud: Any, rollout: Any) -> None:
    spec = cloud.spec(target=SageMakerRealtime("ml.c5.large"), scaling=Fixed(), rollout=rollout)
    refused(cloud, spec, SpecError, "cannot be cut from a fleet of 1")


def test_a_payload_over_the_limit_of_the_mode(cloud: Any, tmp_path: Path) -> None:
    bundle = sample_of(tmp_path, 5 * 2**20)
    serverless = cloud.spec(target=SageMakerServerless(), bundle=bundle, **FIXED)
    refused(cloud, serverless, RuleBroken, "a sagemaker-serverless target takes 4,194,304")
    batch = cloud.spec(
        target=SageMakerBatch("ml.c5.large", max_payload_mb=4), bundle=bundle, **FIXED
    )
    refused(cloud, batch, RuleBroken, "a sagemaker-batch target takes 4,194,304")


def sample_of(folder: Path, size: int) -> str:
    """Package a bundle whose sample request has this many bytes."""
    (folder / "samples").mkdir()
    (folder / "samples" / "one.json").write_text('{"x": "' + "y" * size + '"}')
    (folder / "weights.txt").write_text("1")
    handler = folder / "handler.py"
    handler.write_text(
        "from inference_code.handler import Handler as Base\n\n\nclass Handler(Base):\n"
        "    def load(self, context): ...\n\n    def predict(self, items):\n        return items\n"
    )
    made = deployer.package(
        folder / "weights.txt", folder / "dist", name="big", handler=handler,
        samples=folder / "samples",
    )  # fmt: skip
    return str(made.path)


@pytest.mark.parametrize(
    "call", ["Query.GetCallerIdentity", "SageMaker.ListModels", "SageMaker.DescribeEndpoint",
             "Query.GetRole", "servicequotas.ListServiceQuotas"],
)  # fmt: skip
def test_a_page_in_place_of_an_answer(cloud: Any, call: str) -> None:
    """What a proxy puts in AWS's place is not believed to say that nothing is there."""
    cloud.plan(cloud.spec())
    at = next(n for n, name in enumerate(cloud.fake.calls, 1) if name.startswith(call))
    cloud.fake.inject(at, "garbled")
    with pytest.raises(EnvironmentProblem, match="AWS's answer could not be read"):
        cloud.plan(cloud.spec())
    assert cloud.fake.changing == []


GUARDS: dict[str, Any] = {
    "bake_s": 60.0,
    "generated_alarms": False,
    "max_error_percent": 5.0,
    "alarms": ("mine",),
    "retain_capacity": False,
    "timeout_s": 900,
}


@pytest.mark.parametrize("key", GUARDS)
@pytest.mark.parametrize(
    "target", [SageMakerServerless(), SageMakerBatch("ml.c5.large")], ids=lambda t: t.kind
)
def test_a_key_of_a_rollout_that_the_mode_has_no_use_for(cloud: Any, target: Any, key: str) -> None:
    spec = cloud.spec(target=target, scaling=Fixed(), rollout=AllAtOnce(**{key: GUARDS[key]}))
    refused(cloud, spec, SpecError, f"rollout.{key}: needs a fleet of instances")


def test_a_share_of_errors_on_async(cloud: Any) -> None:
    rollout = AllAtOnce(max_error_percent=5.0)
    spec = cloud.spec(target=SageMakerAsync("ml.c5.large"), scaling=Fixed(), rollout=rollout)
    refused(cloud, spec, SpecError, "rollout.max_error_percent: asynchronous failures are counted")


def test_expired_credentials(cloud: Any) -> None:
    cloud.fake.behaviour.expired = True
    refused(cloud, cloud.spec(), EnvironmentProblem, "ExpiredToken")


def test_no_credentials(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(EnvironmentProblem, match="Unable to locate credentials"):
        verbs.plan(connect(), cloud.spec(), snapshot.load())
    assert cloud.fake.calls == []


def test_no_region(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(EnvironmentProblem, match="no AWS region is named"):
        deployer.reap()


def test_two_regions(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(EnvironmentProblem, match=r"us-east-1 \(target.region\) and eu-west-1"):
        deployer.plan(cloud.spec())


def test_two_profiles(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "one")
    monkeypatch.setenv("AWS_DEFAULT_PROFILE", "two")
    with pytest.raises(EnvironmentProblem, match=r"two profiles are named: one \(AWS_PROFILE\)"):
        deployer.plan(cloud.spec())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("variants", []),
        ("shadow", {}),
        ("inference_components", []),
        ("instance_pools", []),
    ],
)
def test_what_a_later_version_will_have_is_refused_by_name(
    cloud: Any, key: str, value: Any
) -> None:
    document = serde.to_dict(cloud.spec())
    document["target"][key] = value
    with pytest.raises(NotSupported, match=rf"target\.{key}: .* not there yet"):
        serde.from_dict(document)


def test_no_image(cloud: Any) -> None:
    refused(cloud, cloud.spec(name="other"), InputError, "no image in the ECR repository")


def test_an_image_for_another_processor(cloud: Any) -> None:
    spec = cloud.spec(target=SageMakerRealtime("ml.c7g.large"), **FIXED)
    refused(cloud, spec, DeployerError, "exec format error")


def test_a_role_that_is_not_there(cloud: Any) -> None:
    arn = "arn:aws:iam::123456789012:role/nobody"
    spec = cloud.spec(target=SageMakerRealtime("ml.c5.large", role_arn=arn), **FIXED)
    refused(cloud, spec, InputError, "there is no role")


def test_a_role_that_may_not_be_passed(cloud: Any) -> None:
    cloud.fake.behaviour.denied = ("iam:PassRole",)
    refused(cloud, cloud.spec(), DeployerError, "you may not iam:PassRole")


def test_an_alarm_of_yours_that_is_missing_or_fires(cloud: Any) -> None:
    spec = cloud.spec(rollout=Canary(50, alarms=("mine",)))
    refused(cloud, spec, SpecError, "there is no alarm 'mine'")
    cloud.alarm("mine")
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="mine", StateValue="ALARM", StateReason="test"
    )
    cloud.fake.calls.clear()
    refused(cloud, spec, DeployerError, "alarm 'mine' fires now")


def test_a_target_that_nothing_gives_and_one_that_is_derived(cloud: Any) -> None:
    spec = cloud.spec(scaling=TargetTracking(min_instances=2))
    refused(cloud, spec, SpecError, "scaling.target: is not said")
    plan = cloud.plan(spec, derived_target=321.0)
    track = next(step for step in plan.steps if step.kind == "scaling policy")
    assert "near 321 (derived from the profile and the objective)" in track.note


def test_a_resolved_document_of_another_account(cloud: Any) -> None:
    resolved = cloud.plan(cloud.spec()).resolved
    other = replace(resolved, place=replace(resolved.place, account="999999999999"))
    with pytest.raises(InputError, match="resolved for account 999999999999"):
        verbs.replan(cloud.aws(), other, snapshot.load())
