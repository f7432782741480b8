"""The rule book: what a specification must hold to beyond the range of each single key.

Every verb, the stacks and ``deployer validate`` ask it, so one file gets one answer. A range, a pattern or a list of
words of one key is checked where the value is born (``spec.checks``) and stands nowhere here.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import RuleBroken
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules import (
    bundle,
    fleet,
    local,
    policies,
    rollout,
    sagemaker,
    schedule,
    serverless,
    steps,
    texts,
)
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Broken, Rule

__all__ = [
    "BOOK",
    "Broken",
    "Facts",
    "Rule",
    "Verdict",
    "broken",
    "require",
    "unchecked",
    "verdict",
]

BOOK: tuple[Rule, ...] = (
    *local.RULES,
    *fleet.RULES,
    *sagemaker.RULES,
    *serverless.RULES,
    *policies.RULES,
    *schedule.RULES,
    *steps.RULES,
    *rollout.RULES,
    *bundle.RULES,
    *texts.RULES,
)
"""Every rule once, by area."""

UNKNOWN = Facts()


@dataclass(frozen=True)
class Verdict:
    """What a specification breaks, and the rules that could not be asked."""

    broken: tuple[Broken, ...]
    unchecked: tuple[Rule, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken


def broken(spec: DeploymentSpec, facts: Facts = UNKNOWN) -> tuple[Broken, ...]:
    """Return all that ``spec`` breaks, in the order of the book."""
    return tuple(
        Broken(item.id, wrong.key, wrong.problem, wrong.hint, item.source)
        for item in BOOK
        if item.applies(spec) and item.known(facts)
        for wrong in item.check(spec, facts)
    )


def unchecked(spec: DeploymentSpec, facts: Facts = UNKNOWN) -> tuple[Rule, ...]:
    """Return the rules for ``spec`` that could not be asked because a fact is missing."""
    return tuple(item for item in BOOK if item.applies(spec) and not item.known(facts))


def verdict(spec: DeploymentSpec, facts: Facts = UNKNOWN) -> Verdict:
    """Return both."""
    return Verdict(broken(spec, facts), unchecked(spec, facts))


def require(spec: DeploymentSpec, facts: Facts = UNKNOWN, where: str = "") -> None:
    """Raise RuleBroken for the first rule that ``spec`` breaks; it says how many more there are.

    ``where`` is the file that holds it, for the hint.
    """
    found = broken(spec, facts)
    if not found:
        return
    first, ids = found[0], tuple(dict.fromkeys(item.id for item in found))
    words = f" ({len(ids) - 1} more broken: {', '.join(ids[1:])})" if ids[1:] else ""
    explain = f"`deployer validate {where or 'SPEC'}` explains all that is broken"
    hint = f"{first.hint}; {explain}" if first.hint else explain
    raise RuleBroken(first.key, first.problem + words, code=first.id, broken=ids, hint=hint)
