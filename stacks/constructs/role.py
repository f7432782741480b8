"""The role of an endpoint or of a fleet: just the statements that planning wrote, inline, or one that exists."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved, Statement

SAGEMAKER = "sagemaker.amazonaws.com"
EC2 = "ec2.amazonaws.com"

WILDCARDS = {
    "ReadBundle": "every bundle of this deployment, under its own prefix: a rollback fetches an older one",
    "WriteOutput": "SageMaker names the objects, under this deployment's own prefix",
    "ReadInput": "callers name the objects, under the prefix that the specification names",
    "LogInToRegistry": "the login is an account's, not a repository's: AWS takes no resource for it",
    "WriteLogs": "SageMaker names the streams, one an instance, inside the endpoint's own log group",
    "PublishMetrics": "PutMetricData takes no resource; a condition holds it to SageMaker's namespaces",
    "WatchRollout": "alarms of this deployment, which the next version may name otherwise",
    "MakeInterface": "an interface has no name before it is made; subnets and groups are named",
    "UseInterface": "SageMaker names the interfaces that it makes",
    "FindNetwork": "AWS takes no resource for Describe of a network",
    "AnswerHook": "the group's own ARN holds an id that is known only when it is made; its name is said",
    "SignalStack": "the stack's own ARN ends in an id that is known only when it is made; its name is said",
    "OpenSession": "AWS takes no resource for the Session Manager's channels",
    "WriteResults": "senders name the results, under this deployment's own prefix",
}
"""Why a statement of this ``Sid`` may hold a wildcard; one without a reason here is a finding of cdk-nag."""

POLICY = "deployer"
"""The name of the role's one inline policy."""

DESCRIPTIONS = {
    SAGEMAKER: "Execution role of a SageMaker deployment, made by deployer",
    EC2: "Role of the instances of a fleet, made by deployer",
}


class ExecutionRole(Construct):
    """The role that ``service`` assumes. ``arn`` is a reference to it, so that what needs it is made after it.

    The permissions are part of the role itself: a model cannot be made between role and permission.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        resolved: Resolved | ResolvedFleet,
        service: str = SAGEMAKER,
    ) -> None:
        super().__init__(scope, id)
        role = resolved.role
        self.arn, self.name = role.arn, role.name
        if not role.made:
            return
        resource = iam.CfnRole(
            self,
            "Resource",
            role_name=role.name,
            description=DESCRIPTIONS[service],
            assume_role_policy_document=_document([_trust(service, resolved.place.account)]),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name=POLICY,
                    policy_document=_document([_statement(s) for s in role.statements]),
                )
            ],
        )
        self.arn, self.name = resource.attr_arn, resource.ref
        for statement in role.statements:
            _acknowledge(self, statement)


def _trust(service: str, account: str) -> dict[str, Any]:
    """Let the service assume the role; SageMaker says for whose account it does, EC2 does not."""
    condition = {"Condition": {"StringEquals": {"aws:SourceAccount": account}}}
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        **(condition if service == SAGEMAKER else {}),
    }


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(statement: Statement) -> dict[str, Any]:
    conditions: dict[str, dict[str, str]] = {}
    for name, value in statement.conditions.items():
        operator, key = name.split("/", 1)
        conditions.setdefault(operator, {})[key] = value
    return {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Action": list(statement.actions),
        "Resource": list(statement.resources),
        **({"Condition": conditions} if conditions else {}),
    }


def _acknowledge(scope: Construct, statement: Statement) -> None:
    """Tell cdk-nag why a wildcard stands, for the statements of WILDCARDS only."""
    reason = WILDCARDS.get(statement.sid)
    for resource in statement.resources:
        if reason and "*" in resource:
            cdk.Validations.of(scope).acknowledge(
                cdk.Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{resource}]", reason=reason)
            )
