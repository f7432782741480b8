"""Deploy, deploy again, update, roll back, destroy: against moto over HTTP with real boto3."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import boto3
import pytest

from deployer.deployments.sagemaker import rollback, status, verbs
from deployer.errors import ConditionFailed, DeployerError, InputError, PartialFailure
from deployer.pricing import snapshot
from deployer.spec import resolved as documents
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.scaling import Fixed, TargetTracking
from deployer.spec.target import SageMakerRealtime

ROLLOUTS = [AllAtOnce(bake_s=60.0), Canary(50, 60.0), Linear(50, 60.0), Rolling(50, 60.0)]


def endpoint(name: str = "digits") -> dict[str, Any]:
    return dict(boto3.client("sagemaker").describe_endpoint(EndpointName=name))


def tags(name: str = "digits") -> dict[str, str]:
    rows = boto3.client("sagemaker").list_tags(ResourceArn=endpoint(name)["EndpointArn"])["Tags"]
    return {row["Key"]: row["Value"] for row in rows}


def sent(cloud: Any, operation: str) -> list[dict[str, Any]]:
    return [request for call, request in cloud.fake.requests if call == f"SageMaker.{operation}"]


def test_a_plan_makes_no_call_that_changes_anything(cloud: Any) -> None:
    plan = cloud.plan(cloud.spec())
    assert plan.changes
    assert cloud.fake.changing == []


def test_deploying_makes_everything_and_again_nothing(cloud: Any) -> None:
    done = cloud.deploy(cloud.spec())
    assert endpoint()["EndpointStatus"] == "InService"
    assert endpoint()["EndpointConfigName"] == done.config
    assert any("Creating" in line for line in cloud.said), "progress tells states"
    cloud.fake.calls.clear()
    assert cloud.plan(cloud.spec()).changes == ()
    assert cloud.deploy(cloud.spec()).changed == 0
    assert cloud.fake.changing == []


def test_what_was_planned_is_deployed_word_for_word(cloud: Any) -> None:
    saved = json.loads(json.dumps(cloud.plan(cloud.spec()).resolved.to_json()))
    document = documents.from_json(saved)
    cloud.apply(verbs.replan(cloud.aws(), document, snapshot.load()))
    assert endpoint()["EndpointConfigName"] == document.config_name
    assert cloud.plan(cloud.spec()).changes == ()


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=lambda rollout: rollout.kind)
def test_each_rollout_updates_and_is_verified(cloud: Any, rollout: Any) -> None:
    first = cloud.deploy(cloud.spec(rollout=rollout))
    done = cloud.deploy(cloud.spec("2", rollout=rollout))
    assert endpoint()["EndpointConfigName"] == done.config != first.config
    request = sent(cloud, "UpdateEndpoint")[-1]
    assert request["RetainAllVariantProperties"] is True
    alarms = request["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert len(alarms) == 3
    assert tags()["deployer:previous"] == first.config
    assert tags()["deployer:digest"] == done.bundle_digest[:12]
    assert f"endpoint digits runs {done.config} (verified)" in cloud.said
    assert cloud.plan(cloud.spec("2", rollout=rollout)).changes == ()


def test_a_fleet_that_has_scaled_keeps_its_size(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    boto3.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName="digits", DesiredWeightsAndCapacities=wanted
    )
    cloud.deploy(cloud.spec("2"))
    assert endpoint()["ProductionVariants"][0]["DesiredInstanceCount"] == 4


def test_a_fixed_fleet_takes_the_new_count(cloud: Any) -> None:
    fixed = {"scaling": Fixed(), "rollout": AllAtOnce()}
    cloud.deploy(cloud.spec(**fixed))
    cloud.deploy(cloud.spec(target=SageMakerRealtime("ml.c5.large", instances=3), **fixed))
    assert endpoint()["ProductionVariants"][0]["DesiredInstanceCount"] == 3


def test_a_silent_rollback_is_told_and_cleaned_up(cloud: Any) -> None:
    first = cloud.deploy(cloud.spec())
    wanted = cloud.plan(cloud.spec("2")).resolved
    cloud.fake.behaviour.broken[wanted.config_name] = ""  # SageMaker gives no reason
    with pytest.raises(
        ConditionFailed, match=f"rolled back: it serves with {first.config}"
    ) as seen:
        cloud.deploy(cloud.spec("2"))
    assert seen.value.exit_code == 1
    assert endpoint()["EndpointStatus"] == "InService"
    configs = boto3.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]
    assert [row["EndpointConfigName"] for row in configs] == [first.config]
    assert cloud.plan(cloud.spec()).changes == (), "what ran before is whole"


def test_the_alarm_that_fired_is_named(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    wanted = cloud.plan(cloud.spec("2")).resolved
    cloud.fake.behaviour.broken[wanted.config_name] = "rolled back"
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="deployer/digits/5xx", StateValue="ALARM", StateReason="test"
    )
    with pytest.raises(ConditionFailed, match="alarm deployer/digits/5xx fired"):
        cloud.deploy(cloud.spec("2"))


def test_an_endpoint_that_does_not_start_is_explained_and_removed(cloud: Any) -> None:
    wanted = cloud.plan(cloud.spec()).resolved
    cloud.fake.behaviour.broken[wanted.config_name] = "The container did not pass the ping check."
    cloud.log("ModuleNotFoundError: No module named 'pandas'")
    with pytest.raises(DeployerError, match="could not import 'pandas'") as seen:
        cloud.deploy(cloud.spec())
    assert "requirements.txt" in (seen.value.hint or "")
    assert any("log: ModuleNotFoundError" in line for line in cloud.said)
    assert verbs.logs(cloud.aws(), "digits", lines=5)[0].lines, "its log is kept to be read"
    group = "log group /aws/sagemaker/Endpoints/digits"
    assert cloud.remaining() == (group,)
    assert cloud.destroy() == (group,)
    assert cloud.everything() == []


def test_rollback_goes_back_and_forth(cloud: Any) -> None:
    first = cloud.deploy(cloud.spec())
    second = cloud.deploy(cloud.spec("2"))
    change = cloud.rollback()
    assert (change.left, change.runs) == (second.config, first.config)
    assert endpoint()["EndpointConfigName"] == first.config
    assert tags()["deployer:digest"] == first.bundle_digest[:12]
    assert cloud.rollback().runs == second.config


def test_what_a_rollback_needs_is_kept_and_nothing_older(cloud: Any) -> None:
    first, second = cloud.deploy(cloud.spec("1")), cloud.deploy(cloud.spec("2"))
    third = cloud.deploy(cloud.spec("3"))
    cloud.deploy(cloud.spec("3"))
    configs = boto3.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]
    assert {row["EndpointConfigName"] for row in configs} == {second.config, third.config}
    listing = " ".join(cloud.remaining())
    assert first.bundle_digest not in listing
    assert second.bundle_digest in listing


def test_a_rollback_that_is_cut_off_still_knows_both_ways(cloud: Any) -> None:
    first, second = cloud.deploy(cloud.spec()), cloud.deploy(cloud.spec("2"))
    cloud.fake.calls.clear()
    cloud.rollback()
    calls = cloud.fake.calls
    asked, told = calls.index("SageMaker.UpdateEndpoint"), len(calls)
    cloud.rollback()
    for at, runs in ((asked + 1, second), (told, first)):  # not carried out; all but the last tags
        cloud.fake.inject(at, "cut")
        with pytest.raises(DeployerError):
            cloud.rollback()
        assert endpoint()["EndpointConfigName"] == runs.config
        if runs is second:
            assert cloud.rollback().runs == first.config
            assert cloud.rollback().runs == second.config
    assert cloud.rollback().runs == second.config


def test_the_way_back_outlives_an_update_that_does_not_hold(cloud: Any) -> None:
    first, second = cloud.deploy(cloud.spec()), cloud.deploy(cloud.spec("2"))
    wanted = cloud.plan(cloud.spec("3")).resolved
    cloud.fake.behaviour.broken[wanted.config_name] = "rolled back"
    with pytest.raises(ConditionFailed):
        cloud.deploy(cloud.spec("3"))
    assert endpoint()["EndpointConfigName"] == second.config
    assert cloud.rollback().runs == first.config


def test_the_way_back_is_that_of_the_last_rollout(cloud: Any) -> None:
    for version in "12":
        cloud.deploy(cloud.spec(version, rollout=Linear(50, 120.0)))
    cloud.rollback()
    there, back = (request["DeploymentConfig"] for request in sent(cloud, "UpdateEndpoint"))
    assert back == there
    assert back["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "LINEAR"
    assert any("linear, as the last rollout, watched by 3 alarms" in line for line in cloud.said)
    assert any("no request was seen on the way back" in line for line in cloud.said)


def test_while_an_alarm_fires_all_goes_back_at_once(cloud: Any) -> None:
    for version in "12":
        cloud.deploy(cloud.spec(version))
    name = "deployer/digits/p99"
    boto3.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="t")
    cloud.rollback()
    back = sent(cloud, "UpdateEndpoint")[-1]["DeploymentConfig"]
    assert back == rollback.AT_ONCE, "an alarm that fires would end it"
    assert any(f"all at once, for alarm {name} fires now" in line for line in cloud.said)


def test_a_way_back_that_does_not_hold_exits_1(cloud: Any) -> None:
    first = cloud.deploy(cloud.spec())
    cloud.deploy(cloud.spec("2"))
    cloud.fake.behaviour.broken[first.config] = "rolled back"
    with pytest.raises(ConditionFailed, match=f"does not run {first.config}") as seen:
        cloud.rollback()
    assert seen.value.exit_code == 1


def test_there_must_be_something_to_roll_back_to(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    with pytest.raises(InputError, match="no config before"):
        cloud.rollback()


def test_a_change_of_code_moves_no_weights(cloud: Any) -> None:
    files = SageMakerRealtime("ml.c5.large", instances=2, model_data="files")
    cloud.deploy(cloud.spec(target=files))
    before = len(cloud.fake.calls)
    other = cloud.bundle("1", cloud.handler + "\n# a comment\n")
    cloud.deploy(cloud.spec(target=files, bundle=str(other)))
    lines = [line for line in cloud.said if "copied within S3" in line]
    assert any(line.startswith("weights.txt:") for line in lines)
    assert not any(line.startswith("code/inference.py") for line in lines)
    written = [call for call in cloud.fake.calls[before:] if call.startswith("S3.PUT")]
    assert any("code/inference.py" in call for call in written)
    assert cloud.fake.uploads.get("weights.txt", 0) == 1, "the weights went up once"


def test_a_large_bundle_goes_up_in_parts(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1024)  # else 5 MB, as in S3
    plan = cloud.plan(cloud.spec())
    verbs.apply(cloud.aws(), plan, polling=cloud.polling(), say=cloud.said.append, part_bytes=2**14)
    assert cloud.plan(cloud.spec()).changes == ()
    assert any(re.fullmatch(r"part 2 of \d+ sent", line) for line in cloud.said)


def test_status_tells_variants_alarms_and_spend(cloud: Any) -> None:
    done = cloud.deploy(cloud.spec())
    found = status.status(cloud.aws(), "digits", snapshot.load())
    assert found.healthy
    assert (found.config, found.bounds) == (done.config, (2, 4))
    assert [(v.current, v.desired) for v in found.variants] == [(2, 2)]
    assert len(found.alarms) == 3
    assert found.spent_usd is not None
    assert found.spent_basis.startswith("assumed")
    name = "deployer/digits/p99"
    boto3.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="t")
    assert not status.status(cloud.aws(), "digits", snapshot.load()).healthy


def test_a_bake_without_requests_says_that_it_proves_nothing(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    assert cloud.deploy(cloud.spec("2")).warnings == (
        "no request was seen during the rollout: its alarms had nothing to judge",
    )


def test_destroy_goes_in_order_and_leaves_nothing(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    cloud.deploy(cloud.spec("2"))
    assert cloud.remaining()
    removed = cloud.destroy()
    words = [item.split()[0] for item in removed]
    assert words[0] == "scaling"
    assert words.index("endpoint") < words.index("model") < words.index("role")
    assert cloud.remaining() == ()
    assert cloud.everything() == [], "not even a bucket, which was empty"
    assert cloud.destroy() == (), "and again"


def test_what_is_not_ours_is_not_touched(cloud: Any) -> None:
    client = boto3.client("sagemaker")
    client.create_model(
        ModelName="digits-0123456789ab",
        PrimaryContainer={"Image": "x", "ModelDataUrl": "s3://other/model.tar.gz"},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/other",
    )
    cloud.deploy(cloud.spec())
    s3 = boto3.client("s3")
    bucket = "deployer-123456789012-us-east-1"
    s3.put_object(Bucket=bucket, Key="deployer/digits-two/bundles/x", Body=b"x")
    cloud.destroy()
    assert [m["ModelName"] for m in client.list_models()["Models"]] == ["digits-0123456789ab"]
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["deployer/digits-two/bundles/x"]


def test_an_endpoint_of_somebody_else_is_refused(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    client = boto3.client("sagemaker")
    client.delete_tags(ResourceArn=endpoint()["EndpointArn"], TagKeys=["deployer:name"])
    for act in (lambda: cloud.plan(cloud.spec()), cloud.destroy):
        with pytest.raises(DeployerError, match="deployer did not make it"):
            act()
    assert endpoint()["EndpointStatus"] == "InService"


STACK = {"Key": "aws:cloudformation:stack-name", "Value": "deployer-digits"}


def test_what_a_stack_made_is_left_to_the_stack(cloud: Any) -> None:
    first = cloud.deploy(cloud.spec())
    cloud.deploy(cloud.spec("2"))
    boto3.client("sagemaker").add_tags(ResourceArn=endpoint()["EndpointArn"], Tags=[STACK])
    plan = cloud.plan(cloud.spec("3"))
    routes = [check for check in plan.checks if check.subject == "route"]
    assert [(check.outcome, "stack deployer-digits" in check.seen) for check in routes] == [
        ("note", True)
    ]
    cloud.fake.calls.clear()
    for act in (lambda: cloud.apply(plan), cloud.destroy, cloud.rollback):
        with pytest.raises(InputError, match="made by the CloudFormation stack 'deployer-digits'"):
            act()
    assert cloud.fake.changing == []
    assert tags()["deployer:previous"] == first.config


def test_reaping_leaves_a_stack_and_goes_on(cloud: Any) -> None:
    cloud.apply(cloud.plan(cloud.spec(), ttl_s=-1.0))
    boto3.client("sagemaker").add_tags(ResourceArn=endpoint()["EndpointArn"], Tags=[STACK])
    cloud.image("other")
    cloud.apply(cloud.plan(cloud.spec(name="other"), ttl_s=-1.0))
    with pytest.raises(PartialFailure) as seen:
        cloud.reap()
    assert ["stack 'deployer-digits'" in line for line in seen.value.remaining] == [True]
    assert cloud.remaining("other") == ()


def test_the_role_or_the_model_alone_tells_of_a_stack(cloud: Any) -> None:
    boto3.client("iam").create_role(
        RoleName="deployer-digits-us-east-1",
        AssumeRolePolicyDocument="{}",
        Tags=[STACK, {"Key": "deployer:name", "Value": "digits"}],
    )
    with pytest.raises(InputError, match="CloudFormation stack"):
        cloud.deploy(cloud.spec())
    with pytest.raises(InputError, match="CloudFormation stack"):
        cloud.destroy()


def test_changed_scaling_and_tags_move_no_endpoint(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    spec = cloud.spec(scaling=TargetTracking(target=300.0, min_instances=2, max_instances=6))
    plan = cloud.plan(replace(spec, tags={"team": "audio"}))
    assert {step.kind for step in plan.changes} == {"scaling target", "scaling policy", "tags"}
    cloud.apply(plan)
    assert tags()["team"] == "audio"
    assert sent(cloud, "UpdateEndpoint") == []


def test_time_to_live_is_a_tag_that_a_later_deployment_renews_or_removes(cloud: Any) -> None:
    spec = cloud.spec()
    cloud.apply(cloud.plan(spec, ttl_s=3600.0))
    assert "deployer:expires" in tags()
    assert [step.kind for step in cloud.plan(spec).changes] == ["tags"]
    cloud.deploy(spec)
    assert "deployer:expires" not in tags()


def test_an_endpoint_whose_time_is_over_is_reaped_from_anywhere(cloud: Any) -> None:
    cloud.apply(cloud.plan(cloud.spec(), ttl_s=-1.0))
    cloud.image("other")
    cloud.apply(cloud.plan(cloud.spec(name="other"), ttl_s=3600.0))
    assert [item.name for item in cloud.reap()] == ["digits"]
    assert cloud.remaining() == ()
    assert endpoint("other")["EndpointStatus"] == "InService"


def test_the_log_of_a_start_that_failed_is_reaped(cloud: Any) -> None:
    plan = cloud.plan(cloud.spec(), ttl_s=-1.0)
    cloud.fake.behaviour.broken[plan.resolved.config_name] = "no"
    cloud.log("hello")
    with pytest.raises(DeployerError, match="did not start"):
        cloud.apply(plan)
    assert [item.removed for item in cloud.reap()] == [
        ("log group /aws/sagemaker/Endpoints/digits",)
    ]
    assert cloud.everything() == []


@pytest.mark.parametrize("last", ["role", "bundle"])
def test_a_deployment_that_was_cut_off_early_is_reaped(cloud: Any, last: str) -> None:
    given = {} if last == "role" else {"role_arn": "arn:aws:iam::123456789012:role/given"}
    boto3.client("iam").create_role(RoleName="given", AssumeRolePolicyDocument="{}")
    spec = cloud.spec(target=SageMakerRealtime("ml.c5.large", instances=2, **given))
    plan = cloud.plan(spec, ttl_s=-1.0)
    kinds = [step.kind for step in plan.steps]
    cloud.apply(replace(plan, steps=plan.steps[: kinds.index(last) + 1]))
    assert cloud.remaining()
    cloud.aws()
    assert [item.name for item in cloud.reap()] == ["digits"]
    assert cloud.everything() == ["given"]


def test_a_bucket_of_the_same_name_in_another_account_is_refused(cloud: Any) -> None:
    boto3.client("s3").create_bucket(Bucket="squatted")
    spec = cloud.spec(target=SageMakerRealtime("ml.c5.large", instances=2, bucket="squatted"))
    other = cloud.aws(account="999999999999")
    with pytest.raises(DeployerError, match="looking for bucket 'squatted': AWS answered 403"):
        verbs.plan(other, spec, snapshot.load())


def test_nothing_to_do_is_not_believed_of_a_stale_answer(cloud: Any) -> None:
    cloud.deploy(cloud.spec("1"))
    plan = cloud.plan(cloud.spec("1"))
    assert plan.changes == ()
    second = cloud.deploy(cloud.spec("2"))  # after the plan: what it says is stale now
    done = cloud.apply(plan)
    assert endpoint()["EndpointConfigName"] == done.config != second.config
    assert done.changed == 1
    assert any("is not as it was planned with: it runs" in line for line in cloud.said)


def test_what_is_in_use_by_now_is_not_removed_for_an_old_plan(cloud: Any) -> None:
    cloud.deploy(cloud.spec("1"))
    second = cloud.deploy(cloud.spec("2"))
    plan = cloud.plan(cloud.spec("3"))
    cloud.rollback()  # the first version, which that plan removes, runs again
    done = cloud.apply(plan)
    assert tags()["deployer:previous"] != second.config
    assert endpoint()["EndpointConfigName"] == done.config
    assert cloud.rollback().left == done.config


def test_an_interrupted_wait_is_gone_on_with(cloud: Any) -> None:
    cloud.fake.behaviour.looks = 10**6
    calm = replace(cloud.polling(), limit_s=100.0)
    with pytest.raises(PartialFailure, match="still Creating after") as seen:
        verbs.apply(cloud.aws(), cloud.plan(cloud.spec()), polling=calm)
    assert seen.value.remaining == ("endpoint digits (Creating)",)
    cloud.fake.behaviour.looks = 1
    cloud.fake.hurry()
    assert cloud.deploy(cloud.spec()).changed
    assert cloud.plan(cloud.spec()).changes == ()
