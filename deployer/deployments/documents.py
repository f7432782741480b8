"""The files that a deployment can be made from: plan.json and resolved.json, of whichever target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from deployer.spec import fleet_resolved
from deployer.spec import resolved as sagemaker
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved


def resolved_in(path: Path) -> Resolved | ResolvedFleet | None:
    """Return what a JSON file resolves: resolved.json, or a plan that holds it; None for other files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads it as something else says what is wrong
    if not isinstance(data, Mapping):
        return None
    held = data.get("resolved", data)
    if fleet_resolved.is_fleet(held):
        return fleet_resolved.from_json(held)
    if "resolved" in data:
        return sagemaker.from_json(held)
    return sagemaker.load(path) if "place" in data else None
