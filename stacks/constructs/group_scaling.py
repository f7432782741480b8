"""The policies of the group, their alarms, and what happens by the clock."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_autoscaling as autoscaling
from constructs import Construct

from deployer.spec.resolved import Expression, Metric, Policies, Stepping, Tracking
from stacks.constructs.alarms import PlannedAlarm, named

_Policy = autoscaling.CfnScalingPolicy


class GroupScaling(Construct):
    """What EC2 Auto Scaling does with the group. ``label`` names the target group to a predefined metric."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        scaling: Policies,
        group: autoscaling.CfnAutoScalingGroup,
        names: Mapping[str, str],
        label: str,
        warmup_s: int,
    ) -> None:
        super().__init__(scope, id)
        self._group, self._names, self._label, self._warmup_s = group, names, label, warmup_s
        self.policies: list[autoscaling.CfnScalingPolicy] = []
        for tracking in scaling.tracking:
            self._track(tracking)
        for stepping in scaling.stepping:
            self._step(stepping)
        for action in scaling.schedules:
            autoscaling.CfnScheduledAction(
                self,
                action.name,
                auto_scaling_group_name=group.ref,
                recurrence=action.schedule,
                time_zone="Etc/UTC",
                min_size=action.capacity,
                max_size=action.capacity,
                desired_capacity=action.capacity,
            )

    def _track(self, tracking: Tracking) -> None:
        predefined = custom = None
        if tracking.predefined:
            of_balancer = tracking.predefined.startswith("ALB")
            predefined = _Policy.PredefinedMetricSpecificationProperty(
                predefined_metric_type=tracking.predefined,
                resource_label=self._label if of_balancer else None,
            )
        elif isinstance(tracking.metric, Expression):
            custom = self._expression(tracking.metric)
        elif tracking.metric is not None:
            custom = self._custom(named(tracking.metric, self._names))
        self.policies.append(
            _Policy(
                self,
                tracking.name,
                auto_scaling_group_name=self._group.ref,
                policy_type="TargetTrackingScaling",
                estimated_instance_warmup=self._warmup_s,
                target_tracking_configuration=_Policy.TargetTrackingConfigurationProperty(
                    target_value=tracking.target,
                    predefined_metric_specification=predefined,
                    customized_metric_specification=custom,
                ),
            )
        )

    def _custom(
        self, metric: Metric
    ) -> autoscaling.CfnScalingPolicy.CustomizedMetricSpecificationProperty:
        return _Policy.CustomizedMetricSpecificationProperty(
            namespace=metric.namespace,
            metric_name=metric.name,
            statistic=metric.statistic,
            unit=metric.unit or None,
            dimensions=_dimensions(metric) or None,
        )

    def _expression(
        self, value: Expression
    ) -> autoscaling.CfnScalingPolicy.CustomizedMetricSpecificationProperty:
        inputs = []
        for row in value.inputs:
            metric = named(row.metric, self._names)
            inputs.append(
                _Policy.TargetTrackingMetricDataQueryProperty(
                    id=row.id,
                    return_data=False,
                    metric_stat=_Policy.TargetTrackingMetricStatProperty(
                        metric=_Policy.MetricProperty(
                            namespace=metric.namespace,
                            metric_name=metric.name,
                            dimensions=_dimensions(metric),
                        ),
                        stat=metric.statistic,
                    ),
                )
            )
        result = _Policy.TargetTrackingMetricDataQueryProperty(
            id="value", expression=value.expression, label=value.label, return_data=True
        )
        return _Policy.CustomizedMetricSpecificationProperty(metrics=[*inputs, result])

    def _step(self, stepping: Stepping) -> None:
        policy = _Policy(
            self,
            stepping.name,
            auto_scaling_group_name=self._group.ref,
            policy_type="StepScaling",
            adjustment_type="ChangeInCapacity",
            metric_aggregation_type="Average",
            estimated_instance_warmup=self._warmup_s,
            step_adjustments=[
                _Policy.StepAdjustmentProperty(
                    metric_interval_lower_bound=row.lower,
                    metric_interval_upper_bound=row.upper,
                    scaling_adjustment=row.change,
                )
                for row in stepping.ranges
            ],
        )
        self.policies.append(policy)
        alarm = stepping.alarm
        PlannedAlarm(self, alarm.name, alarm=alarm, names=self._names, actions=[policy.ref])


def _dimensions(metric: Metric) -> list[autoscaling.CfnScalingPolicy.MetricDimensionProperty]:
    return [
        _Policy.MetricDimensionProperty(name=name, value=value)
        for name, value in metric.dimensions.items()
    ]
