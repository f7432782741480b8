"""The endpoint: a stable name, the config that it runs, and how a new config takes over."""

from __future__ import annotations

from typing import assert_never

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from deployer.spec.resolved import Resolved
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.target import SageMakerServerless

_Endpoint = sagemaker.CfnEndpoint


class Endpoint(Construct):
    """The endpoint with its guardrails."""

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        super().__init__(scope, id)
        self.resource = _Endpoint(
            self,
            "Resource",
            endpoint_name=resolved.endpoint_name,
            endpoint_config_name=resolved.config_name,
            # A serverless endpoint has no fleet to shift traffic between.
            deployment_config=None
            if isinstance(resolved.spec.target, SageMakerServerless)
            else _guardrails(resolved),
            retain_all_variant_properties=True if resolved.retain_capacity else None,
            # A fleet that has scaled keeps its size, but never its old data capture.
            exclude_retained_variant_properties=[
                _Endpoint.VariantPropertyProperty(variant_property_type="DataCaptureConfig")
            ]
            if resolved.retain_capacity
            else None,
        )


def _guardrails(resolved: Resolved) -> sagemaker.CfnEndpoint.DeploymentConfigProperty:
    rollout = resolved.spec.rollout
    rollback = None
    if resolved.rollback_alarms:
        rollback = _Endpoint.AutoRollbackConfigProperty(
            alarms=[_Endpoint.AlarmProperty(alarm_name=a) for a in resolved.rollback_alarms]
        )
    if isinstance(rollout, Rolling):
        rolling = _Endpoint.RollingUpdatePolicyProperty(
            maximum_batch_size=_percent(rollout.batch_percent),
            wait_interval_in_seconds=int(rollout.bake_s),
            maximum_execution_timeout_in_seconds=resolved.rollout_timeout_s,
        )
        return _Endpoint.DeploymentConfigProperty(
            rolling_update_policy=rolling, auto_rollback_configuration=rollback
        )
    wait_s = int(rollout.bake_s) if isinstance(rollout, AllAtOnce) else 0
    shift = _Endpoint.BlueGreenUpdatePolicyProperty(
        traffic_routing_configuration=_routing(rollout),
        termination_wait_in_seconds=wait_s,
        maximum_execution_timeout_in_seconds=resolved.rollout_timeout_s,
    )
    return _Endpoint.DeploymentConfigProperty(
        blue_green_update_policy=shift, auto_rollback_configuration=rollback
    )


def _routing(
    rollout: AllAtOnce | Canary | Linear,
) -> sagemaker.CfnEndpoint.TrafficRoutingConfigProperty:
    match rollout:
        case AllAtOnce():
            return _Endpoint.TrafficRoutingConfigProperty(
                type="ALL_AT_ONCE", wait_interval_in_seconds=0
            )
        case Canary():
            return _Endpoint.TrafficRoutingConfigProperty(
                type="CANARY",
                canary_size=_percent(rollout.percent),
                wait_interval_in_seconds=int(rollout.bake_s),
            )
        case Linear():
            return _Endpoint.TrafficRoutingConfigProperty(
                type="LINEAR",
                linear_step_size=_percent(rollout.percent),
                wait_interval_in_seconds=int(rollout.bake_s),
            )
        case _:
            assert_never(rollout)


def _percent(value: int) -> sagemaker.CfnEndpoint.CapacitySizeProperty:
    return _Endpoint.CapacitySizeProperty(type="CAPACITY_PERCENT", value=value)
