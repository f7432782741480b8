"""The alarms of a deployment that are there: found by their names, ours by their tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.aws.metrics import CloudWatch
from deployer.aws.session import Aws
from deployer.spec import naming


def alarms_of(aws: Aws, name: str) -> dict[str, Mapping[str, Any]]:
    """Return our alarms of a deployment by name."""
    watch = CloudWatch(aws)
    rows = watch.alarms(naming.alarms(name))
    ours = [row for row in rows if watch.tags(str(row["AlarmArn"])).get(naming.NAME_TAG) == name]
    return {str(row["AlarmName"]): row for row in ours}
