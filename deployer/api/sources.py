"""Nouns, or the files that hold them: every verb takes either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec

if TYPE_CHECKING:
    from deployer.profiles import Profile

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing: the default of every verb."""


def spec_of(source: DeploymentSpec | Path) -> DeploymentSpec:
    """Return a specification, read from deployment.toml where a path is given."""
    return serde.load(source) if isinstance(source, Path) else source


def profile_of(source: Profile | Path) -> Profile:
    """Return a profile, read from profile.json where a path is given."""
    from deployer import profiles

    return profiles.load(source) if isinstance(source, Path) else source
