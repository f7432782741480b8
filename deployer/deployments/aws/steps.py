"""Step: one thing in an AWS account and what happens to it. The plans of both AWS targets are made of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Action = Literal["create", "update", "keep", "delete"]
Kind = Literal[
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


def changes(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps that change something."""
    return tuple(step for step in steps if step.action != "keep")


def unseen(name: str) -> str:
    """Return the last line of a plan that looked at nothing in AWS."""
    return f"What exists of {name} was not looked at: what deploying would change is not known."


def summary(name: str, steps: Iterable[Step]) -> str:
    """Return the last line of a plan for the deployment ``name``."""
    actions = [step.action for step in steps]
    if set(actions) <= {"keep"}:
        return f"No changes. {name} is as specified."
    return (
        f"Plan: {actions.count('create')} to add, {actions.count('update')} to change, "
        f"{actions.count('delete')} to remove, {actions.count('keep')} unchanged."
    )
