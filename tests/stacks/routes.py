"""The two routes' words for a deployment, brought to one form that expectations can be written in by hand.

- The SDK route: the real executor runs its plan with real boto3 clients. botocore checks each request against
  AWS's service model; then, instead of being sent, it is kept and answered here.
- The CDK route: a synthesized template, its references resolved.

The form: ``role``, ``model``, ``config``, ``endpoint``, ``target``, and by name ``policies``, ``schedules`` and
``alarms``, each with the properties that AWS's API has; ``tags`` once, since all resources have the same.
``MODEL`` and ``CONFIG`` stand for the names that end in a hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3

from deployer.aws.session import Aws
from deployer.cost.month import MonthlyCost
from deployer.deployments.aws.polling import Polling
from deployer.deployments.plan import resolving
from deployer.deployments.sagemaker import planner
from deployer.deployments.sagemaker.executor import Executor
from deployer.deployments.sagemaker.observe import Endpoint, Observed
from deployer.spec.naming import BUCKET_TAG, NAME_TAG, PREVIOUS_TAG
from deployer.spec.resolved import Resolved

Document = dict[str, Any]
Call = tuple[str, Document]
READS = ("Describe", "List", "Get", "Head")
MADE = datetime(2026, 11, 21, tzinfo=UTC)
SDK_TAG = BUCKET_TAG
"""Kept on the role by the SDK route alone: `destroy` on another machine looks for the bucket there."""


class Recorder:
    """The clients of a region: every call is answered, and those that change something are kept."""

    def __init__(self, region: str) -> None:
        session = boto3.Session("key", "secret", region_name=region)
        session.events.register("before-parameter-build.*.*", self._keep)
        session.events.register("before-call.*.*", self._answer)
        self.aws = Aws(region, session=session)

    def begin(self, name: str, running: str) -> None:
        """Forget what was. ``running`` is the config of an endpoint that is there already."""
        self.calls: list[Call] = []
        self._name, self._config = name, running

    def _keep(self, params: Document, model: Any, **_: Any) -> None:
        self._latest = params
        if not model.name.startswith(READS):
            self.calls.append((model.name, json.loads(json.dumps(params))))

    def _answer(self, model: Any, **_: Any) -> tuple[Any, Document]:
        params = self._latest
        if model.name in ("CreateEndpoint", "UpdateEndpoint"):
            self._config = params["EndpointConfigName"]
        answers: dict[str, Document] = {
            "PutScalingPolicy": {"PolicyARN": f"policy {params.get('PolicyName')}"},
            "ListTags": {"Tags": [{"Key": NAME_TAG, "Value": self._name}]},
            "GetMetricStatistics": {"Datapoints": []},
        }
        if model.name == "DescribeEndpoint":
            if not self._config:
                problem = {"Code": "ValidationException", "Message": "Could not find endpoint"}
                return SimpleNamespace(status_code=400), {"Error": problem}
            answers["DescribeEndpoint"] = {
                "EndpointName": params["EndpointName"],
                "EndpointArn": "arn",
                "EndpointStatus": "InService",
                "EndpointConfigName": self._config,
                "CreationTime": MADE,
                "LastModifiedTime": MADE,
            }
        return SimpleNamespace(status_code=200), answers.get(model.name, {})


recorder_of = cache(Recorder)


def sdk_calls(resolved: Resolved, running: str = "") -> list[Call]:
    """Return the changing calls of the SDK route, from nothing or from an endpoint that runs ``running``.

    Bucket and bundle are there: what is uploaded is the same file for both routes.
    """
    recorder = recorder_of(resolved.place.region)
    recorder.begin(resolved.spec.name, running)
    endpoint = None
    if running:
        endpoint = Endpoint(resolved.endpoint_name, "arn", "InService", running, MADE, MADE, {})
    seen = Observed(endpoint, {}, {}, True, frozenset(), True, None, None)
    plan = resolving(resolved, planner.decide(resolved, seen), (), MonthlyCost(()))
    still = Polling(sleep=lambda _: None)
    Executor(recorder.aws, plan, polling=still, say=lambda _: None).run()
    return recorder.calls


PARTS = {
    "CreateModel": "model",
    "CreateEndpointConfig": "config",
    "CreateEndpoint": "endpoint",
    "UpdateEndpoint": "endpoint",
    "AWS::SageMaker::Model": "model",
    "AWS::SageMaker::EndpointConfig": "config",
    "AWS::SageMaker::Endpoint": "endpoint",
}
NAMED = {
    "PutScalingPolicy": ("policies", "PolicyName"),
    "PutScheduledAction": ("schedules", "ScheduledActionName"),
    "PutMetricAlarm": ("alarms", "AlarmName"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ("policies", "PolicyName"),
    "AWS::CloudWatch::Alarm": ("alarms", "AlarmName"),
}


def of_calls(resolved: Resolved) -> Document:
    """Return the deployment that the SDK route's calls describe: made from nothing, and updated."""
    calls = sdk_calls(resolved)
    if resolved.endpoint_name:
        calls += sdk_calls(resolved, running=f"{resolved.spec.name}-000000000000")
    form = Form(resolved)
    for name, params in calls:
        if name == "CreateRole":
            trust = json.loads(params.pop("AssumeRolePolicyDocument"))
            form.put("role", {**params, "AssumeRolePolicyDocument": trust})
        elif name == "PutRolePolicy":
            document = json.loads(params["PolicyDocument"])
            form.add("role", inline_policy(params["PolicyName"], document))
        elif name == "RegisterScalableTarget":
            rows = [{"Key": k, "Value": v} for k, v in params.pop("Tags").items()]
            form.put("target", {**params, "Tags": rows})
        elif name == "AddTags":  # of the endpoint, updated; the way back is the SDK route's alone
            if [row["Key"] for row in params["Tags"]] != [PREVIOUS_TAG]:
                form.put("endpoint", {"Tags": params["Tags"]})
        else:
            form.take(name, params)
    return form.done()


