"""SageMakerPlan: what deploying would change in the account, as data that is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deployer.cost.month import MonthlyCost
from deployer.deployments.aws import steps
from deployer.deployments.aws.checks import Check
from deployer.deployments.aws.steps import Step
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Resolved

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SageMakerPlan:
    """Steps, in order, that make the account equal to ``resolved``; with checks and cost.

    ``stack`` is the CloudFormation stack that made what is there: then `deployer deploy` refuses, and `cdk deploy`
    takes the resolved document. ``offline``: nothing in AWS was looked at, so there are no steps.
    """

    resolved: Resolved
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    cost: MonthlyCost
    stack: str = ""
    offline: bool = False

    @property
    def spec(self) -> DeploymentSpec:
        """The specification."""
        return self.resolved.spec

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return steps.changes(self.steps)

    @property
    def summary(self) -> str:
        """The last line of a plan."""
        return (
            steps.unseen(self.spec.name)
            if self.offline
            else steps.summary(self.spec.name, self.steps)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "resolved": self.resolved.to_json(),
            "steps": [asdict(step) for step in self.steps],
            "checks": [asdict(check) for check in self.checks],
            "cost": self.cost.to_json(),
            "summary": self.summary,
            **({"offline": True} if self.offline else {}),
        }
