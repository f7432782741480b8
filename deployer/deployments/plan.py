"""Plan: what deploying would change, as plain data that is shown, saved and run; for every target the same noun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved

if TYPE_CHECKING:
    from deployer.cost.month import MonthlyCost

SCHEMA_VERSION = 1

Action = Literal["create", "update", "keep", "delete"]
Kind = Literal[
    "server",
    "balancer",
    "bucket",
    "bundle",
    "stack",
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
MARKS: dict[Action, str] = {"create": "+", "update": "~", "keep": "=", "delete": "-"}

Outcome = Literal["ok", "note"]


@dataclass(frozen=True)
class Step:
    """One thing and what happens to it; ``note`` says what people should see."""

    action: Action
    kind: Kind
    name: str
    note: str = ""

    @property
    def mark(self) -> str:
        """The sign in front of its line."""
        return MARKS[self.action]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    subject: str
    outcome: Outcome
    seen: str


Document = TypeVar("Document", Resolved, ResolvedFleet, None)
"""What a plan resolves: nothing on this machine."""


@dataclass(frozen=True)
class Plan(Generic[Document]):
    """Steps, in order, that make what runs equal to ``spec`` with the bundle of ``bundle_digest``.

    In AWS with ``resolved``, the document that both routes take, what was checked, and the bill. ``stack`` is the
    CloudFormation stack that made what is there: then `deployer deploy` refuses, and `cdk deploy` takes the document.
    ``offline``: nothing in AWS was looked at, so there are no steps.
    """

    spec: DeploymentSpec
    bundle_digest: str
    steps: tuple[Step, ...]
    resolved: Document
    checks: tuple[Check, ...] = ()
    cost: MonthlyCost | None = None
    stack: str = ""
    offline: bool = False

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action != "keep")

    @property
    def summary(self) -> str:
        """The last line of a plan: how many to add, change and remove."""
        name = self.spec.name
        if self.offline:
            return f"What exists of {name} was not looked at: what deploying would change is not known."
        here = self.resolved is None
        if not self.changes:
            return f"No changes. {name} {'runs' if here else 'is'} as specified."
        counted = [step.action for step in self.steps if step.kind != "balancer"]
        return (
            f"Plan: {counted.count('create')} to add, "
            f"{counted.count('update')} to {'replace' if here else 'change'}, "
            f"{counted.count('delete')} to remove, {counted.count('keep')} unchanged."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON document: with the document that it resolves, else with what it was made of."""
        own: dict[str, Any] = (
            {"spec": serde.to_dict(self.spec), "bundle_digest": self.bundle_digest}
            if self.resolved is None
            else {"resolved": self.resolved.to_json()}
        )
        looked: dict[str, Any] = {}
        if self.resolved is not None:
            looked["checks"] = [asdict(check) for check in self.checks]
        if self.cost is not None:
            looked["cost"] = self.cost.to_json()
        return {
            "schema_version": SCHEMA_VERSION,
            **own,
            "steps": [step.to_json() for step in self.steps],
            **looked,
            "summary": self.summary,
            **({"offline": True} if self.offline else {}),
        }


AnyPlan = Plan[Resolved] | Plan[ResolvedFleet] | Plan[None]


def resolving(
    resolved: Document,
    steps: Iterable[Step],
    checks: Iterable[Check],
    cost: MonthlyCost,
    *,
    stack: str = "",
    offline: bool = False,
) -> Plan[Document]:
    """Return the plan of a resolved document."""
    assert resolved is not None
    digest = resolved.artifact.digest
    return Plan(resolved.spec, digest, tuple(steps), resolved, tuple(checks), cost, stack, offline)
