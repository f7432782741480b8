"""A rollout of the specification as SageMaker shifts traffic: canary, linear, rolling or all at once; pure."""

from __future__ import annotations

from typing import Any, assert_never

from deployer.spec.resolved import Resolved
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
from deployer.spec.target import SageMakerServerless

Document = dict[str, Any]
PERCENT = "CAPACITY_PERCENT"


def deployment_config(resolved: Resolved) -> Document:
    """Return the DeploymentConfig of CreateEndpoint and UpdateEndpoint; none for a serverless endpoint."""
    rollout = resolved.spec.rollout
    if isinstance(resolved.spec.target, SageMakerServerless):
        return {}  # a serverless endpoint has no fleet to shift traffic between
    limit: Document = {}
    if resolved.rollout_timeout_s is not None:
        limit = {"MaximumExecutionTimeoutInSeconds": resolved.rollout_timeout_s}
    bake_s = int(rollout.bake_s)
    match rollout:
        case Rolling():
            size = {"Type": PERCENT, "Value": rollout.batch_percent}
            policy = {"MaximumBatchSize": size, "WaitIntervalInSeconds": bake_s} | limit
            document: Document = {"RollingUpdatePolicy": policy}
        case AllAtOnce():
            traffic: Document = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
            document = {"BlueGreenUpdatePolicy": _blue_green(traffic, bake_s) | limit}
        case Canary():
            size = {"Type": PERCENT, "Value": rollout.percent}
            traffic = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": bake_s}
            document = {"BlueGreenUpdatePolicy": _blue_green(traffic, 0) | limit}
        case Linear():
            size = {"Type": PERCENT, "Value": rollout.percent}
            traffic = {"Type": "LINEAR", "LinearStepSize": size, "WaitIntervalInSeconds": bake_s}
            document = {"BlueGreenUpdatePolicy": _blue_green(traffic, 0) | limit}
        case _:
            assert_never(rollout)
    if resolved.rollback_alarms:
        names = [{"AlarmName": name} for name in resolved.rollback_alarms]
        document["AutoRollbackConfiguration"] = {"Alarms": names}
    return {"DeploymentConfig": document}


def _blue_green(traffic: Document, keep_s: int) -> Document:
    return {"TrafficRoutingConfiguration": traffic, "TerminationWaitInSeconds": keep_s}
