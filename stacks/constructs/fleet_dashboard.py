"""One dashboard of a fleet: traffic, errors, latency against the objective, or the queue; capacity; the alarms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deployer.spec import naming
from deployer.spec.fleet_resolved import LOAD_BALANCER, TARGET_GROUP, ResolvedFleet

_ELB, _SQS = "AWS/ApplicationELB", "AWS/SQS"
_WIDTH, _HEIGHT = 12, 6
_Line = tuple[str, str, str, Mapping[str, str]]


class FleetDashboard(Construct):
    """The fleet at a glance, with the state of the alarms that stop a rollout."""

    def __init__(
        self, scope: Construct, id: str, *, resolved: ResolvedFleet, names: Mapping[str, str]
    ) -> None:
        super().__init__(scope, id)
        widgets = _widgets(resolved)
        for number, widget in enumerate(widgets):
            column, row = number % 2, number // 2
            widget.update(x=column * _WIDTH, y=row * _HEIGHT, width=_WIDTH, height=_HEIGHT)
        body = json.dumps({"widgets": widgets})
        for number, mark in enumerate(names):
            body = body.replace(json.dumps(mark), f'"${{Name{number}}}"')
        values = {f"Name{number}": value for number, value in enumerate(names.values())}
        cloudwatch.CfnDashboard(
            self,
            "Resource",
            # A dashboard's name is the account's, not the region's.
            dashboard_name=naming.dashboard(resolved.spec.name, resolved.place.region),
            dashboard_body=cdk.Fn.sub(body, values or None),
        )


def _widgets(resolved: ResolvedFleet) -> list[dict[str, Any]]:
    graphs = _queue(resolved) if resolved.queue else _traffic(resolved)
    group = {"AutoScalingGroupName": resolved.group}
    graphs += [
        _graph(
            resolved,
            "Instances",
            [
                ("AWS/AutoScaling", name, "Average", group)
                for name in (
                    "GroupDesiredCapacity",
                    "GroupInServiceInstances",
                    "GroupPendingInstances",
                )
            ],
        ),
        _graph(
            resolved,
            "Processors of the instances, percent",
            [("AWS/EC2", "CPUUtilization", word, group) for word in ("Average", "Maximum")],
        ),
    ]
    if resolved.rollback_alarms:
        place = resolved.place
        where = f"arn:${{AWS::Partition}}:cloudwatch:{place.region}:{place.account}:alarm"
        arns = [f"{where}:{name}" for name in resolved.rollback_alarms]
        graphs.append({"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}})
    return graphs


def _traffic(resolved: ResolvedFleet) -> list[dict[str, Any]]:
    where = {"LoadBalancer": LOAD_BALANCER, "TargetGroup": TARGET_GROUP}
    latency = _graph(
        resolved,
        "Latency of the servers, seconds",
        [(_ELB, "TargetResponseTime", statistic, where) for statistic in ("p50", "p90", "p99")],
    )
    latency["properties"]["annotations"] = {
        "horizontal": [
            {"label": key.removesuffix("_ms"), "value": value / 1000}
            for key, value in resolved.spec.slo.items()
        ]
    }
    failures = ("HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count")
    return [
        _graph(
            resolved,
            "Requests and failures, a minute",
            [
                (_ELB, "RequestCount", "Sum", where),
                *((_ELB, name, "Sum", where) for name in failures),
                (_ELB, "HTTPCode_ELB_5XX_Count", "Sum", {"LoadBalancer": LOAD_BALANCER}),
            ],
        ),
        latency,
        _graph(
            resolved,
            "Hosts at the load balancer",
            [(_ELB, name, "Maximum", where) for name in ("HealthyHostCount", "UnHealthyHostCount")],
        ),
        _graph(
            resolved,
            "Requests of one instance, a minute",
            [(_ELB, "RequestCountPerTarget", "Sum", {"TargetGroup": TARGET_GROUP})],
        ),
    ]


def _queue(resolved: ResolvedFleet) -> list[dict[str, Any]]:
    work, dead = {"QueueName": resolved.queue}, {"QueueName": f"{resolved.queue}-dead"}
    waiting = "ApproximateNumberOfMessagesVisible"
    return [
        _graph(
            resolved,
            "Messages that wait, are worked on, were given up",
            [
                (_SQS, waiting, "Maximum", work),
                (_SQS, "ApproximateNumberOfMessagesNotVisible", "Maximum", work),
                (_SQS, waiting, "Maximum", dead),
            ],
        ),
        _graph(
            resolved,
            "Age of the oldest message, seconds",
            [(_SQS, "ApproximateAgeOfOldestMessage", "Maximum", work)],
        ),
        _graph(
            resolved,
            "Messages in and out, a minute",
            [
                (_SQS, "NumberOfMessagesSent", "Sum", work),
                (_SQS, "NumberOfMessagesDeleted", "Sum", work),
            ],
        ),
    ]


def _graph(resolved: ResolvedFleet, title: str, lines: list[_Line]) -> dict[str, Any]:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": resolved.place.region,
            "period": 60,
            "view": "timeSeries",
            "metrics": [
                [namespace, metric, *_words(dimensions), {"stat": statistic}]
                for namespace, metric, statistic, dimensions in lines
            ],
        },
    }


def _words(dimensions: Mapping[str, str]) -> list[str]:
    return [word for pair in dimensions.items() for word in pair]
