"""The instances: launch template, Auto Scaling group with its hooks and its way of taking in a new version."""

from __future__ import annotations

import math
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from deployer.spec.fleet_resolved import ResolvedFleet
from stacks.constructs import launch
from stacks.constructs.network import Network
from stacks.constructs.role import EC2, ExecutionRole

_Group = autoscaling.CfnAutoScalingGroup
_Template = ec2.CfnLaunchTemplate
LOGICAL_ID = "Group"
"""The name under which instances signal the stack; ``boot/report.sh`` says it."""

DRAIN_MARGIN_S = 60
METRICS = (
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupPendingInstances",
    "GroupTotalInstances",
)
NO_TOPIC = "the events are on EventBridge; a topic without a reader would only cost"
ENCRYPTED = "the template's volumes are encrypted; the rule stumbles over the reference to it"


class Fleet(Construct):
    """The group, in the instances' subnets; ``template`` is what an instance is made of."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        resolved: ResolvedFleet,
        network: Network,
        group: ec2.CfnSecurityGroup,
        target_group_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, id)
        role = ExecutionRole(self, "Role", resolved=resolved, service=EC2)
        profile = iam.CfnInstanceProfile(self, "Profile", roles=[role.name])
        self.template = _Template(
            self,
            "Template",
            launch_template_data=self._data(resolved, network, group, profile),
        )
        self.resource = _Group(
            self,
            "Resource",
            auto_scaling_group_name=resolved.group,
            min_size=str(resolved.least),
            max_size=str(resolved.most),
            vpc_zone_identifier=network.instance_subnets,
            target_group_arns=list(target_group_arns) or None,
            health_check_type="ELB" if target_group_arns else "EC2",
            health_check_grace_period=_grace_s(resolved),
            default_instance_warmup=resolved.refresh.warmup_s,
            capacity_rebalance=True if resolved.target.spot is not None else None,
            metrics_collection=[
                _Group.MetricsCollectionProperty(granularity="1Minute", metrics=list(METRICS))
            ],
            lifecycle_hook_specification_list=_hooks(resolved),
            **self._instances(resolved),
        )
        self.resource.override_logical_id(LOGICAL_ID)
        self._policies(resolved)
        for earlier in network.ready:
            self.resource.add_resource_dependency(earlier)
        reasons = {"AwsSolutions-AS3": NO_TOPIC}
        if resolved.target.spot is not None or resolved.target.types:
            reasons["AwsSolutions-EC26"] = ENCRYPTED
        for rule, reason in reasons.items():
            cdk.Validations.of(self.resource).acknowledge(
                cdk.Acknowledgment(id=rule, reason=reason)
            )
        pool = resolved.target.warm_pool
        if pool is not None:
            autoscaling.CfnWarmPool(
                self,
                "WarmPool",
                auto_scaling_group_name=self.resource.ref,
                min_size=pool.size,
                pool_state=pool.state.capitalize(),
            )

    def _data(
        self,
        resolved: ResolvedFleet,
        network: Network,
        group: ec2.CfnSecurityGroup,
        profile: iam.CfnInstanceProfile,
    ) -> ec2.CfnLaunchTemplate.LaunchTemplateDataProperty:
        target = resolved.target
        return _Template.LaunchTemplateDataProperty(
            image_id=resolved.ami_id,
            instance_type=target.instance_type,
            iam_instance_profile=_Template.IamInstanceProfileProperty(arn=profile.attr_arn),
            metadata_options=_Template.MetadataOptionsProperty(
                http_tokens="required", http_put_response_hop_limit=1, http_endpoint="enabled"
            ),
            monitoring=_Template.MonitoringProperty(enabled=True),
            block_device_mappings=[
                _Template.BlockDeviceMappingProperty(
                    device_name="/dev/xvda",
                    ebs=_Template.EbsProperty(
                        volume_type="gp3",
                        volume_size=target.volume_gb,
                        encrypted=True,
                        delete_on_termination=True,
                    ),
                )
            ],
            network_interfaces=[
                _Template.NetworkInterfaceProperty(
                    device_index=0,
                    associate_public_ip_address=network.public,
                    groups=[group.attr_group_id],
                    delete_on_termination=True,
                )
            ],
            tag_specifications=[
                _Template.TagSpecificationProperty(
                    resource_type="volume",
                    tags=[cdk.CfnTag(key=key, value=value) for key, value in resolved.tags.items()],
                )
            ],
            user_data=cdk.Fn.base64(launch.render(resolved)),
        )

    def _instances(self, resolved: ResolvedFleet) -> dict[str, object]:
        """Return the template alone, or with the types and ways to pay that the group may mix."""
        target = resolved.target
        chosen = _Group.LaunchTemplateSpecificationProperty(
            launch_template_id=self.template.ref, version=self.template.attr_latest_version_number
        )
        if target.spot is None and not target.types:
            return {"launch_template": chosen}
        spot = target.spot
        distribution = _Group.InstancesDistributionProperty(
            on_demand_base_capacity=spot.on_demand_base if spot else None,
            on_demand_percentage_above_base_capacity=spot.on_demand_percent if spot else 100,
            on_demand_allocation_strategy="prioritized",
            spot_allocation_strategy="price-capacity-optimized" if spot else None,
        )
        rows = [(row.instance_type, str(row.weight)) for row in target.types]
        rows = rows or [(target.instance_type, "1")]
        overrides = [
            _Group.LaunchTemplateOverridesProperty(instance_type=name, weighted_capacity=weight)
            for name, weight in rows
        ]
        mixed = _Group.MixedInstancesPolicyProperty(
            instances_distribution=distribution,
            launch_template=_Group.LaunchTemplateProperty(
                launch_template_specification=chosen, overrides=overrides
            ),
        )
        return {"mixed_instances_policy": mixed}

    def _policies(self, resolved: ResolvedFleet) -> None:
        """A first fleet is there when its instances say so; a new version comes by an instance refresh."""
        refresh = resolved.refresh
        alarms = list(resolved.rollback_alarms)
        heaviest = max((row.weight for row in resolved.target.types), default=1)
        count = math.ceil(resolved.least / heaviest)
        if count:
            minutes = math.ceil(resolved.target.health.boot_timeout_s / 60) + 2
            self.resource.cfn_options.creation_policy = cdk.CfnCreationPolicy(
                resource_signal=cdk.CfnResourceSignal(count=count, timeout=f"PT{minutes}M")
            )
        self.resource.cfn_options.update_policy = cdk.CfnUpdatePolicy(
            auto_scaling_instance_refresh=cdk.CfnAutoScalingInstanceRefresh(
                strategy="Rolling",
                preferences=cdk.CfnAutoScalingInstanceRefreshPreferences(
                    min_healthy_percentage=refresh.least_percent,
                    max_healthy_percentage=refresh.most_percent,
                    instance_warmup=refresh.warmup_s,
                    bake_time=refresh.bake_s or None,
                    checkpoint_percentages=list(refresh.checkpoints) or None,
                    checkpoint_delay=refresh.checkpoint_delay_s if refresh.checkpoints else None,
                    alarm_specification=cdk.CfnAutoScalingInstanceRefreshAlarmSpecification(
                        alarms=alarms
                    )
                    if alarms
                    else None,
                ),
            )
        )


def _grace_s(resolved: ResolvedFleet) -> int:
    """After the launch hook /ping answers already: the load balancer only has to notice."""
    health = resolved.target.health
    return health.interval_s * (health.healthy + 1)


def _hooks(
    resolved: ResolvedFleet,
) -> list[autoscaling.CfnAutoScalingGroup.LifecycleHookSpecificationProperty]:
    """Hold a new instance back until it serves, and an old one until it has drained."""
    # The launch hook's time ends after the instance has given up by itself and told why.
    boot_s = resolved.target.health.boot_timeout_s + DRAIN_MARGIN_S
    return [
        _Group.LifecycleHookSpecificationProperty(
            lifecycle_hook_name="launching",
            lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
            heartbeat_timeout=boot_s,
            default_result="ABANDON",
        ),
        _Group.LifecycleHookSpecificationProperty(
            lifecycle_hook_name="terminating",
            lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
            heartbeat_timeout=resolved.drain.stop_s + DRAIN_MARGIN_S,
            default_result="CONTINUE",
        ),
    ]
