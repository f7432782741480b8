"""Nouns, or the files that hold them: every verb takes either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.paths import AnyPath, as_path
from deployer.spec import rules, serde
from deployer.spec.deployment import DeploymentSpec

if TYPE_CHECKING:
    from deployer.profiles import Profile


def spec_of(
    source: DeploymentSpec | AnyPath, profiles: Sequence[Profile | AnyPath | None] = ()
) -> DeploymentSpec:
    """Return a specification, read from deployment.toml where a path is given.

    ``profiles`` are those at hand: that of its bundle may tell a fact. Raises RuleBroken for one that breaks a rule.
    """
    from deployer.deployments.facts import facts_of

    source = as_path(source)
    measured = [profile_of(item) for item in profiles if item is not None]
    spec = serde.load(source) if isinstance(source, Path) else source
    where = str(source) if isinstance(source, Path) else ""
    rules.require(spec, facts_of(spec, profile=_profile_for(spec, measured)), where)
    return spec


def profile_of(source: Profile | AnyPath) -> Profile:
    """Return a profile, read from profile.json where a path is given."""
    from deployer import profiles

    found = as_path(source)
    return profiles.load(found) if isinstance(found, Path) else found


def _profile_for(spec: DeploymentSpec, profiles: Sequence[Profile]) -> Profile | None:
    if not profiles:
        return None
    from deployer import comparison

    return profiles[0] if len(profiles) == 1 else comparison.profile_of(spec, profiles)
