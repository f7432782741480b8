"""What this machine knows of a specification for the rule book: of its bundle, its instance type, its profile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.bundle.glance import glance
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules import Facts

if TYPE_CHECKING:
    from deployer.profiles import Profile

ACCELERATORS = ("accelerator", "gpu")
"""Keys of a profile's hardware that tell of one; the bundle's own bench writes none."""


def facts_of(
    spec: DeploymentSpec,
    *,
    profile: Profile | None = None,
    digest: str = "",
    p99_s: float | None = None,
) -> Facts:
    """Return what is known; a bundle that is not there leaves its facts unknown.

    ``profile`` is the one at hand, ``digest`` the only bundle that will do, ``p99_s`` the measured one in seconds.
    """
    return replace(
        glance(Path(spec.bundle), digest),
        vcpus=_vcpus(spec),
        measured_on_cpu=None if profile is None else _on_cpu(profile.hardware),
        p99_s=p99_s,
    )


def _on_cpu(hardware: Collection[str]) -> bool:
    return not any(key in hardware for key in ACCELERATORS)


def _vcpus(spec: DeploymentSpec) -> int | None:
    """Return the vCPUs of the instance type, 0 where the price book does not know it; looked up only for ``cpu``."""
    if getattr(spec.scaling, "metric", "") != "cpu":
        return None
    from deployer.pricing import snapshot

    shape = snapshot.load().shape(spec.target.instance_type)
    return shape.vcpu if shape is not None else 0
