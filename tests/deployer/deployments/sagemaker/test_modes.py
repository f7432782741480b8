"""Every example specification: planned, deployed, asked, looked at and destroyed, against moto over HTTP.

``tests/golden/sagemaker/NAME.json`` holds what each plan says and the requests to SageMaker and Application Auto
Scaling that deploying makes. DEPLOYER_WRITE_GOLDEN=1 writes them; nothing else does.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.clients.base import Body
from deployer.deployments.sagemaker import jobs, rollback, status, verbs
from deployer.errors import DeployerError, InputError
from deployer.pricing import snapshot
from deployer.pricing.book import Price, Sku
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted((ROOT / "examples" / "deploy_sagemaker").glob("*.toml"))
GOLDEN = ROOT / "tests" / "golden" / "sagemaker"


def example(cloud: Any, name: str) -> DeploymentSpec:
    """Return an example with a bundle and an image that exist, in our region, on a type that moto knows."""
    spec = serde.load(ROOT / "examples" / "deploy_sagemaker" / f"{name}.toml")
    spec = replace(spec, bundle=str(cloud.bundle("1")))
    target: Any = replace(spec.target, region="us-east-1", image_uri="")  # type: ignore[call-arg]
    if target.instance_type and not target.instance_type.startswith(("ml.c5", "ml.m5")):
        target = replace(target, instance_type="ml.c5.xlarge")
    spec = replace(spec, target=target)
    if spec.name != "digits":  # that one is there already
        cloud.image(spec.name)
    if target.role_arn:
        document = json.dumps({"Version": "2012-10-17", "Statement": []})
        boto3.client("iam").create_role(
            RoleName=target.role_arn.rpartition("/")[2], AssumeRolePolicyDocument=document
        )
    cloud.fake.behaviour.quotas = {}
    return spec


def masked(document: Any, resolved: Resolved) -> str:
    """Leave out names and digests that change with the serving code, and the image's, which moto makes up."""
    digest = resolved.artifact.digest
    words = {
        digest: "BUNDLE",
        digest[:12]: "BUNDLE",
        resolved.image.digest: "IMAGE",
        resolved.model_name: "MODEL",
        resolved.config_name: "CONFIG",
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    for word, mask in words.items():
        text = text.replace(word, mask) if word else text
    return text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_mode_is_planned_made_and_removed(cloud: Any, path: Path) -> None:
    spec = example(cloud, path.stem)
    if any(alarm for alarm in spec.rollout.alarms):
        for alarm in spec.rollout.alarms:
            cloud.alarm(alarm)
    plan = cloud.plan(spec, derived_target=240.0)
    assert not any(cloud.changes(call) for call in cloud.fake.calls)
    cloud.fake.requests.clear()
    cloud.apply(plan)
    made = [
        {"call": call, "request": request}
        for call, request in cloud.fake.requests
        if request is not None and cloud.changes(call)
    ]
    document = {
        "plan": [f"{s.mark} {s.kind} {s.name} {s.note}".rstrip() for s in plan.steps],
        "calls": made,
    }
    text = masked(document, plan.resolved)
    golden = GOLDEN / f"{path.stem}.json"
    if os.environ.get("DEPLOYER_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert cloud.plan(spec, derived_target=240.0).changes == ()
    assert status.status(cloud.aws(), spec.name, snapshot.load()).healthy
    assert verbs.mode(cloud.aws(), spec.name) == spec.target.kind
    assert cloud.remaining(spec.name)
    cloud.destroy(spec.name)
    assert cloud.remaining(spec.name) == ()


def test_the_provisioned_concurrency_of_a_serverless_endpoint_scales(cloud: Any) -> None:
    spec = example(cloud, "serverless")
    cloud.apply(cloud.plan(spec))
    where = {
        "ServiceNamespace": "sagemaker",
        "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency",
    }
    scaling = boto3.client("application-autoscaling")
    target = scaling.describe_scalable_targets(**where)["ScalableTargets"][0]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 10)
    policy = scaling.describe_scaling_policies(**where)["ScalingPolicies"][0]
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 0.7


def test_an_async_fleet_goes_to_zero_and_an_alarm_wakes_it(cloud: Any) -> None:
    spec = example(cloud, "async")
    cloud.apply(cloud.plan(spec))
    alarm = boto3.client("cloudwatch").describe_alarms(AlarmNames=["deployer/transcripts/wake"])
    row = alarm["MetricAlarms"][0]
    assert row["MetricName"] == "HasBacklogWithoutCapacity"
    assert row["AlarmActions"][0].endswith("policyName/transcripts-wake")


def test_an_async_endpoint_is_asked_by_way_of_s3(cloud: Any) -> None:
    from deployer.clients.sagemaker import AsyncInvoker, AsyncOptions

    spec = example(cloud, "async")
    cloud.apply(cloud.plan(spec))
    assert verbs.mode(cloud.aws(), "transcripts") == "sagemaker-async"
    place = jobs.place_for_bodies(cloud.aws(), "transcripts")
    assert place == "s3://deployer-123456789012-us-east-1/deployer/transcripts/input"
    boto3.client("s3").create_bucket(Bucket="sagemaker-us-east-1-123456789012")
    client = AsyncInvoker(cloud.aws(), "transcripts", AsyncOptions(upload_to=place))
    call = client.submit(Body(b"x" * 200_000))
    assert call.output.startswith("s3://")
    assert any("PUT" in c and "/deployer/transcripts/input/" in c for c in cloud.fake.calls)


def test_batch_jobs_run_and_tell_their_states(cloud: Any) -> None:
    spec = example(cloud, "batch")
    resolved = cloud.plan(spec).resolved
    with pytest.raises(InputError, match="there is no model"):
        jobs.run(cloud.aws(), resolved)
    cloud.apply(cloud.plan(spec))
    done = jobs.run(cloud.aws(), resolved, say=cloud.said.append)
    assert done.output_s3_uri == "s3://archive-out/labels/"
    assert any("Completed" in line for line in cloud.said)
    job = boto3.client("sagemaker").describe_transform_job(TransformJobName=done.name)
    assert job["ModelName"] == resolved.model_name
    assert job["TransformInput"]["SplitType"] == "Line"
    assert job["TransformResources"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2}


def test_one_body_is_answered_by_a_batch_job(cloud: Any) -> None:
    spec = example(cloud, "batch")
    target: Any = replace(spec.target, output_s3_uri="")  # type: ignore[type-var]
    spec = replace(spec, target=target)
    cloud.apply(cloud.plan(spec))
    resolved = cloud.plan(spec).resolved
    cloud.fake.behaviour.job_answer = b"[1]"
    answer = jobs.answer(cloud.aws(), resolved, Body(b"[0]"))
    assert answer.content == b"[1]"
    cloud.destroy("archive")
    assert cloud.remaining("archive") == ()


def test_batch_has_nothing_to_go_back_from(cloud: Any) -> None:
    cloud.apply(cloud.plan(example(cloud, "batch")))
    with pytest.raises(InputError, match="'archive' is sagemaker-batch: each job names its model"):
        rollback.rollback(cloud.aws(), "archive")


def test_a_serverless_endpoint_goes_back_without_a_shift(cloud: Any) -> None:
    spec = example(cloud, "serverless")
    cloud.apply(cloud.plan(spec))
    cloud.apply(cloud.plan(replace(spec, bundle=str(cloud.bundle("2")))))
    cloud.fake.requests.clear()
    rollback.rollback(cloud.aws(), spec.name, polling=cloud.polling())
    sent = [request for call, request in cloud.fake.requests if call == "SageMaker.UpdateEndpoint"]
    assert ["DeploymentConfig" in request for request in sent] == [False]


def test_an_asynchronous_endpoint_is_priced_as_one(cloud: Any) -> None:
    spec = example(cloud, "async")
    cloud.apply(cloud.plan(spec))
    kind, where = getattr(spec.target, "instance_type", ""), "us-east-1"
    rows = [
        Price(Sku(service, where, kind), "hour", Decimal(usd), "made up", "2026-01-01")
        for service, usd in (("sagemaker-hosting", "1"), ("sagemaker-async", "1000"))
    ]
    book = replace(snapshot.load(), prices={row.sku: row for row in rows})
    spent = status.status(cloud.aws(), spec.name, book).spent_usd
    dear = replace(book, prices={rows[0].sku: rows[0]})
    unknown = status.status(cloud.aws(), spec.name, dear)
    assert spent is not None
    assert spent > Decimal("0.001"), "a thousand dollars an hour"
    assert unknown.spent_usd is None
    assert "sagemaker-async" in unknown.spent_basis


def test_a_job_that_runs_is_stopped_before_its_model_goes(cloud: Any) -> None:
    spec = example(cloud, "batch")
    cloud.apply(cloud.plan(spec))
    done = jobs.run(cloud.aws(), cloud.plan(spec).resolved)
    cloud.fake.job(done.name, "InProgress")
    assert [s.kind for s in cloud.plan(replace(spec, bundle=str(cloud.bundle("2")))).steps] == [
        "role", "bucket", "bundle", "model"
    ], "what a running job uses is kept"  # fmt: skip
    removed = cloud.destroy("archive")
    words = " ".join(removed)
    assert words.index("transform job") < words.index("model archive")


def test_a_body_over_the_limit_of_a_job_is_refused_before_anything(cloud: Any) -> None:
    spec = example(cloud, "batch")
    target: Any = replace(spec.target, split="none", max_payload_mb=1)  # type: ignore[type-var]
    resolved = cloud.plan(replace(spec, target=target)).resolved
    with pytest.raises(InputError, match="carries 1,048,576"):
        jobs.answer(cloud.aws(), resolved, Body(b"x" * (2**20 + 1)))
    assert not [call for call in cloud.fake.changing if "ContainerRegistry" not in call]


def test_nothing_of_that_name_is_one_clear_error(cloud: Any) -> None:
    for act in (verbs.mode, lambda aws, name: status.status(aws, name, snapshot.load())):
        with pytest.raises(DeployerError, match="there is no endpoint 'nobody' in us-east-1"):
            act(cloud.aws(), "nobody")
