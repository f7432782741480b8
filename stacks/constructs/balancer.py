"""The load balancer: who may call, how, and the target group that the fleet registers with."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from deployer.spec.fleet import HTTPS, Listener
from deployer.spec.fleet_resolved import LOAD_BALANCER, TARGET_GROUP, ResolvedFleet
from inference_code.contract import DEFAULT_PORT, PING_ROUTE
from stacks.constructs.network import Network

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.3, and 1.2 with forward secrecy."""

WORLD = "0.0.0.0/0"


class Balancer(Construct):
    """An Application Load Balancer, closed to all but the specification's addresses."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        resolved: ResolvedFleet,
        listener: Listener,
        network: Network,
        fleet_group: ec2.CfnSecurityGroup,
    ) -> None:
        super().__init__(scope, id)
        self.port = 443 if listener.protocol == HTTPS else 80
        self.group = self._security(listener, network, fleet_group)
        self.logs = AccessLogs(self, "Logs", resolved=resolved) if listener.access_logs else None
        self.resource = elb.CfnLoadBalancer(
            self,
            "Resource",
            type="application",
            scheme="internal" if listener.internal else "internet-facing",
            subnets=network.balancer_subnets,
            security_groups=[self.group.attr_group_id],
            load_balancer_attributes=[
                elb.CfnLoadBalancer.LoadBalancerAttributeProperty(key=key, value=value)
                for key, value in self._attributes(listener).items()
            ],
        )
        for earlier in (*network.ready, *([self.logs.policy] if self.logs else [])):
            self.resource.add_resource_dependency(earlier)
        if self.logs is None:
            cdk.Validations.of(self.resource).acknowledge(
                cdk.Acknowledgment(
                    id="AwsSolutions-ELB2", reason="the specification turns access logs off"
                )
            )
        self.targets = self._targets(resolved, network)
        self.listener = self._listener(listener)

    def _security(
        self, listener: Listener, network: Network, fleet: ec2.CfnSecurityGroup
    ) -> ec2.CfnSecurityGroup:
        group = ec2.CfnSecurityGroup(
            self,
            "Group",
            group_description="Who may call the load balancer",
            vpc_id=network.vpc_id,
            security_group_ingress=[
                ec2.CfnSecurityGroup.IngressProperty(
                    ip_protocol="tcp",
                    from_port=self.port,
                    to_port=self.port,
                    cidr_ip=block,
                    description="from the specification",
                )
                for block in listener.allow_cidrs
            ]
            or None,
            security_group_egress=[
                # One to nowhere, or EC2 would add one to everywhere.
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="icmp",
                    from_port=252,
                    to_port=86,
                    cidr_ip="255.255.255.255/32",
                    description="nothing else",
                )
            ],
        )
        if WORLD in listener.allow_cidrs:
            cdk.Validations.of(group).acknowledge(
                cdk.Acknowledgment(
                    id="AwsSolutions-EC23", reason="the specification opens it to the world by name"
                )
            )
        ports: dict[str, Any] = {
            "ip_protocol": "tcp",
            "from_port": DEFAULT_PORT,
            "to_port": DEFAULT_PORT,
        }
        ec2.CfnSecurityGroupEgress(
            self,
            "ToFleet",
            group_id=group.attr_group_id,
            destination_security_group_id=fleet.attr_group_id,
            description="to the servers",
            **ports,
        )
        ec2.CfnSecurityGroupIngress(
            self,
            "FromBalancer",
            group_id=fleet.attr_group_id,
            source_security_group_id=group.attr_group_id,
            description="from the load balancer",
            **ports,
        )
        return group

    def _attributes(self, listener: Listener) -> dict[str, str]:
        found = {
            "idle_timeout.timeout_seconds": str(listener.idle_timeout_s),
            "routing.http.drop_invalid_header_fields.enabled": "true",
            "routing.http.desync_mitigation_mode": "defensive",
            "access_logs.s3.enabled": "true" if self.logs else "false",
        }
        if self.logs is not None:
            found["access_logs.s3.bucket"] = self.logs.bucket.ref
        return found

    def _targets(self, resolved: ResolvedFleet, network: Network) -> elb.CfnTargetGroup:
        health = resolved.target.health
        return elb.CfnTargetGroup(
            self,
            "Targets",
            protocol="HTTP",
            port=DEFAULT_PORT,
            target_type="instance",
            vpc_id=network.vpc_id,
            health_check_path=PING_ROUTE,
            health_check_protocol="HTTP",
            health_check_interval_seconds=health.interval_s,
            health_check_timeout_seconds=health.timeout_s,
            healthy_threshold_count=health.healthy,
            unhealthy_threshold_count=health.unhealthy,
            matcher=elb.CfnTargetGroup.MatcherProperty(http_code="200"),
            target_group_attributes=[
                elb.CfnTargetGroup.TargetGroupAttributeProperty(key=key, value=value)
                for key, value in {
                    "load_balancing.algorithm.type": "least_outstanding_requests",
                    "deregistration_delay.timeout_seconds": str(resolved.drain.delay_s),
                    "stickiness.enabled": "false",
                }.items()
            ],
        )

    def _listener(self, listener: Listener) -> elb.CfnListener:
        secure = listener.protocol == HTTPS
        return elb.CfnListener(
            self,
            "Listener",
            load_balancer_arn=self.resource.ref,
            port=self.port,
            protocol=listener.protocol.upper(),
            certificates=[
                elb.CfnListener.CertificateProperty(certificate_arn=listener.certificate_arn)
            ]
            if secure
            else None,
            ssl_policy=TLS_POLICY if secure else None,
            default_actions=[
                elb.CfnListener.ActionProperty(type="forward", target_group_arn=self.targets.ref)
            ],
        )

    @property
    def label(self) -> str:
        """The load balancer and its target group as a predefined metric names them."""
        names = (
            self.resource.attr_load_balancer_full_name,
            self.targets.attr_target_group_full_name,
        )
        return str(cdk.Fn.join("/", list(names)))

    @property
    def names(self) -> dict[str, str]:
        """What stands in place of the names that a document cannot know."""
        return {
            LOAD_BALANCER: self.resource.attr_load_balancer_full_name,
            TARGET_GROUP: self.targets.attr_target_group_full_name,
        }


class AccessLogs(Construct):
    """The bucket of the access logs. It outlives the stack: `deployer destroy` empties and removes it."""

    def __init__(self, scope: Construct, id: str, *, resolved: ResolvedFleet) -> None:
        super().__init__(scope, id)
        self.bucket = s3.CfnBucket(
            self,
            "Bucket",
            public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
            ),
            # The log delivery takes no key of KMS.
            bucket_encryption=s3.CfnBucket.BucketEncryptionProperty(
                server_side_encryption_configuration=[
                    s3.CfnBucket.ServerSideEncryptionRuleProperty(
                        server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                            sse_algorithm="AES256"
                        )
                    )
                ]
            ),
            lifecycle_configuration=s3.CfnBucket.LifecycleConfigurationProperty(
                rules=[
                    s3.CfnBucket.RuleProperty(
                        id="expire", status="Enabled", expiration_in_days=resolved.target.log_days
                    )
                ]
            ),
        )
        self.bucket.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        cdk.Validations.of(self.bucket).acknowledge(
            cdk.Acknowledgment(id="AwsSolutions-S1", reason="it holds the access logs itself")
        )
        self.policy = s3.CfnBucketPolicy(
            self, "Policy", bucket=self.bucket.ref, policy_document=self._document(resolved)
        )
        # cdk-nag reads the resource of such a statement only when it is joined; cfn-lint would have it substituted.
        self.policy.cfn_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["I1022"]}}}
        # Retained with the bucket: it must hold while the last logs arrive.
        self.policy.apply_removal_policy(cdk.RemovalPolicy.RETAIN)

    def _document(self, resolved: ResolvedFleet) -> dict[str, Any]:
        """Let the account's own load balancers write, and nobody come without TLS."""
        place = resolved.place
        where = f"arn:{place.partition}:elasticloadbalancing:{place.region}:{place.account}"
        arn = self.bucket.attr_arn
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "DeliverLogs",
                    "Effect": "Allow",
                    "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
                    "Action": "s3:PutObject",
                    "Resource": cdk.Fn.join("/", [arn, "AWSLogs", place.account, "*"]),
                    "Condition": {"ArnLike": {"aws:SourceArn": f"{where}:loadbalancer/*"}},
                },
                {
                    "Sid": "OnlyTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [arn, cdk.Fn.join("", [arn, "/*"])],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        }
