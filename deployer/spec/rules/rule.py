"""Rule and Broken: one rule of AWS or of deployer, and one way in which a specification breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules.facts import Facts
from deployer.spec.target import Local


@dataclass(frozen=True)
class Wrong:
    """What is wrong under a key, and what to do about it."""

    key: str
    problem: str
    hint: str = ""


Check = Callable[[DeploymentSpec, Facts], Iterable[Wrong]]


def always(spec: DeploymentSpec) -> bool:
    """Whether a rule is for this specification: for every one."""
    return True


def in_aws(spec: DeploymentSpec) -> bool:
    """Whether the target is in AWS."""
    return not isinstance(spec.target, Local)


@dataclass(frozen=True)
class Rule:
    """One rule: what it ``says`` of which ``keys``, and whose it is.

    ``source`` is AWS's own words and where they stand, or ``deployer: why``. ``needs`` names the Facts without which
    it cannot be asked of a specification that it ``applies`` to.
    """

    id: str
    keys: tuple[str, ...]
    says: str
    source: str
    check: Check
    needs: tuple[str, ...] = ()
    applies: Callable[[DeploymentSpec], bool] = always

    def known(self, facts: Facts) -> bool:
        """Whether all that it needs is known."""
        return all(getattr(facts, name) is not None for name in self.needs)


@dataclass(frozen=True)
class Broken:
    """A rule that a specification breaks, under which key, and what to do."""

    id: str
    key: str
    problem: str
    hint: str
    source: str


def rule(
    id: str,
    *keys: str,
    says: str,
    source: str,
    needs: tuple[str, ...] = (),
    applies: Callable[[DeploymentSpec], bool] = always,
) -> Callable[[Check], Rule]:
    """Make a Rule of the function below it, which yields what is wrong."""
    return lambda check: Rule(id, keys, says, source, check, needs, applies)
