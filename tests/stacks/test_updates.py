"""Updating a stack: what has to be replaced gets another name, and no more is touched than has changed.

Against the server of ``server.py``, which refuses what CloudFormation refuses: a property that only a new
resource can have, under the name of the old one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from deployer.aws.session import Aws
from deployer.deployments.sagemaker import observe, planner
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.resolved import Resolved
from deployer.spec.rollout import Linear
from deployer.spec.scaling import Scheduled

pytestmark = pytest.mark.cdk

Document = dict[str, Any]
Wishes = Mapping[str, tuple[Resolved, Document]]
STACK = "deployer-digits"
DASHBOARD = "put_dashboard"


@pytest.fixture(scope="module")
def wishes(
    examples: Mapping[str, Resolved],
    resolver: Callable[..., Resolved],
    synthesize: Callable[[Mapping[str, Resolved]], dict[str, Document]],
) -> Wishes:
    """The real-time example and what may become of it, each with its template."""
    first = examples["realtime"]
    spec = first.spec
    documents = {
        "first": first,
        "code": resolver(spec, digest="4e" * 32),
        "scaling": resolver(changed(spec, scaling=replace(spec.scaling, max_instances=9))),
        "schedule": resolver(changed(spec, scaling=examples["realtime-schedule"].spec.scaling)),
        "objective": resolver(changed(spec, slo=Slo(p99_ms=80.0))),
        "tags": resolver(changed(spec, tags={"owner": "sound"})),
        "version": replace(first, tags={**first.tags, "deployer:version": "9.9"}),
        "rollout": resolver(changed(spec, rollout=Linear(50, 60.0))),
        "beside": resolver(changed(spec, name="digits-2")),
    }
    made = synthesize(documents)
    return {name: (document, made[name]) for name, document in documents.items()}


def changed(spec: DeploymentSpec, **values: Any) -> DeploymentSpec:
    return replace(spec, **values)


@pytest.fixture
def stack(cloud: Any, wishes: Wishes) -> Iterator[Any]:
    """The first wish, made; gone afterwards."""
    cloud.apply(STACK, wishes["first"][1])
    yield cloud
    cloud.remove(STACK)
    assert cloud.left() == []


def operations(calls: list[Document]) -> list[str]:
    return [row["operation"] for row in calls]


def test_the_same_again_changes_nothing(stack: Any, wishes: Wishes) -> None:
    assert stack.apply(STACK, wishes["first"][1]) == []


def test_new_code_makes_a_model_and_a_config_updates_the_endpoint_and_removes_the_old(
    stack: Any, wishes: Wishes
) -> None:
    document, template = wishes["code"]
    calls = stack.apply(STACK, template)
    done = operations(calls)
    assert done.count("update_endpoint") == 1
    assert "create_endpoint" not in done
    order = [done.index(word) for word in ("create_model", "create_endpoint_config")]
    assert order == sorted(order)
    assert done.index("create_endpoint_config") < done.index("update_endpoint")
    update = calls[done.index("update_endpoint")]["parameters"]
    assert update["ExcludeRetainedVariantProperties"] == [
        {"VariantPropertyType": "DataCaptureConfig"}
    ]
    models = stack.client("sagemaker").list_models()["Models"]
    assert [row["ModelName"] for row in models] == [document.model_name]


def test_and_back_to_the_old_code_under_its_old_names(stack: Any, wishes: Wishes) -> None:
    stack.apply(STACK, wishes["code"][1])
    done = operations(stack.apply(STACK, wishes["first"][1]))
    assert done.count("update_endpoint") == 1
    endpoint = stack.client("sagemaker").describe_endpoint(EndpointName="digits")
    assert endpoint["EndpointConfigName"] == wishes["first"][0].config_name


def test_other_bounds_leave_the_endpoint_alone(stack: Any, wishes: Wishes) -> None:
    done = operations(stack.apply(STACK, wishes["scaling"][1]))
    assert done == ["register_scalable_target"]


def test_another_way_of_scaling_leaves_the_endpoint_alone(stack: Any, wishes: Wishes) -> None:
    document, template = wishes["schedule"]
    assert isinstance(document.spec.scaling, Scheduled)
    assert "update_endpoint" not in operations(stack.apply(STACK, template))
    scaling = stack.client("application-autoscaling")
    of_sagemaker = {"ServiceNamespace": "sagemaker"}
    assert scaling.describe_scaling_policies(**of_sagemaker)["ScalingPolicies"] == []
    assert len(scaling.describe_scheduled_actions(**of_sagemaker)["ScheduledActions"]) == 2
    stack.apply(STACK, wishes["first"][1])
    assert scaling.describe_scheduled_actions(**of_sagemaker)["ScheduledActions"] == []


def test_another_objective_changes_its_alarm_alone(stack: Any, wishes: Wishes) -> None:
    calls = stack.apply(STACK, wishes["objective"][1])
    assert sorted(operations(calls)) == [DASHBOARD, "put_metric_alarm"]
    assert stack.alarms()["deployer/digits/p99"] == 80_000.0


@pytest.mark.parametrize("name", ["tags", "version"])
def test_other_tags_are_written_in_place(stack: Any, wishes: Wishes, name: str) -> None:
    document, template = wishes[name]
    done = operations(stack.apply(STACK, template))
    assert not {"create_model", "create_endpoint_config", "update_endpoint"} & set(done)
    sagemaker = stack.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName="digits")
    arns = [endpoint["EndpointArn"]]
    arns += [row["ModelArn"] for row in sagemaker.list_models()["Models"]]
    configs = sagemaker.list_endpoint_configs()["EndpointConfigs"]
    arns += [row["EndpointConfigArn"] for row in configs]
    for arn in arns:
        rows = sagemaker.list_tags(ResourceArn=arn)["Tags"]
        assert {row["Key"]: row["Value"] for row in rows} == dict(document.tags)


def test_another_rollout_is_told_to_the_endpoint(stack: Any, wishes: Wishes) -> None:
    calls = stack.apply(STACK, wishes["rollout"][1])
    (update,) = [row for row in calls if row["operation"] == "update_endpoint"]
    policy = update["parameters"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "LINEAR"


def test_two_deployments_in_one_account_do_not_meet(stack: Any, wishes: Wishes) -> None:
    before = set(stack.left())
    stack.apply("deployer-digits-2", wishes["beside"][1])
    assert before < set(stack.left())
    stack.remove("deployer-digits-2")
    assert set(stack.left()) == before


@pytest.mark.parametrize("name", ["realtime", "serverless", "async", "batch"])
def test_the_sdk_route_finds_nothing_to_change_in_what_the_cdk_route_made(
    name: str,
    cloud: Any,
    examples: Mapping[str, Resolved],
    templates: Mapping[str, Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = examples[name]
    stack = f"deployer-{document.spec.name}"
    cloud.apply(stack, templates[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    aws = Aws("us-east-1", session=boto3.Session("test", "test"))
    steps = planner.decide(document, observe.observe(aws, document))
    # The bundle is uploaded before, `deployer upload`, on this route.
    changes = {step.kind for step in steps if step.action != "keep"}
    assert changes <= {"bucket", "bundle"}, [step for step in steps if step.action != "keep"]
    assert len(steps) == {"realtime": 11, "serverless": 8, "async": 11, "batch": 4}[name]
    cloud.remove(stack)
    assert cloud.left() == []


def test_the_server_refuses_to_replace_under_the_same_name(stack: Any, wishes: Wishes) -> None:
    """Content-hash names are needed: this is what happens without them."""
    document, template = wishes["code"]
    text = json.dumps(template).replace(document.model_name, wishes["first"][0].model_name)
    with pytest.raises(ClientError, match="requires replacing"):
        stack.apply(STACK, json.loads(text))
