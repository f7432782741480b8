"""The execution role: just the statements that planning wrote, inline, or a role that exists."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from deployer.spec.resolved import Role, Statement

WILDCARDS = {
    "EcrLogin": "GetAuthorizationToken is for an account, not a repository: AWS allows no resource for it",
    "Metrics": "PutMetricData takes no resource; a condition holds it to SageMaker's namespaces",
    "Logs": "SageMaker names the streams, one an instance, inside this endpoint's own log group",
    "Alarms": "SageMaker reads the state of alarms, whose names a rollout may change",
    "Network": "network interfaces have no name before they are made; Describe* takes no resource",
    "Capture": "SageMaker names the objects of captured data, inside this deployment's own prefix",
    "Output": "SageMaker names the objects of answers, inside this deployment's own prefix",
    "Bundle": "the files of the one bundle, under its digest",
}
"""Why a statement of this ``Sid`` may hold a wildcard; one without a reason here is a finding of cdk-nag."""


class ExecutionRole(Construct):
    """The role that SageMaker assumes. ``arn`` is a reference to it, so that what needs it is made after it.

    The permissions are part of the role itself: a model cannot be made between role and permission.
    """

    def __init__(self, scope: Construct, id: str, *, role: Role) -> None:
        super().__init__(scope, id)
        self.arn = role.arn
        if not role.made:
            return
        resource = iam.CfnRole(
            self,
            "Resource",
            role_name=role.name,
            description="Execution role of a model on SageMaker",
            assume_role_policy_document=_document(
                [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "sagemaker.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ]
            ),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name=role.name,
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
