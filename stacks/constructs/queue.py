"""The queue of a fleet that takes its work from one, and where given up messages go."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from deployer.spec.fleet_resolved import ResolvedFleet

DEAD_RETENTION_S = 1209600
"""14 days, the longest: somebody must have time to look."""


class WorkQueue(Construct):
    """An encrypted queue with its dead-letter queue; both refuse calls without TLS."""

    def __init__(self, scope: Construct, id: str, *, resolved: ResolvedFleet) -> None:
        super().__init__(scope, id)
        wish = resolved.target.queue
        assert wish is not None
        self.dead = sqs.CfnQueue(
            self,
            "Dead",
            queue_name=f"{resolved.queue}-dead",
            message_retention_period=DEAD_RETENTION_S,
            sqs_managed_sse_enabled=True,
        )
        self.resource = sqs.CfnQueue(
            self,
            "Resource",
            queue_name=resolved.queue,
            visibility_timeout=wish.visibility_s,
            message_retention_period=wish.retention_s,
            receive_message_wait_time_seconds=20,
            sqs_managed_sse_enabled=True,
            redrive_policy={
                "deadLetterTargetArn": self.dead.attr_arn,
                "maxReceiveCount": wish.max_receives,
            },
        )
        for word, queue in (("Dead", self.dead), ("Work", self.resource)):
            queue.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
            sqs.CfnQueuePolicy(
                self,
                f"{word}Policy",
                queues=[queue.ref],
                policy_document={
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "OnlyTls",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "sqs:*",
                            "Resource": queue.attr_arn,
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            )
