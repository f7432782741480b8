"""CloudWatch alarms, as planning wrote them."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deployer.spec.resolved import Alarm


class MetricAlarm(Construct):
    """One alarm; ``actions`` are ARNs of what it sets off."""

    def __init__(
        self, scope: Construct, id: str, *, alarm: Alarm, actions: Sequence[str] = ()
    ) -> None:
        super().__init__(scope, id)
        metric = alarm.metric
        percentile = metric.statistic.startswith("p")
        self.resource = cloudwatch.CfnAlarm(
            self,
            "Resource",
            alarm_name=alarm.name,
            alarm_description=alarm.description,
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=[
                cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
                for name, value in metric.dimensions.items()
            ],
            statistic=None if percentile else metric.statistic,
            extended_statistic=metric.statistic if percentile else None,
            unit=metric.unit or None,
            period=alarm.period_s,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=alarm.comparison,
            treat_missing_data=alarm.missing,
            evaluate_low_sample_count_percentile=alarm.low_samples or None,
            alarm_actions=list(actions) or None,
        )
