"""Stacks of CloudFormation, Auto Scaling groups and the health of their targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, says, translated


class Stacks:
    """CloudFormation of one account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("cloudformation")

    def find(self, name: str) -> Mapping[str, Any] | None:
        """Describe a stack; None when there is none."""
        with translated(f"describing stack {name!r}"):
            try:
                rows: Any = self._client.describe_stacks(StackName=name)["Stacks"]
            except ClientError as error:
                if says(error, "does not exist"):
                    return None
                raise
        gone = [row for row in rows if row["StackStatus"] != "DELETE_COMPLETE"]
        return gone[0] if gone else None

    def all(self) -> Iterator[Mapping[str, Any]]:
        """Yield every stack that there is, with its tags and outputs."""
        with translated("listing the stacks"):
            for page in self._client.get_paginator("describe_stacks").paginate():
                yield from (
                    row for row in page["Stacks"] if row["StackStatus"] != "DELETE_COMPLETE"
                )

    def delete(self, name: str) -> None:
        """Ask for the removal of a stack."""
        with translated(f"deleting stack {name!r}"):
            self._client.delete_stack(StackName=name)

    def failures(self, name: str) -> tuple[str, ...]:
        """Return the newest reasons of resources that failed, newest first; none without a stack."""
        with translated(f"reading the events of stack {name!r}"):
            try:
                rows: Any = self._client.describe_stack_events(StackName=name)["StackEvents"]
            except ClientError as error:
                if says(error, "does not exist"):
                    return ()
                raise
        return tuple(
            f"{row['LogicalResourceId']}: {row.get('ResourceStatusReason', row['ResourceStatus'])}"
            for row in rows
            if str(row.get("ResourceStatus", "")).endswith("FAILED")
        )[:5]


def outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return a stack's outputs."""
    return {row["OutputKey"]: row["OutputValue"] for row in stack.get("Outputs", ())}


def tags(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return a stack's tags."""
    return {row["Key"]: row["Value"] for row in stack.get("Tags", ())}


def group(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Describe an Auto Scaling group; None when there is none."""
    with translated(f"describing group {name!r}"):
        answer: Any = aws.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )
    rows = answer["AutoScalingGroups"]
    return rows[0] if rows else None


def health(aws: Aws, target_group_arn: str) -> dict[str, str]:
    """Return the state of each target by instance, with its reason; empty when the group is gone."""
    with translated("describing the health of the targets"):
        try:
            answer: Any = aws.client("elbv2").describe_target_health(
                TargetGroupArn=target_group_arn
            )
        except ClientError as error:
            if code_of(error) == "TargetGroupNotFound":
                return {}
            raise
    return {
        row["Target"]["Id"]: " ".join(
            word
            for word in (row["TargetHealth"]["State"], row["TargetHealth"].get("Reason"))
            if word
        )
        for row in answer["TargetHealthDescriptions"]
    }


def buckets(aws: Aws, tag: str, value: str) -> tuple[str, ...]:
    """Return the buckets that carry a tag."""
    with translated("looking for buckets"):
        pages = aws.client("resourcegroupstaggingapi").get_paginator("get_resources")
        found = pages.paginate(
            TagFilters=[{"Key": tag, "Values": [value]}], ResourceTypeFilters=["s3"]
        )
        rows = [row for page in found for row in page["ResourceTagMappingList"]]
    return tuple(sorted(row["ResourceARN"].rpartition(":")[2] for row in rows))
