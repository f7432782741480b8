"""The scalable target of the variant, its policies, and the alarms of the step policies."""

from __future__ import annotations

from aws_cdk import aws_applicationautoscaling as autoscaling
from constructs import Construct

from deployer.spec.resolved import Metric, Resolved, Scaling, Stepping, Tracking
from stacks.constructs.alarms import PlannedAlarm

_Policy = autoscaling.CfnScalingPolicy
_Target = autoscaling.CfnScalableTarget


class VariantScaling(Construct):
    """What Application Auto Scaling does with the variant; it uses its service-linked role.

    ``target`` must be made after the endpoint, which it names without referring to it.
    """

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved, scaling: Scaling) -> None:
        super().__init__(scope, id)
        self.target = _Target(
            self,
            "Target",
            service_namespace="sagemaker",
            resource_id=resolved.resource_id,
            scalable_dimension=scaling.dimension,
            min_capacity=scaling.min_capacity,
            max_capacity=scaling.max_capacity,
            scheduled_actions=[
                _Target.ScheduledActionProperty(
                    scheduled_action_name=action.name,
                    schedule=action.schedule,
                    timezone="UTC",
                    scalable_target_action=_Target.ScalableTargetActionProperty(
                        min_capacity=action.capacity, max_capacity=action.capacity
                    ),
                )
                for action in scaling.schedules
            ]
            or None,
        )
        for tracking in scaling.tracking:
            self._track(tracking)
        for stepping in scaling.stepping:
            self._step(stepping)

    def _track(self, tracking: Tracking) -> None:
        predefined = custom = None
        if not isinstance(tracking.metric, Metric):
            predefined = _Policy.PredefinedMetricSpecificationProperty(
                predefined_metric_type=tracking.predefined
            )
        else:
            custom = _custom(tracking.metric)
        _Policy(
            self,
            tracking.name,
            policy_name=tracking.name,
            policy_type="TargetTrackingScaling",
            scaling_target_id=self.target.ref,
            target_tracking_scaling_policy_configuration=_Policy.TargetTrackingScalingPolicyConfigurationProperty(
                target_value=tracking.target,
                predefined_metric_specification=predefined,
                customized_metric_specification=custom,
                scale_in_cooldown=tracking.in_cooldown_s,
                scale_out_cooldown=tracking.out_cooldown_s,
            ),
        )

    def _step(self, stepping: Stepping) -> None:
        policy = _Policy(
            self,
            stepping.name,
            policy_name=stepping.name,
            policy_type="StepScaling",
            scaling_target_id=self.target.ref,
            step_scaling_policy_configuration=_Policy.StepScalingPolicyConfigurationProperty(
                adjustment_type="ChangeInCapacity",
                cooldown=stepping.cooldown_s,
                metric_aggregation_type=stepping.aggregation,
                step_adjustments=[
                    _Policy.StepAdjustmentProperty(
                        metric_interval_lower_bound=step.lower,
                        metric_interval_upper_bound=step.upper,
                        scaling_adjustment=step.change,
                    )
                    for step in stepping.ranges
                ],
            ),
        )
        PlannedAlarm(self, stepping.alarm.name, alarm=stepping.alarm, actions=[policy.ref])


def _custom(metric: Metric) -> autoscaling.CfnScalingPolicy.CustomizedMetricSpecificationProperty:
    return _Policy.CustomizedMetricSpecificationProperty(
        namespace=metric.namespace,
        metric_name=metric.name,
        statistic=metric.statistic,
        unit=metric.unit or None,
        dimensions=[
            _Policy.MetricDimensionProperty(name=name, value=value)
            for name, value in metric.dimensions.items()
        ]
        or None,
    )
