"""SageMakerPlan: what deploying would change in the account, as data that is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from deployer.deployments.sagemaker.checks import Check
from deployer.deployments.sagemaker.cost import PlannedCost
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved

Action = Literal["create", "update", "keep", "delete"]
Kind = Literal[
    "bucket",
    "bundle",
    "role",
    "model",
    "endpoint config",
    "alarm",
    "endpoint",
    "scaling target",
    "scaling policy",
    "schedule",
    "tags",
]
SCHEMA_VERSION = 1
MARKS: dict[Action, str] = {"create": "+", "update": "~", "keep": "=", "delete": "-"}


@dataclass(frozen=True)
class Step:
    """One resource and what happens to it; ``note`` says what people should see."""

    action: Action
    kind: Kind
    name: str
    note: str = ""

    @property
    def mark(self) -> str:
        """The sign in front of its line."""
        return MARKS[self.action]


@dataclass(frozen=True)
class SageMakerPlan:
    """Steps, in order, that make the account equal to ``resolved``; with checks and cost."""

    resolved: Resolved
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    cost: PlannedCost

    @property
    def spec(self) -> DeploymentSpec:
        """The specification."""
        return self.resolved.spec

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action != "keep")

    @property
    def summary(self) -> str:
        """The last line of a plan."""
        if not self.changes:
            return f"No changes. {self.spec.name} is as specified."
        count = [step.action for step in self.steps].count
        return (
            f"Plan: {count('create')} to add, {count('update')} to change, "
            f"{count('delete')} to remove, {count('keep')} unchanged."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        cost = {
            key: None if value is None else str(value) for key, value in asdict(self.cost).items()
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "resolved": self.resolved.to_json(),
            "steps": [asdict(step) for step in self.steps],
            "checks": [asdict(check) for check in self.checks],
            "cost": cost,
            "summary": self.summary,
        }
