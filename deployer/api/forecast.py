"""The traffic that a plan is priced by: a trace, or a steady load at the scaling target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import InputError
from deployer.paths import AnyPath, as_path
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import TargetTracking
from deployer.spec.target import SageMakerServerless

if TYPE_CHECKING:
    from deployer.profiles import Profile
    from deployer.runs import Run
    from deployer.traffic.trace import TrafficTrace

STEADY_S = 3600.0
SERVERLESS_RPS = 1.0


def forecast(
    spec: DeploymentSpec, profile: Profile | None, trace: TrafficTrace | AnyPath | None
) -> Run | None:
    """Return the simulated run of ``trace``, else of the load that the specification speaks of; None without either.

    Such a load is the scaling target of the smallest fleet, in requests a minute and instance, or one request a
    second for a serverless endpoint. Raises InputError for a trace without a profile, NotSupported for a target
    that has no simulation.
    """
    from deployer.simulation import simulation
    from deployer.traffic import files

    if profile is None:
        if trace is not None:
            raise InputError("a trace needs the measured times too", hint="add --profile FILE")
        return None
    given = as_path(trace)
    chosen = files.load(given) if isinstance(given, Path) else given or _steady(spec, profile)
    return None if chosen is None else simulation.simulate(chosen, profile, spec, 0)


def _steady(spec: DeploymentSpec, profile: Profile) -> TrafficTrace | None:
    from deployer.cost.month import LOAD
    from deployer.simulation import simulation
    from deployer.traffic import arrivals

    policy, target = spec.scaling, spec.target
    if isinstance(target, SageMakerServerless):
        rate, name = SERVERLESS_RPS, f"{LOAD} {SERVERLESS_RPS:g} request a second"
    elif isinstance(policy, TargetTracking) and policy.metric == "invocations_per_instance":
        aim = simulation.derive_target(profile, spec) or 0.0
        rate = aim / 60 * policy.min_instances
        name = f"{LOAD} {aim:.4g} requests a minute and instance, the scaling target"
    else:
        return None
    return arrivals.make("constant", rate=rate, duration_s=STEADY_S, seed=0, name=name)
