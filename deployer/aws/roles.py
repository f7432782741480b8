"""IAM: one execution role with one inline policy, and whether it may be passed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from deployer.aws.session import Aws, ClientError, code_of, translated

_GONE = ("NoSuchEntity", "NoSuchEntityException")


class Roles:
    """IAM roles of one account."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("iam")

    def role(self, name: str) -> Mapping[str, Any] | None:
        """Describe a role, with ``AssumeRolePolicyDocument`` parsed; None when there is none."""
        with translated(f"reading role {name!r}"):
            try:
                role: dict[str, Any] = self._client.get_role(RoleName=name)["Role"]
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        role["AssumeRolePolicyDocument"] = _document(role.get("AssumeRolePolicyDocument", {}))
        return role

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of the account's roles that start with ``prefix``, over all pages."""
        with translated("listing the roles"):
            for page in self._client.get_paginator("list_roles").paginate():
                for row in page["Roles"]:
                    if str(row["RoleName"]).startswith(prefix):
                        yield str(row["RoleName"])

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a role; empty when it is gone."""
        with translated(f"reading the tags of role {name!r}"):
            try:
                pages = self._client.get_paginator("list_role_tags").paginate(RoleName=name)
                return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
            except ClientError as error:
                if code_of(error) in _GONE:
                    return {}
                raise

    def policy(self, role: str, policy: str) -> Mapping[str, Any] | None:
        """Return an inline policy's document; None when there is none."""
        with translated(f"reading policy {policy!r} of role {role!r}"):
            try:
                answer = self._client.get_role_policy(RoleName=role, PolicyName=policy)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return _document(answer["PolicyDocument"])

    def create(self, name: str, trust: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
        """Create a role; False when one of that name is there."""
        with translated(f"creating role {name!r}"):
            try:
                self._client.create_role(
                    RoleName=name,
                    AssumeRolePolicyDocument=json.dumps(trust),
                    Description="Execution role of a SageMaker deployment, made by deployer",
                    Tags=[{"Key": k, "Value": v} for k, v in sorted(tags.items())],
                )
            except ClientError as error:
                if code_of(error) in ("EntityAlreadyExists", "EntityAlreadyExistsException"):
                    return False
                raise
        return True

    def put_policy(self, role: str, policy: str, document: Mapping[str, Any]) -> None:
        """Create or replace an inline policy."""
        with translated(f"putting policy {policy!r} of role {role!r}"):
            self._client.put_role_policy(
                RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document)
            )

    def delete(self, name: str) -> bool:
        """Delete a role and its inline policies; False when there was none."""
        with translated(f"deleting role {name!r}"):
            try:
                pages = self._client.get_paginator("list_role_policies").paginate(RoleName=name)
                for policy in [p for page in pages for p in page["PolicyNames"]]:
                    self._client.delete_role_policy(RoleName=name, PolicyName=policy)
                self._client.delete_role(RoleName=name)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return False
                raise
        return True

    def simulate(
        self, caller: str, actions: Sequence[str], resource: str, context: Mapping[str, str]
    ) -> tuple[str, ...] | None:
        """Return the actions that the caller may not do; None when it cannot be asked."""
        with translated("asking what the caller may do"):
            try:
                answer = self._client.simulate_principal_policy(
                    PolicySourceArn=caller,
                    ActionNames=list(actions),
                    ResourceArns=[resource],
                    ContextEntries=[
                        {"ContextKeyName": k, "ContextKeyValues": [v], "ContextKeyType": "string"}
                        for k, v in sorted(context.items())
                    ],
                )
            except ClientError:  # roots, federated users, callers without iam:Simulate*
                return None
        return tuple(
            str(row["EvalActionName"])
            for row in answer["EvaluationResults"]
            if row["EvalDecision"] != "allowed"
        )


def _document(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        parsed: Mapping[str, Any] = json.loads(unquote(value))
        return parsed
    return dict(value)
