"""The statements of a policy as the document that IAM takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from deployer.doctor import fleet_policies, policies
from deployer.doctor.policies import Scope

Purpose = Literal["plan", "deploy"]


def document(purpose: Purpose, where: Scope) -> dict[str, Any]:
    """Return one of the two policy documents; the deploying role is given both."""
    kind = fleet_policies if where.fleet else policies
    rows = kind.plan(where) if purpose == "plan" else kind.deploy(where)
    return {
        "Version": "2012-10-17",
        "Statement": [item.to_json() | {"Action": sorted(item.actions)} for item in rows],
    }


def size(policy: Mapping[str, Any]) -> int:
    """Return what IAM counts of a policy: its characters but for white space. A managed one has at most 6,144."""
    return len("".join(json.dumps(policy).split()))
