"""The statements of a policy as the document that IAM takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from deployer.doctor import fleet_policies, policies
from deployer.doctor.policies import Scope
from deployer.spec.resolved import Statement

Purpose = Literal["plan", "deploy"]


def document(purpose: Purpose, where: Scope) -> dict[str, Any]:
    """Return one of the two policy documents; the deploying role is given both."""
    kind = fleet_policies if where.fleet else policies
    rows = kind.plan(where) if purpose == "plan" else kind.deploy(where)
    return {"Version": "2012-10-17", "Statement": [_row(item) for item in rows]}


def size(policy: Mapping[str, Any]) -> int:
    """Return what IAM counts of a policy: its characters but for white space. A managed one has at most 6,144."""
    return len("".join(json.dumps(policy).split()))


def _row(item: Statement) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Sid": item.sid,
        "Effect": "Allow",
        "Action": sorted(item.actions),
        "Resource": list(item.resources),
    }
    for where, value in sorted(item.conditions.items()):
        operator, _, key = where.partition("/")
        row.setdefault("Condition", {}).setdefault(operator, {})[key] = value
    return row
