"""A fleet of EC2 instances behind a load balancer, or behind a queue."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from deployer.spec.fleet_resolved import ResolvedFleet
from stacks.constructs import placeholders
from stacks.constructs.alarms import PlannedAlarm
from stacks.constructs.balancer import Balancer
from stacks.constructs.fleet import Fleet
from stacks.constructs.fleet_dashboard import FleetDashboard
from stacks.constructs.group_scaling import GroupScaling
from stacks.constructs.network import Network
from stacks.constructs.queue import WorkQueue


class Ec2FleetStack(cdk.Stack):
    """All that a ResolvedFleet describes, in its account and region, with its tags on everything."""

    def __init__(self, scope: Construct, id: str, *, resolved: ResolvedFleet) -> None:
        place = resolved.place
        super().__init__(
            scope,
            id,
            synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            env=cdk.Environment(account=place.account, region=place.region),
            description=f"{resolved.spec.target.kind} of {resolved.spec.name}",
        )
        for key, value in resolved.tags.items():
            cdk.Tags.of(self).add(key, value)
        placeholders.refuse(self, resolved.placeholders)
        self._resolved = resolved
        log = logs.CfnLogGroup(
            self,
            "Log",
            log_group_name=resolved.log_group,
            retention_in_days=resolved.target.log_days,
        )
        log.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        network = Network(self, "Network", resolved=resolved)
        group = self._instances_group(network)
        balancer = self._balancer(network, group)
        fleet = Fleet(
            self,
            "Fleet",
            resolved=resolved,
            network=network,
            group=group,
            target_group_arns=[balancer.targets.ref] if balancer else [],
        )
        fleet.resource.add_resource_dependency(log)
        if balancer is not None:
            # Without the listener the group's instances would never be healthy.
            fleet.resource.add_resource_dependency(balancer.listener)
        names = balancer.names if balancer else {}
        for alarm in self._alarms(names):
            fleet.resource.add_resource_dependency(alarm)
        FleetDashboard(self, "Dashboard", resolved=resolved, names=names)
        if resolved.scaling is not None:
            GroupScaling(
                self,
                "Scaling",
                scaling=resolved.scaling,
                group=fleet.resource,
                names=names,
                label=balancer.label if balancer else "",
                warmup_s=resolved.refresh.warmup_s,
            )
        if resolved.queue:
            work = WorkQueue(self, "Queue", resolved=resolved)
            fleet.resource.add_resource_dependency(work.resource)
            self._output("QueueUrl", work.resource.ref)
            self._output("DeadLettersUrl", work.dead.ref)
            self._output("Results", resolved.results_s3_uri)
        self._outputs(balancer)

    def _instances_group(self, network: Network) -> ec2.CfnSecurityGroup:
        group = ec2.CfnSecurityGroup(
            self,
            "Instances",
            group_description="What reaches the instances, and what they reach",
            vpc_id=network.vpc_id,
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_ip="0.0.0.0/0",
                    description="HTTPS: S3, ECR, CloudWatch, packages",
                )
            ],
        )
        return group

    def _balancer(self, network: Network, group: ec2.CfnSecurityGroup) -> Balancer | None:
        listener = self._resolved.target.listener
        if listener is None:
            return None
        return Balancer(
            self,
            "Balancer",
            resolved=self._resolved,
            listener=listener,
            network=network,
            fleet_group=group,
        )

    def _alarms(self, names: Mapping[str, str]) -> list[cdk.CfnResource]:
        return [
            PlannedAlarm(self, alarm.name, alarm=alarm, names=names).resource
            for alarm in self._resolved.alarms
        ]

    def _outputs(self, balancer: Balancer | None) -> None:
        resolved = self._resolved
        self._output("BundleDigest", resolved.artifact.digest)
        self._output("DocumentDigest", resolved.digest)
        self._output("GroupName", resolved.group)
        self._output("LogGroup", resolved.log_group)
        if balancer is None:
            return
        listener = resolved.target.listener
        assert listener is not None
        host = balancer.resource.attr_dns_name
        self._output("Url", cdk.Fn.sub(f"{listener.protocol}://${{Host}}", {"Host": host}))
        self._output("TargetGroupArn", balancer.targets.ref)
        if balancer.logs is not None:
            self._output("AccessLogs", balancer.logs.bucket.ref)

    def _output(self, name: str, value: str) -> None:
        cdk.CfnOutput(self, name, value=value)
