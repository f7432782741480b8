"""CloudWatch: alarms, sums over time, and the last lines of a log group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, translated


class CloudWatch:
    """Alarms and metrics of one account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("cloudwatch")

    def alarms(self, prefix: str) -> tuple[Mapping[str, Any], ...]:
        """Describe the metric alarms whose name starts with ``prefix``, sorted by name."""
        with translated(f"describing alarms {prefix}*"):
            pages = self._client.get_paginator("describe_alarms").paginate(
                AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"]
            )
            rows = [row for page in pages for row in page.get("MetricAlarms", ())]
        return tuple(sorted(rows, key=lambda row: str(row["AlarmName"])))

    def named_alarms(self, names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
        """Describe the alarms of these names; those that are not there are left out."""
        if not names:
            return ()
        with translated("describing alarms"):
            answer = self._client.describe_alarms(
                AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
            )
        return (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ()))

    def put_alarm(self, request: Mapping[str, Any]) -> None:
        """Create or replace an alarm."""
        with translated(f"putting alarm {request['AlarmName']!r}"):
            self._client.put_metric_alarm(**request)

    def delete_alarms(self, names: Sequence[str]) -> None:
        """Delete alarms; names that are not there do not matter."""
        for name in names:  # one by one: AWS deletes none of a list that holds a wrong name
            with translated(f"deleting alarm {name!r}"):
                try:
                    self._client.delete_alarms(AlarmNames=[name])
                except ClientError as error:
                    if code_of(error) not in ("ResourceNotFound", "ResourceNotFoundException"):
                        raise

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of an alarm; empty when it is gone."""
        with translated(f"reading the tags of {arn}"):
            try:
                answer = self._client.list_tags_for_resource(ResourceARN=arn)
            except ClientError as error:
                if code_of(error) in ("ResourceNotFound", "ResourceNotFoundException"):
                    return {}
                raise
        return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}

    def total(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        since: datetime,
        until: datetime,
        *,
        statistic: str = "Sum",
    ) -> float | None:
        """Return the sum of a statistic over a time span; None when nothing was recorded.

        CloudWatch gives at most 1440 points: the period grows with the span.
        """
        minutes = max(1.0, (until - since).total_seconds() / 60)
        period_s = 60 * max(1, -(-int(minutes) // 1440))
        if minutes > 60 * 24 * 15:  # after 15 days only five-minute points are kept
            period_s = max(300, -(-period_s // 300) * 300)
        with translated(f"reading metric {name}"):
            answer = self._client.get_metric_statistics(
                Namespace=namespace,
                MetricName=name,
                Dimensions=[{"Name": k, "Value": v} for k, v in sorted(dimensions.items())],
                StartTime=since,
                EndTime=until,
                Period=period_s,
                Statistics=[statistic],
            )
        points = [float(point[statistic]) for point in answer.get("Datapoints", ())]
        return sum(points) if points else None


class Logs:
    """Log groups of one account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("logs")

    def group_exists(self, group: str) -> bool:
        """Return whether a log group of exactly this name is there."""
        return group in self.groups(group)

    def groups(self, prefix: str) -> Iterator[str]:
        """Yield the names of the log groups that start with ``prefix``, over all pages."""
        with translated(f"describing log groups {prefix}*"):
            pages = self._client.get_paginator("describe_log_groups")
            for page in pages.paginate(logGroupNamePrefix=prefix):
                yield from (str(row["logGroupName"]) for row in page["logGroups"])

    def streams(self, group: str, *, most: int = 3, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the streams that spoke last; none when there is no group.

        With ``prefix``, of those whose name starts with it.
        """
        order: dict[str, Any] = {"orderBy": "LastEventTime", "descending": True, "limit": most}
        if prefix:  # AWS sorts by name then
            order = {"logStreamNamePrefix": prefix}
        with translated(f"describing log group {group}"):
            try:
                answer = self._client.describe_log_streams(logGroupName=group, **order)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return ()
                raise
        rows = sorted(answer["logStreams"], key=lambda row: -row.get("lastEventTimestamp", 0))
        return tuple(str(row["logStreamName"]) for row in rows[:most])

    def tail(self, group: str, stream: str, lines: int) -> tuple[str, ...]:
        """Return the last lines of a stream, oldest first."""
        with translated(f"reading log {group}/{stream}"):
            answer = self._client.get_log_events(
                logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False
            )
        return tuple(str(event["message"]).rstrip() for event in answer["events"])

    def tags(self, group: str) -> dict[str, str]:
        """Return the tags of a log group; empty when there is none."""
        with translated(f"reading the tags of log group {group}"):
            try:
                answer = self._client.list_tags_for_resource(resourceArn=self._arn(group))
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return {}
                raise
        return dict(answer.get("tags", {}))

    def tag(self, group: str, tags: Mapping[str, str]) -> bool:
        """Add tags to a log group; False when there is none."""
        if not self.group_exists(group):
            return False
        with translated(f"tagging log group {group}"):
            self._client.tag_resource(resourceArn=self._arn(group), tags=dict(tags))
        return True

    def _arn(self, group: str) -> str:
        account, partition = self._aws.identity
        return f"arn:{partition}:logs:{self._aws.region}:{account}:log-group:{group}"

    def delete_group(self, group: str) -> bool:
        """Delete a log group; False when there was none."""
        with translated(f"deleting log group {group}"):
            try:
                self._client.delete_log_group(logGroupName=group)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return False
                raise
        return True
