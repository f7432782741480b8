"""A shim, not AWS: moto's server, with CloudFormation for the resources of our stacks that moto leaves out.

``python server.py PORT``. What it adds, and nothing else:

- Models, configs, endpoints, alarms, dashboards, scalable targets and policies of a template are made by the
  API call that has the same properties. botocore checks each call against AWS's service model, as a client
  does, so a property that the API does not know is refused. A call is sent to this very server.
- ``EndpointName`` and other names of a template are obeyed (moto makes up its own), and a named resource
  that would have to be replaced under the same name is refused, as CloudFormation does; which properties ask
  for that is read in AWS's own resource schemas (cfn-lint ships them). Tags alone are changed in place.
- UpdateEndpoint, which moto lacks: its parameters are checked by botocore, then the endpoint runs the config.
- A change set that is gone: describing it says so in AWS's words, which the CDK CLI waits for, and deleting
  it is no error.
- A stack that a change set made has its outputs, which moto forgets.
- Provisioned concurrency is a dimension that scales.
- A role's inline policies are kept as JSON and follow the template, which moto has as Python's words and forgets.
- SimulatePrincipalPolicy and ListServiceQuotas, which planning asks and moto has not, are denied.
- Calls made for templates are kept, and answered at ``GET /shim/calls``.
"""

from __future__ import annotations

import io
import json
import sys
from enum import Enum
from typing import Any, ClassVar

import boto3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.applicationautoscaling import models, responses
from moto.cloudformation import models as cloudformation
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import CloudFormationError, UnsupportedAttribute
from moto.core.common_models import CloudFormationModel
from moto.iam.models import Role
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sagemaker.models import sagemaker_backends
from werkzeug.serving import run_simple
from werkzeug.wrappers import Request, Response

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0
CALLS: list[dict[str, Any]] = []
Properties = dict[str, Any]
SCALING = "application-autoscaling"
WHERE = "shim.cloudformation"
"""moto keeps a record of models by the second part of their module's name."""


def call(service: str, operation: str, parameters: Properties, region: str) -> Any:
    """Make the call through botocore, which checks it, and keep it."""
    client = boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://localhost:{PORT}",
        aws_access_key_id="shim",
        aws_secret_access_key="shim",
    )
    answer = getattr(client, operation)(**parameters)
    CALLS.append({"service": service, "operation": operation, "parameters": parameters})
    return answer


class Refused(CloudFormationError):
    code = "ValidationError"


class Rendered:
    """A resource as CloudFormation keeps it: its properties, where it lies, and its physical id."""

    TYPE: ClassVar[str]
    NAME: ClassVar[str]
    ARN: ClassVar[str] = "Arn"

    def __init__(self, properties: Properties, region: str) -> None:
        self.properties = properties
        self.region = region
        self.arn = ""

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.NAME

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.TYPE

    @property
    def physical_resource_id(self) -> str:
        return self.arn or str(self.properties[self.NAME])

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in (cls.NAME, cls.ARN)

    def get_cfn_attribute(self, attribute_name: str) -> str:
        if attribute_name == self.NAME:
            return str(self.properties[self.NAME])
        if attribute_name == self.ARN:
            return self.arn
        raise UnsupportedAttribute(self.NAME, attribute_name)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> Any:
        made = cls(cloudformation_json["Properties"], region_name)
        made.create()
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        made = cls(cloudformation_json["Properties"], region_name)
        before, after = original_resource.properties, made.properties
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if cls.NAME in changed:
            made.create()
            original_resource.delete(account_id, region_name)
            return made
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region_name, cls.TYPE).schema
        fixed = {path.removeprefix("/properties/") for path in schema["createOnlyProperties"]}
        if changed & fixed:
            raise Refused(f"{cls.TYPE} is custom-named and requires replacing. Rename it.")
        made.arn = original_resource.arn
        if changed:
            made.update(original_resource, changed)
        return made

    def create(self) -> None:
        raise NotImplementedError

    def update(self, before: Any, changed: set[str]) -> None:
        self.create()

    def delete(self, account_id: str, region_name: str) -> None:
        raise NotImplementedError


class Tagged(Rendered):
    """A resource of SageMaker: its tags are changed by calls of their own."""

    def update(self, before: Any, changed: set[str]) -> None:
        if "Tags" not in changed:
            return
        rows = self.properties.get("Tags", [])
        gone = {row["Key"] for row in before.properties.get("Tags", [])} - {r["Key"] for r in rows}
        if gone:
            request = {"ResourceArn": self.arn, "TagKeys": sorted(gone)}
            call("sagemaker", "delete_tags", request, self.region)
        call("sagemaker", "add_tags", {"ResourceArn": self.arn, "Tags": rows}, self.region)


