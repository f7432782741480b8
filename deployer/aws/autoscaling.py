"""Application Auto Scaling of one SageMaker variant: its target, policies and scheduled actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, translated

NAMESPACE = "sagemaker"


class Autoscaling:
    """What scales one resource (``endpoint/NAME/variant/NAME``) in one dimension."""

    def __init__(self, aws: Aws, resource_id: str, dimension: str) -> None:
        self._aws = aws
        self.resource_id = resource_id
        self.dimension = dimension

    @property
    def _client(self) -> Any:
        return self._aws.client("application-autoscaling")

    @property
    def _resource(self) -> dict[str, str]:
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
        }

    def target(self) -> Mapping[str, Any] | None:
        """Describe the scalable target; None when there is none."""
        rows = self._rows(
            "describe_scalable_targets",
            "ScalableTargets",
            ServiceNamespace=NAMESPACE,
            ResourceIds=[self.resource_id],
            ScalableDimension=self.dimension,
        )
        return rows[0] if rows else None

    def policies(self) -> tuple[Mapping[str, Any], ...]:
        """Describe the scaling policies, sorted by name."""
        rows = self._rows("describe_scaling_policies", "ScalingPolicies", **self._resource)
        return tuple(sorted(rows, key=lambda row: str(row["PolicyName"])))

    def schedules(self) -> tuple[Mapping[str, Any], ...]:
        """Describe the scheduled actions, sorted by name."""
        rows = self._rows("describe_scheduled_actions", "ScheduledActions", **self._resource)
        return tuple(sorted(rows, key=lambda row: str(row["ScheduledActionName"])))

    def register(self, low: int, high: int, tags: Mapping[str, str]) -> None:
        """Register the scalable target, or change its bounds."""
        bounds = {"MinCapacity": low, "MaxCapacity": high}
        with translated(f"registering scalable target {self.resource_id}"):
            try:
                self._client.register_scalable_target(**self._resource, **bounds, Tags=dict(tags))
            except ClientError as error:
                # AWS takes tags with a new target only.
                if code_of(error) != "ValidationException" or "tag" not in str(error).lower():
                    raise
                self._client.register_scalable_target(**self._resource, **bounds)

    def put_policy(self, request: Mapping[str, Any]) -> str:
        """Create or replace a policy; return its ARN."""
        with translated(f"putting scaling policy {request['PolicyName']!r}"):
            answer = self._client.put_scaling_policy(**self._resource, **request)
        return str(answer["PolicyARN"])

    def put_schedule(self, request: Mapping[str, Any]) -> None:
        """Create or replace a scheduled action."""
        with translated(f"putting scheduled action {request['ScheduledActionName']!r}"):
            self._client.put_scheduled_action(**self._resource, **request)

    def delete_policy(self, name: str) -> bool:
        """Delete a policy; False when there was none."""
        return self._delete("delete_scaling_policy", PolicyName=name)

    def delete_schedule(self, name: str) -> bool:
        """Delete a scheduled action; False when there was none."""
        return self._delete("delete_scheduled_action", ScheduledActionName=name)

    def deregister(self) -> bool:
        """Deregister the scalable target, and with it all policies; False when there was none."""
        return self._delete("deregister_scalable_target")

    def _delete(self, operation: str, **name: str) -> bool:
        with translated(f"{operation.replace('_', ' ')} of {self.resource_id}"):
            try:
                getattr(self._client, operation)(**self._resource, **name)
            except ClientError as error:
                if code_of(error) == "ObjectNotFoundException" or "No scal" in str(error):
                    return False
                raise
        return True

    def _rows(self, operation: str, key: str, **request: Any) -> list[Mapping[str, Any]]:
        with translated(f"{operation.replace('_', ' ')} of {self.resource_id}"):
            pages = self._client.get_paginator(operation).paginate(**request)
            return [row for page in pages for row in page.get(key, ())]


def registered(aws: Aws, resource_id: str) -> tuple[Autoscaling, ...]:
    """Return what scales a resource, in whichever dimension; none when nothing does."""
    with translated(f"describing scalable targets of {resource_id}"):
        pages = (
            aws.client("application-autoscaling")
            .get_paginator("describe_scalable_targets")
            .paginate(ServiceNamespace=NAMESPACE, ResourceIds=[resource_id])
        )
        rows = [row for page in pages for row in page.get("ScalableTargets", ())]
    return tuple(Autoscaling(aws, resource_id, str(row["ScalableDimension"])) for row in rows)
