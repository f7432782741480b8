"""One dashboard: traffic, errors, latency against the objective, capacity, and the alarms."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deployer.spec import naming
from deployer.spec.resolved import VARIANT, Resolved
from deployer.spec.target import SageMakerAsync, SageMakerServerless

_REQUESTS = "AWS/SageMaker"
_MACHINES = "/aws/sagemaker/Endpoints"
_WIDTH, _HEIGHT = 12, 6


class Dashboard(Construct):
    """The endpoint at a glance, with the state of the alarms that stop a rollout."""

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        super().__init__(scope, id)
        # A dashboard's name is the account's, not the region's.
        name = naming.dashboard(resolved.endpoint_name, resolved.place.region)
        cloudwatch.CfnDashboard(
            self,
            "Resource",
            dashboard_name=name,
            dashboard_body=json.dumps({"widgets": _widgets(resolved)}),
        )


def _widgets(resolved: Resolved) -> list[dict[str, Any]]:
    place = resolved.place
    watched = f"arn:{place.partition}:cloudwatch:{place.region}:{place.account}:alarm"
    graphs = [
        _graph(
            resolved,
            "Requests and failures, a minute",
            [
                (_REQUESTS, "Invocations", "Sum"),
                (_REQUESTS, "Invocation4XXErrors", "Sum"),
                (_REQUESTS, "Invocation5XXErrors", "Sum"),
                (_REQUESTS, "InvocationModelErrors", "Sum"),
            ],
        ),
        _latency(resolved),
        *_capacity(resolved),
    ]
    if resolved.rollback_alarms:
        arns = [f"{watched}:{name}" for name in resolved.rollback_alarms]
        graphs.append({"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}})
    for number, graph in enumerate(graphs):
        column, row = number % 2, number // 2
        graph.update(x=column * _WIDTH, y=row * _HEIGHT, width=_WIDTH, height=_HEIGHT)
    return graphs


def _latency(resolved: Resolved) -> dict[str, Any]:
    graph = _graph(
        resolved,
        "Latency of the model, microseconds",
        [(_REQUESTS, "ModelLatency", statistic) for statistic in ("p50", "p90", "p99")],
    )
    graph["properties"]["annotations"] = {
        "horizontal": [
            {"label": key.removesuffix("_ms"), "value": value * 1000}
            for key, value in resolved.spec.slo.items()
        ]
    }
    return graph


def _capacity(resolved: Resolved) -> list[dict[str, Any]]:
    target = resolved.spec.target
    if isinstance(target, SageMakerServerless):
        return [
            _graph(
                resolved,
                "Cold starts and concurrency",
                [
                    (_REQUESTS, "ModelSetupTime", "p90"),
                    (_REQUESTS, "ServerlessConcurrentExecutionsUtilization", "Maximum"),
                    (_REQUESTS, "ServerlessProvisionedConcurrencyUtilization", "Maximum"),
                ],
            )
        ]
    machines = _graph(
        resolved,
        "Use of the instances, percent",
        [
            (_MACHINES, "CPUUtilization", "Average"),
            (_MACHINES, "MemoryUtilization", "Average"),
            (_MACHINES, "DiskUtilization", "Maximum"),
        ],
    )
    if not isinstance(target, SageMakerAsync):
        busy = _graph(
            resolved,
            "Load of one instance",
            [
                (_REQUESTS, "InvocationsPerInstance", "Sum"),
                (_REQUESTS, "ConcurrentRequestsPerModel", "Maximum"),
            ],
        )
        return [busy, machines]
    queue = _graph(
        resolved,
        "Queue",
        [
            (_REQUESTS, "ApproximateBacklogSize", "Maximum"),
            (_REQUESTS, "ApproximateBacklogSizePerInstance", "Maximum"),
            (_REQUESTS, "ApproximateAgeOfOldestRequest", "Maximum"),
        ],
        of_variant=False,
    )
    return [queue, machines]


def _graph(
    resolved: Resolved,
    title: str,
    lines: list[tuple[str, str, str]],
    *,
    of_variant: bool = True,
) -> dict[str, Any]:
    dimensions = ["EndpointName", resolved.endpoint_name]
    if of_variant:
        dimensions += ["VariantName", VARIANT]
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": resolved.place.region,
            "period": 60,
            "view": "timeSeries",
            "metrics": [
                [namespace, metric, *dimensions, {"stat": statistic}]
                for namespace, metric, statistic in lines
            ],
        },
    }
