"""Alarms of a fleet: on a metric whose load balancer has a name only now, and on computed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deployer.spec.fleet_resolved import ComputedAlarm
from deployer.spec.resolved import Metric

_Alarm = cloudwatch.CfnAlarm


def named(metric: Metric, names: Mapping[str, str]) -> Metric:
    """Return a metric whose dimensions hold the real names."""
    found = {key: names.get(value, value) for key, value in metric.dimensions.items()}
    return replace(metric, dimensions=found)


class ValueAlarm(Construct):
    """One alarm on a computed value; ``actions`` are ARNs of what it sets off."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        alarm: ComputedAlarm,
        names: Mapping[str, str],
        actions: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, id)
        inputs = [
            _Alarm.MetricDataQueryProperty(
                id=row.id,
                return_data=False,
                metric_stat=_stat(named(row.metric, names), alarm.period_s),
            )
            for row in alarm.value.inputs
        ]
        value = _Alarm.MetricDataQueryProperty(
            id="value",
            expression=alarm.value.expression,
            label=alarm.value.label,
            return_data=True,
        )
        self.resource = _Alarm(
            self,
            "Resource",
            alarm_name=alarm.name,
            alarm_description=alarm.description,
            metrics=[value, *inputs],
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=alarm.comparison,
            treat_missing_data=alarm.missing,
            alarm_actions=list(actions) or None,
        )


def _stat(metric: Metric, period_s: int) -> cloudwatch.CfnAlarm.MetricStatProperty:
    return _Alarm.MetricStatProperty(
        metric=_Alarm.MetricProperty(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=[
                _Alarm.DimensionProperty(name=name, value=value)
                for name, value in metric.dimensions.items()
            ],
        ),
        stat=metric.statistic,
        period=period_s,
        unit=metric.unit or None,
    )
