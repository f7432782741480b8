"""What our metadata asks of this Python, for the core and for each extra, and what of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from deployer import distribution
from deployer.distribution import CORE
from deployer.doctor.findings import Finding, Outcome
from deployer.errors import EnvironmentProblem

if TYPE_CHECKING:
    from packaging.requirements import Requirement

UNSAID = ("all", "dev")
"""Extras without a line of their own: one is the sum of the others, the other is for work on deployer itself."""

Found = Callable[[str], str | None]
"""The version of a package that is installed, None without one."""


def installed() -> Iterator[Finding]:
    """Yield the core's finding, then one for each extra, in the order of the metadata."""
    try:
        requires, extras = distribution.requirements(), distribution.extras()
    except EnvironmentProblem as problem:
        yield Finding("core", "missing", problem.message, problem.hint or "")
        return
    yield judge(CORE, requires)
    yield from (judge(extra, requires) for extra in extras if extra not in UNSAID)


def judge(
    extra: str, requires: Iterable[str], found: Found = distribution.found_version
) -> Finding:
    """Judge the packages of an extra by their metadata, without importing them; ``CORE`` stops every verb."""
    every = tuple(requires)
    subject = f"extra {extra}" if extra else "core"
    absent = [_absent(one, found(one.name)) for one in distribution.needs(extra, every)]
    if any(absent):
        outcome: Outcome = "note" if extra else "missing"
        seen = f"not installed: {', '.join(filter(None, absent))}"
        return Finding(subject, outcome, seen, distribution.install_hint(extra))
    asked = sorted(distribution.asks(extra, every), key=distribution.is_ours)
    return Finding(subject, "ok", ", ".join(_shown(one, found(one.name)) for one in asked))


def _absent(one: Requirement, version: str | None) -> str:
    """The words for a package that will not do; none for one that will."""
    if version is None:
        return one.name
    if one.specifier.contains(version, prereleases=True):
        return ""
    return f"{one.name}{one.specifier} ({version} is there)"


def _shown(one: Requirement, version: str | None) -> str:
    """A package with its version; of our own extras, which have lines of their own, the names."""
    if distribution.is_ours(one):
        return f"and the extras {', '.join(sorted(one.extras))}"
    return f"{one.name} {version}"
