"""What a measured profile adds to a specification: the scaling target that it gives, the p99, whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.deployments.backend import Asked
from deployer.distribution import version
from deployer.errors import InputError
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import Ec2Fleet, SageMakerAsync, SageMakerRealtime

if TYPE_CHECKING:
    from deployer.profiles import Profile, ServiceTime


def asked_of(spec: DeploymentSpec, profile: Profile | None, ttl_s: float | None) -> Asked:
    """Return what the caller asks on top of the specification.

    Raises InputError where no rate of requests meets the objective with the profile.
    """
    if profile is None:
        return Asked(ttl_s=ttl_s, version=version())
    times = profile.service_time_ms.values()
    return Asked(
        derived_target=_derived_target(spec, profile),
        p99_s=max(_p99_ms(time) for time in times) / 1000,
        ttl_s=ttl_s,
        version=version(),
        digest=profile.bundle_digest,
    )


def _derived_target(spec: DeploymentSpec, profile: Profile) -> float | None:
    """Return the scaling target that profile and objective give; None where nothing is to derive."""
    from deployer.simulation import capacity, simulation

    policy, target = spec.scaling, spec.target
    if not isinstance(policy, TargetTracking) or policy.target is not None:
        return None
    if not isinstance(target, SageMakerRealtime | SageMakerAsync | Ec2Fleet):
        return None
    room = capacity.headroom(profile, simulation.serving_of(profile, spec, target), spec.slo)
    if not room.is_met:
        raise InputError(
            "no rate of requests meets the objective with this profile, so no scaling target follows",
            hint="loosen [slo], or write scaling.target",
        )
    return capacity.metric_target(policy, room)


def _p99_ms(time: ServiceTime) -> float:
    """The first measured quantile that is not below 99%; the mean of one without quantiles."""
    return next((ms for share, ms in time.quantiles if share >= 0.99), time.mean)
