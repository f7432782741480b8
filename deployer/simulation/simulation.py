"""simulate: a trace, a profile and a deployment become the Run that a load test would have measured."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np

from deployer.errors import InputError, NotSupported
from deployer.profiles import Profile
from deployer.runs import CapacityTimeline, Run
from deployer.simulation import assumptions, capacity, distributions, playback, rules
from deployer.simulation.capacity import Headroom
from deployer.simulation.failures import SERVER_ANSWER_S, Fates
from deployer.simulation.rules import InstanceTarget
from deployer.simulation.serverless import Containers
from deployer.simulation.state import Serving
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import Fixed, QueueBacklog, TargetTracking
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)
from deployer.traffic import clock
from deployer.traffic.trace import TrafficTrace

NO_LIMIT = 2**31


def simulate(trace: TrafficTrace, profile: Profile, spec: DeploymentSpec, seed: int) -> Run:
    """Return what would happen to every request of ``trace`` if ``spec`` served it.

    Equal arguments give an equal Run, also across processes. Raises InputError for a profile that does not
    cover the server's batch sizes, NotSupported for a target that has no simulation.
    """
    if seed < 0:
        raise InputError(f"seed must not be negative, not {seed!r}")
    match spec.target:
        case SageMakerServerless():
            if not isinstance(spec.scaling, Fixed):
                raise NotSupported(
                    "scaling of provisioned concurrency cannot be simulated yet",
                    hint="simulate without [scaling]: provisioned_concurrency then stays as it is",
                )
            return _serverless(trace, profile, spec, spec.target, seed)
        case SageMakerBatch():
            raise NotSupported(
                "target.kind 'sagemaker-batch' has no simulation: a batch job meets no traffic",
                hint="simulate sagemaker-async for work that may wait",
            )
        case Local() | SageMakerRealtime() | SageMakerAsync() | Ec2Fleet():
            return _instances(trace, profile, spec, spec.target, seed)
        case _:
            assert_never(spec.target)


def serving_of(profile: Profile, spec: DeploymentSpec, target: InstanceTarget) -> Serving:
    """Return the numbers of one server: the profile's, without deadline where requests wait outside it."""
    waits_outside = rules.shared_queue(spec.scaling, target, profile) > 0
    return Serving(
        workers=profile.workers,
        max_batch=profile.max_batch,
        max_wait_s=profile.max_wait_ms / 1000.0,
        queue_limit=NO_LIMIT if waits_outside else profile.queue_limit,
        deadline_s=math.inf if waits_outside else SERVER_ANSWER_S,
        distributions=distributions.from_profile(profile, profile.max_batch),
    )


def derive_target(profile: Profile, spec: DeploymentSpec) -> float | None:
    """Return what the spec's target tracking aims at per instance; None for a policy without a target.

    A target that the spec does not name is SAFETY_FACTOR (0.5) of the metric's value at the highest rate of
    one instance that meets the objective; for invocations, requests per instance per minute. It does not
    depend on the seed of a simulation: what is planned is what is simulated.
    """
    return _policy_numbers(profile, spec)[0]


def _policy_numbers(profile: Profile, spec: DeploymentSpec) -> tuple[float | None, Headroom | None]:
    policy = spec.scaling
    if isinstance(policy, QueueBacklog):
        return policy.target, None
    if not isinstance(policy, TargetTracking):
        return None, None
    if policy.target is not None:
        return policy.target, None
    if isinstance(spec.target, SageMakerServerless | SageMakerBatch):
        return None, None
    room = capacity.headroom(profile, serving_of(profile, spec, spec.target), spec.slo)
    return capacity.metric_target(policy, room), room


def _instances(
    trace: TrafficTrace, profile: Profile, spec: DeploymentSpec, target: InstanceTarget, seed: int
) -> Run:
    aim, room = _policy_numbers(profile, spec)
    clock_s = 0.0 if trace.start is None else clock.second_of_day(trace.start)
    numbers = rules.from_spec(spec.scaling, target, profile, trace.duration_s, aim, clock_s)
    serving = serving_of(profile, spec, target)
    most = rules.most_instances(target, spec.scaling)
    fates = Fates(trace, profile, target)
    play = playback.play_fleet(numbers, serving, trace.arrival_s, most, seed, fates.chosen)
    fates.instances(
        play.requests, play.capacity, serving.queue_limit, waits_outside=numbers.shared_queue > 0
    )
    policy: dict[str, Any] = {"target_per_instance": aim}
    if room is not None:
        policy |= {"max_rps": room.max_rps, "objective_met_by_one": room.is_met}
    return _run(
        trace,
        fates,
        play.capacity,
        details=_details(trace, profile, spec, seed) | {"policy": policy},
        assumptions=assumptions.of_instances(
            spec, target, profile, serving, room, starts=trace.start is not None
        )
        + assumptions.of_sizes(fates, profile),
    )


def _serverless(
    trace: TrafficTrace,
    profile: Profile,
    spec: DeploymentSpec,
    target: SageMakerServerless,
    seed: int,
) -> Run:
    fates = Fates(trace, profile, target)
    containers = Containers(
        cold_start_s=float(target.cold_start_s),
        idle_s=float(target.idle_s),
        provisioned=target.provisioned_concurrency,
        deadline_s=fates.bounds.answer_s,
        distributions=distributions.from_profile(profile, 1),
        free_s=np.full(target.max_concurrency, -np.inf),
        cold_starts=np.zeros(1, np.int64),
    )
    play = playback.play_serverless(containers, trace.arrival_s, seed, fates.chosen)
    fates.containers(play.requests, target.max_concurrency)
    return _run(
        trace,
        fates,
        CapacityTimeline.fixed(target.provisioned_concurrency),
        billed_compute_s=float(play.billed_s.sum()),
        details=_details(trace, profile, spec, seed) | {"cold_starts": play.cold_starts},
        assumptions=assumptions.of_serverless(target, profile)
        + assumptions.of_sizes(fates, profile),
    )


def _run(
    trace: TrafficTrace,
    fates: Fates,
    timeline: CapacityTimeline,
    *,
    details: Mapping[str, Any],
    assumptions: tuple[str, ...],
    billed_compute_s: float | None = None,
) -> Run:
    failed = {
        "failed_by": {reason: count for reason, (_, count) in fates.by.items()},
        "failed_status": {reason: status for reason, (status, _) in fates.by.items()},
    }
    return Run(
        provenance="simulated",
        duration_s=trace.duration_s,
        intended_s=trace.arrival_s,
        done_s=fates.done_s,
        status=fates.status,
        request_bytes=fates.billed_request_bytes,
        response_bytes=fates.billed_response_bytes,
        capacity=timeline,
        billed_compute_s=billed_compute_s,
        details={**details, **failed},
        assumptions=assumptions,
    )


def _details(
    trace: TrafficTrace, profile: Profile, spec: DeploymentSpec, seed: int
) -> dict[str, Any]:
    source = {"name": trace.name, "digest": trace.digest, "origin": trace.origin}
    if trace.start is not None:
        source["start"] = clock.text(trace.start)
    canonical = json.dumps(profile.to_json(), sort_keys=True, separators=(",", ":"))
    return {
        "seed": seed,
        "trace": source,
        "profile": {
            "name": profile.name,
            "digest": hashlib.sha256(canonical.encode()).hexdigest(),
            "bundle_digest": profile.bundle_digest,
            "hardware": dict(profile.hardware),
        },
        "deployment": {
            "name": spec.name,
            "target": serde.kinded(spec.target),
            "scaling": serde.kinded(spec.scaling),
            "slo": dict(spec.slo.items()),
        },
    }
