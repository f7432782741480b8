"""The execution role: just the statements that planning wrote, inline, or a role that exists."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from deployer.spec.resolved import Resolved, Statement

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
}
"""Why a statement of this ``Sid`` may hold a wildcard; one without a reason here is a finding of cdk-nag."""

POLICY = "deployer"
"""The name of the role's one inline policy."""


class ExecutionRole(Construct):
    """The role that SageMaker assumes. ``arn`` is a reference to it, so that what needs it is made after it.

    The permissions are part of the role itself: a model cannot be made between role and permission.
    """

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        super().__init__(scope, id)
        role = resolved.role
        self.arn = role.arn
        if not role.made:
            return
        resource = iam.CfnRole(
            self,
            "Resource",
            role_name=role.name,
            description="Execution role of a SageMaker deployment, made by deployer",
            assume_role_policy_document=_document(
                [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "sagemaker.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        "Condition": {
                            "StringEquals": {"aws:SourceAccount": resolved.place.account}
                        },
                    }
                ]
            ),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name=POLICY,
                    policy_document=_document([_statement(s) for s in role.statements]),
                )
            ],
        )
        self.arn = resource.attr_arn
        for statement in role.statements:
            _acknowledge(self, statement)


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
