"""CloudWatch alarms, as planning wrote them: on a metric, or on an expression of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deployer.spec.resolved import Alarm, Expression, Metric

_Alarm = cloudwatch.CfnAlarm
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def named(metric: Metric, names: Mapping[str, str]) -> Metric:
    """Return a metric whose dimensions hold the real names."""
    found = {key: names.get(value, value) for key, value in metric.dimensions.items()}
    return replace(metric, dimensions=found)


class PlannedAlarm(Construct):
    """One alarm; ``actions`` are ARNs of what it sets off, ``names`` what a load balancer is called only now."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        alarm: Alarm,
        names: Mapping[str, str] = _NO_NAMES,
        actions: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, id)
        watched = alarm.metric
        of_value = (
            _expression(watched, names, alarm.period_s)
            if isinstance(watched, Expression)
            else _metric(named(watched, names), alarm.period_s)
        )
        self.resource = _Alarm(
            self,
            "Resource",
            alarm_name=alarm.name,
            alarm_description=alarm.description,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=alarm.comparison,
            treat_missing_data=alarm.missing,
            evaluate_low_sample_count_percentile=alarm.low_samples or None,
            alarm_actions=list(actions) or None,
            **of_value,
        )


def _metric(metric: Metric, period_s: int) -> dict[str, Any]:
    percentile = metric.statistic.startswith("p")
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "dimensions": _dimensions(metric),
        "statistic": None if percentile else metric.statistic,
        "extended_statistic": metric.statistic if percentile else None,
        "unit": metric.unit or None,
        "period": period_s,
    }


def _expression(watched: Expression, names: Mapping[str, str], period_s: int) -> dict[str, Any]:
    inputs = [
        _Alarm.MetricDataQueryProperty(
            id=row.id, return_data=False, metric_stat=_stat(named(row.metric, names), period_s)
        )
        for row in watched.inputs
    ]
    value = _Alarm.MetricDataQueryProperty(
        id="value", expression=watched.expression, label=watched.label, return_data=True
    )
    return {"metrics": [value, *inputs]}


def _stat(metric: Metric, period_s: int) -> cloudwatch.CfnAlarm.MetricStatProperty:
    return _Alarm.MetricStatProperty(
        metric=_Alarm.MetricProperty(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=_dimensions(metric),
        ),
        stat=metric.statistic,
        period=period_s,
        unit=metric.unit or None,
    )


def _dimensions(metric: Metric) -> list[cloudwatch.CfnAlarm.DimensionProperty]:
    return [
        _Alarm.DimensionProperty(name=name, value=value)
        for name, value in metric.dimensions.items()
    ]
