"""Models on SageMaker: real-time, serverless and asynchronous endpoints; for batch, model and role."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from deployer.spec.resolved import Resolved
from stacks.constructs import placeholders
from stacks.constructs.alarms import PlannedAlarm
from stacks.constructs.config import EndpointConfig
from stacks.constructs.dashboard import Dashboard
from stacks.constructs.endpoint import Endpoint
from stacks.constructs.model import Model
from stacks.constructs.role import ExecutionRole
from stacks.constructs.variant_scaling import VariantScaling


class SageMakerStack(cdk.Stack):
    """All that a Resolved describes, in its account and region, with its tags on everything.

    Batch transform jobs are no CloudFormation resources: the stack makes what they use, the SDK runs them.
    """

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        place = resolved.place
        super().__init__(
            scope,
            id,
            # The CLI checks the bootstrap's version itself; without a rule in it, the template also deploys
            # where nothing is bootstrapped: it has no assets.
            synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            env=cdk.Environment(account=place.account, region=place.region),
            description=f"{resolved.spec.target.kind} of {resolved.spec.name}",
        )
        for key, value in resolved.tags.items():
            cdk.Tags.of(self).add(key, value)
        placeholders.refuse(self, resolved.placeholders)
        role = ExecutionRole(self, "Role", resolved=resolved)
        model = Model(self, "Model", resolved=resolved, role_arn=role.arn)
        self._output("ModelName", model.resource.attr_model_name)
        self._output("ExecutionRoleArn", role.arn)
        self._output("BundleDigest", resolved.artifact.digest)
        if resolved.endpoint_name:
            self._serve(resolved, model)

    def _serve(self, resolved: Resolved, model: Model) -> None:
        """Add what serves. Names are those of the document, so each order of making is said."""
        config = EndpointConfig(self, "Config", resolved=resolved)
        config.resource.add_resource_dependency(model.resource)
        # Named by what it is, not by its place: a shifted place would make CloudFormation swap names.
        alarms = [PlannedAlarm(self, alarm.name, alarm=alarm) for alarm in resolved.alarms]
        endpoint = Endpoint(self, "Endpoint", resolved=resolved)
        for earlier in (config.resource, *(alarm.resource for alarm in alarms)):
            endpoint.resource.add_resource_dependency(earlier)
        if resolved.scaling is not None:
            scaling = VariantScaling(self, "Scaling", resolved=resolved, scaling=resolved.scaling)
            scaling.target.add_resource_dependency(endpoint.resource)
        Dashboard(self, "Dashboard", resolved=resolved)
        self._output("EndpointName", endpoint.resource.attr_endpoint_name)
        self._output("EndpointConfigName", config.resource.attr_endpoint_config_name)

    def _output(self, name: str, value: str) -> None:
        cdk.CfnOutput(self, name, value=value)
