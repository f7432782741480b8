"""A specification is held against the rule book; neither AWS nor a bundle is needed."""

from __future__ import annotations

from pathlib import Path

from deployer.errors import InputError, NotSupported, SpecError
from deployer.paths import AnyPath, as_path
from deployer.spec import rules, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules import BOOK, Broken, Rule, Verdict

KEYS = "deployer: the keys of a specification, their types and their ranges"


def validate(source: DeploymentSpec | AnyPath) -> tuple[Broken, ...]:
    """Return every rule that a specification breaks, or the file of one; empty when it is right.

    A key that is unknown, missing or mistyped is broken as ``key``, a value out of its range as ``value``: there the
    reading ends. Raises InputError for a file that cannot be read.
    """
    return look(source).broken


def look(source: DeploymentSpec | AnyPath) -> Verdict:
    """Return what is broken, and the rules that could not be asked because a fact is missing."""
    from deployer.deployments.facts import facts_of

    source = as_path(source)
    try:
        spec = serde.load(source) if isinstance(source, Path) else source
    except SpecError as error:
        return _unread(error.code, error.key, error.problem, error)
    except NotSupported as error:
        key, _, problem = error.message.partition(": ")
        return _unread("key", key, problem, error)
    return rules.verdict(spec, facts_of(spec))


def book() -> tuple[Rule, ...]:
    """Return every rule."""
    return BOOK


def _unread(code: str, key: str, problem: str, error: InputError | NotSupported) -> Verdict:
    return Verdict((Broken(code, key, problem, error.hint or "", KEYS),))
