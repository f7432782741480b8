"""Models on SageMaker: real-time, serverless and asynchronous endpoints; for batch, model and role."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from deployer.spec.resolved import Resolved
from stacks.constructs.alarms import MetricAlarm
from stacks.constructs.config import EndpointConfig
from stacks.constructs.dashboard import Dashboard
from stacks.constructs.endpoint import Endpoint
from stacks.constructs.model import Model
from stacks.constructs.role import ExecutionRole
from stacks.constructs.scaling import VariantScaling


class SageMakerStack(cdk.Stack):
    """All that a Resolved describes, in its account and region, with its tags on everything.

    Batch transform jobs are no CloudFormation resources: the stack makes what they use, the SDK runs them.
    """

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        place = resolved.place
        super().__init__(
            scope,
            id,
            env=cdk.Environment(account=place.account, region=place.region),
            description=f"{resolved.spec.target.kind} of {resolved.spec.name}",
        )
        for key, value in resolved.tags.items():
            cdk.Tags.of(self).add(key, value)
        role = ExecutionRole(self, "Role", role=resolved.role)
        model = Model(self, "Model", resolved=resolved, role_arn=role.arn)
        self._output("ModelName", model.name)
        self._output("ExecutionRoleArn", role.arn)
        self._output("BundleDigest", resolved.artifact.digest)
        if resolved.endpoint_name:
            self._serve(resolved, model)

    def _serve(self, resolved: Resolved, model: Model) -> None:
        config = EndpointConfig(self, "Config", resolved=resolved, model_name=model.name)
        endpoint = Endpoint(self, "Endpoint", resolved=resolved, config_name=config.name)
        # Named by what it is, not by its place: a shifted place would make CloudFormation swap names.
        alarms = [MetricAlarm(self, alarm.name, alarm=alarm) for alarm in resolved.alarms]
        for alarm in alarms:
            # The endpoint names its alarms: they must be there before it, and go after it.
            endpoint.resource.add_resource_dependency(alarm.resource)
        if resolved.scaling is not None:
            scaling = VariantScaling(self, "Scaling", resolved=resolved, scaling=resolved.scaling)
            scaling.target.add_resource_dependency(endpoint.resource)
        Dashboard(
            self,
            "Dashboard",
            resolved=resolved,
            alarm_arns=[alarm.resource.attr_arn for alarm in alarms],
        )
        self._output("EndpointName", endpoint.name)
        self._output("EndpointConfigName", config.name)

    def _output(self, name: str, value: str) -> None:
        cdk.CfnOutput(self, name, value=value)