class Model(Tagged, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::SageMaker::Model", "ModelName"

    def create(self) -> None:
        self.arn = call("sagemaker", "create_model", self.properties, self.region)["ModelArn"]

    def delete(self, account_id: str, region_name: str) -> None:
        name = {"ModelName": self.properties["ModelName"]}
        call("sagemaker", "delete_model", name, self.region)


class Config(Tagged, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::SageMaker::EndpointConfig", "EndpointConfigName"

    def create(self) -> None:
        made = call("sagemaker", "create_endpoint_config", self.properties, self.region)
        self.arn = made["EndpointConfigArn"]

    def delete(self, account_id: str, region_name: str) -> None:
        name = {"EndpointConfigName": self.properties["EndpointConfigName"]}
        call("sagemaker", "delete_endpoint_config", name, self.region)


class Endpoint(Tagged, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::SageMaker::Endpoint", "EndpointName"
    RETAINED = ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties")

    def create(self) -> None:
        # Update-only properties of the template; CreateEndpoint has none of them.
        request = {k: v for k, v in self.properties.items() if k not in self.RETAINED}
        self.arn = call("sagemaker", "create_endpoint", request, self.region)["EndpointArn"]

    def update(self, before: Any, changed: set[str]) -> None:
        super().update(before, changed)
        if changed == {"Tags"}:
            return
        request = {k: v for k, v in self.properties.items() if k != "Tags"}
        client = boto3.client("sagemaker", region_name=self.region)
        shape = client.meta.service_model.operation_model("UpdateEndpoint").input_shape
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise Refused(report.generate_report())
        config = client_config(self.region, request["EndpointConfigName"])
        endpoint = sagemaker_backends["123456789012"][self.region].endpoints[
            self.properties[self.NAME]
        ]
        endpoint.endpoint_config_name = config["EndpointConfigName"]
        CALLS.append(
            {"service": "sagemaker", "operation": "update_endpoint", "parameters": request}
        )

    def delete(self, account_id: str, region_name: str) -> None:
        name = {"EndpointName": self.properties["EndpointName"]}
        call("sagemaker", "delete_endpoint", name, self.region)


def client_config(region: str, name: str) -> Any:
    return call("sagemaker", "describe_endpoint_config", {"EndpointConfigName": name}, region)


class Alarm(Rendered, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::CloudWatch::Alarm", "AlarmName"

    def create(self) -> None:
        call("cloudwatch", "put_metric_alarm", self.properties, self.region)
        name = self.properties["AlarmName"]
        self.arn = f"arn:aws:cloudwatch:{self.region}:123456789012:alarm:{name}"

    @property
    def physical_resource_id(self) -> str:
        return str(self.properties["AlarmName"])

    def delete(self, account_id: str, region_name: str) -> None:
        name = {"AlarmNames": [self.properties["AlarmName"]]}
        call("cloudwatch", "delete_alarms", name, self.region)


class Dashboard(Rendered, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::CloudWatch::Dashboard", "DashboardName"

    def create(self) -> None:
        json.loads(self.properties["DashboardBody"])
        call("cloudwatch", "put_dashboard", self.properties, self.region)

    def delete(self, account_id: str, region_name: str) -> None:
        name = {"DashboardNames": [self.properties["DashboardName"]]}
        call("cloudwatch", "delete_dashboards", name, self.region)


class ScalableTarget(Rendered, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::ApplicationAutoScaling::ScalableTarget", "ResourceId"

    @property
    def where(self) -> Properties:
        keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
        return {key: self.properties[key] for key in keys}

    @property
    def physical_resource_id(self) -> str:
        where = self.where
        return "|".join(where[k] for k in ("ResourceId", "ScalableDimension", "ServiceNamespace"))

    def create(self) -> None:
        request = {k: v for k, v in self.properties.items() if k != "ScheduledActions"}
        request["Tags"] = {row["Key"]: row["Value"] for row in request.pop("Tags", [])}
        call(SCALING, "register_scalable_target", request, self.region)
        for action in self.properties.get("ScheduledActions", []):
            call(SCALING, "put_scheduled_action", self.where | action, self.region)

    def update(self, before: Any, changed: set[str]) -> None:
        names = {row["ScheduledActionName"] for row in self.properties.get("ScheduledActions", [])}
        for row in before.properties.get("ScheduledActions", []):
            if row["ScheduledActionName"] not in names:
                name = {"ScheduledActionName": row["ScheduledActionName"]}
                call(SCALING, "delete_scheduled_action", self.where | name, self.region)
        self.create()

    def delete(self, account_id: str, region_name: str) -> None:
        call(SCALING, "deregister_scalable_target", self.where, self.region)


class ScalingPolicy(Rendered, CloudFormationModel):
    __module__ = WHERE
    TYPE, NAME = "AWS::ApplicationAutoScaling::ScalingPolicy", "PolicyName"

    @property
    def where(self) -> Properties:
        resource, dimension, namespace = self.properties["ScalingTargetId"].split("|")
        return {
            "ServiceNamespace": namespace,
            "ResourceId": resource,
            "ScalableDimension": dimension,
            "PolicyName": self.properties["PolicyName"],
        }

    def create(self) -> None:
        request = {k: v for k, v in self.properties.items() if k != "ScalingTargetId"}
        made = call(SCALING, "put_scaling_policy", self.where | request, self.region)
        self.arn = made["PolicyARN"]

    def delete(self, account_id: str, region_name: str) -> None:
        try:
            call(SCALING, "delete_scaling_policy", self.where, self.region)
        except ClientError as error:  # it went with its target, which moto may delete first
            if "No scaling policy found" not in str(error):
                raise


class ChangeSetNotFound(CloudFormationError):
    code = "ChangeSetNotFound"
    message = "ChangeSet does not exist"


_describe = cloudformation.CloudFormationBackend.describe_change_set
_delete = cloudformation.CloudFormationBackend.delete_change_set


def known(backend: Any, change_set_name: str) -> bool:
    pairs = backend.change_sets.items()
    return any(change_set_name in (key, kept.change_set_name) for key, kept in pairs)


def delete_change_set(self: Any, change_set_name: str) -> None:
    """Deleting what is gone is no error."""
    if known(self, change_set_name):
        _delete(self, change_set_name)


def describe_change_set(self: Any, change_set_name: str) -> Any:
    """Say ChangeSetNotFound where moto says that there is no such stack."""
    if not known(self, change_set_name):
        raise ChangeSetNotFound
    return _describe(self, change_set_name)


_execute = cloudformation.CloudFormationBackend.execute_change_set


def execute_change_set(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
    """Answer the outputs of the template that was carried out, which moto forgets."""
    _execute(self, change_set_name, stack_name)
    for stack in self.stacks.values():
        if stack.name == stack_name or stack.stack_id == stack_name:
            stack._parse_template()
            stack.output_map = stack._create_output_map()


_update_role = Role.update_from_cloudformation_json
_put_policy = Role.put_policy


def put_policy(self: Any, name: str, document: Any) -> None:
    """Keep a policy of a template as a call would have brought it."""
    text = document if isinstance(document, str) else json.dumps(document)
    _put_policy(self, name, text)


def update_role(cls: Any, **asked: Any) -> Any:
    """Update a role with its policies and tags."""
    role = _update_role(**asked)
    cloudformation_json = asked["cloudformation_json"]
    properties = cloudformation_json["Properties"]
    role.policies.clear()
    for policy in properties.get("Policies", []):
        role.put_policy(policy["PolicyName"], policy["PolicyDocument"])
    role.tags = properties.get("Tags", [])
    return role


def add_dimension() -> None:
    """Let moto know one scalable dimension more."""
    known = {item.name: item.value for item in models.ScalableDimensionValueSet}
    known["PROVISIONED"] = "sagemaker:variant:DesiredProvisionedConcurrency"
    models.ScalableDimensionValueSet = Enum("ScalableDimensionValueSet", known)
    responses.ScalableDimensionValueSet = models.ScalableDimensionValueSet


class Application:
    """moto, and the calls that were kept."""

    def __init__(self) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path == "/shim/calls":
            answer = Response(json.dumps(CALLS), mimetype="application/json")
            return answer(environ, start_response)
        if request.headers.get("X-Amz-Target", "").endswith("ListServiceQuotas"):
            words = json.dumps({"__type": "AccessDeniedException", "message": "not here"})
            answer = Response(words, 400, mimetype="application/x-amz-json-1.1")
            return answer(environ, start_response)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        if b"Action=SimulatePrincipalPolicy" in body:
            words = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
            return Response(words, 403, mimetype="text/xml")(environ, start_response)
        return self.moto(environ, start_response)


if __name__ == "__main__":
    cloudformation.CloudFormationBackend.describe_change_set = describe_change_set
    cloudformation.CloudFormationBackend.delete_change_set = delete_change_set
    cloudformation.CloudFormationBackend.execute_change_set = execute_change_set
    Role.put_policy = put_policy
    Role.update_from_cloudformation_json = classmethod(update_role)
    add_dimension()
    assert parsing.get_model_map()[Alarm.TYPE] is Alarm
    run_simple("127.0.0.1", PORT, Application(), threaded=True)