def of_template(resolved: Resolved, template: Mapping[str, Any]) -> Document:
    """Return the deployment that the CDK route's template describes."""
    resources = template["Resources"]
    form = Form(resolved)
    for resource in resources.values():
        kind, properties = resource["Type"], filled(resource["Properties"], resources)
        if kind == "AWS::CloudWatch::Dashboard":
            continue  # the CDK route's alone
        if kind == "AWS::IAM::Role":
            for policy in properties.pop("Policies"):
                form.add("role", inline_policy(policy["PolicyName"], policy["PolicyDocument"]))
            form.put("role", properties)
        elif kind == "AWS::ApplicationAutoScaling::ScalableTarget":
            for action in properties.pop("ScheduledActions", []):
                form.take("PutScheduledAction", action | where(properties))
            form.put("target", properties)
        else:
            if kind == "AWS::ApplicationAutoScaling::ScalingPolicy":
                properties |= where(properties.pop("ScalingTargetId"))
            if (
                kind == "AWS::SageMaker::Endpoint"
            ):  # CloudFormation's default; the SDK route says it
                properties.setdefault("RetainAllVariantProperties", False)
            form.take(kind, properties)
    return form.done()


def where(target: Mapping[str, Any]) -> Document:
    """Return what a policy or schedule is of."""
    return {key: target[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}


def filled(value: Any, resources: Mapping[str, Any]) -> Any:
    """Return a property with the references resolved that our templates make."""
    if isinstance(value, list):
        return [filled(item, resources) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::GetAtt"}:
        logical_id, attribute = value["Fn::GetAtt"]
        resource = resources[logical_id]
        assert (resource["Type"], attribute) == ("AWS::IAM::Role", "Arn")
        return f"arn:aws:iam::123456789012:role/{resource['Properties']['RoleName']}"
    if set(value) == {"Ref"}:
        resource = resources[value["Ref"]]
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget":
            return resource["Properties"]
        assert resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy"
        return f"policy {resource['Properties']['PolicyName']}"
    assert not [key for key in value if key.startswith("Fn::")], value
    return {key: filled(item, resources) for key, item in value.items()}


def inline_policy(name: str, document: Mapping[str, Any]) -> Document:
    """Return a role's policy with its statements by their Sid."""
    assert set(document) == {"Version", "Statement"}
    rows = {
        row["Sid"]: {k: v for k, v in row.items() if k != "Sid"} for row in document["Statement"]
    }
    assert len(rows) == len(document["Statement"])
    return {"PolicyName": name, "PolicyVersion": document["Version"], "Statements": rows}


class Form:
    """Collects the parts. A part that is told twice must be told alike: an update says what a creation said."""

    def __init__(self, resolved: Resolved) -> None:
        self._hashed = {resolved.model_name: "MODEL", resolved.config_name: "CONFIG"}
        self._parts: Document = {}

    def put(self, part: str, properties: Document) -> None:
        """Add a part, its tags apart."""
        self._merge(self._parts.setdefault(part, {}), self._clean(properties))

    def add(self, part: str, properties: Document) -> None:
        """Add to a part what has no tags."""
        self._merge(self._parts.setdefault(part, {}), properties)

    def take(self, kind: str, properties: Document) -> None:
        """Add what a call or a resource of a template says, one that expectations cover."""
        if kind in PARTS:
            self.put(PARTS[kind], properties)
        else:
            part, key = NAMED[kind]
            found = self._parts.setdefault(part, {}).setdefault(properties.pop(key), {})
            self._merge(found, self._clean(properties))

    def done(self) -> Document:
        """Return all parts."""
        return self._parts

    def _clean(self, properties: Document) -> Document:
        rest = {key: self._renamed(value) for key, value in properties.items() if key != "Tags"}
        if "Tags" in properties:
            tags = {row["Key"]: row["Value"] for row in properties["Tags"]}
            tags.pop(SDK_TAG, None)
            self._merge(self._parts.setdefault("tags", {}), tags)
            assert self._parts["tags"] == tags, "all resources have the same tags"
        if "Dimensions" in rest:
            rest["Dimensions"] = {row["Name"]: row["Value"] for row in rest["Dimensions"]}
        return rest

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, dict):
            found = {key: self._renamed(item) for key, item in value.items()}
            if isinstance(found.get("Dimensions"), list):  # of a metric inside a policy
                found["Dimensions"] = {row["Name"]: row["Value"] for row in found["Dimensions"]}
            return found
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        return self._hashed.get(value, value) if isinstance(value, str) and value else value

    def _merge(self, into: Document, properties: Document) -> None:
        for key, value in properties.items():
            assert into.setdefault(key, value) == value, f"{key} is told twice, differently"


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each property by its path."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from flat(item, f"{path}[{number}]")
    else:
        yield path, value
