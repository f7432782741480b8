"""What a simulation takes for granted, as sentences with their values."""

from __future__ import annotations

import math
from typing import assert_never

from deployer import scaling
from deployer.profiles import Profile
from deployer.simulation import rules
from deployer.simulation.capacity import Headroom
from deployer.simulation.rules import InstanceTarget
from deployer.simulation.world import RANDOM, Serving
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import (
    Fixed,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import Local, SageMakerAsync, SageMakerServerless


def of_instances(
    spec: DeploymentSpec,
    target: InstanceTarget,
    profile: Profile,
    serving: Serving,
    room: Headroom | None,
    *,
    starts: bool,
) -> tuple[str, ...]:
    """Return the assumptions behind a fleet of instances. ``starts``: the trace knows its time of day."""
    sentences = [
        *_service(profile, target),
        *_server(serving),
        *_routing(spec.scaling, target, profile),
    ]
    sentences += _scaling(spec.scaling, target, profile)
    if isinstance(spec.scaling, Scheduled) and not starts:
        sentences.append(_MIDNIGHT)
    if room is not None:
        sentences.append(_derived(spec, room))
    return tuple(sentences)


def of_serverless(target: SageMakerServerless, profile: Profile) -> tuple[str, ...]:
    """Return the assumptions behind a serverless endpoint."""
    sentences = [
        *_service(profile, target),
        f"A cold start takes {target.cold_start_s:g} s and is billed as compute.",
        f"An idle container is kept for {target.idle_s:g} s; the last used one serves next.",
        "A container serves one request at a time; a request beyond "
        f"{target.max_concurrency} concurrent ones is answered 429 at once.",
    ]
    if target.provisioned_concurrency:
        sentences.append(
            f"{target.provisioned_concurrency} provisioned containers are always warm and serve first."
        )
    return tuple(sentences)


def _service(profile: Profile, target: InstanceTarget | SageMakerServerless) -> list[str]:
    if isinstance(target, Local):
        return []
    where = getattr(target, "instance_type", None) or "a serverless container"
    if isinstance(target, SageMakerServerless):
        where = f"{where} of {target.memory_mb} MB"
    cpu = profile.hardware.get("cpu", "an unnamed machine")
    return [f"Service times measured on {cpu} are carried to {where} at factor 1.0."]


def _server(serving: Serving) -> list[str]:
    workers = "1 worker" if serving.workers == 1 else f"{serving.workers} workers"
    sentence = f"Each instance runs {workers} on one queue, in batches of up to {serving.max_batch}"
    if math.isinf(serving.deadline_s):
        return [f"{sentence}; time on the network is 0."]
    return [
        f"{sentence}; the queue holds {serving.queue_limit} requests, the next one is answered 503; "
        "time on the network is 0.",
        f"A request without an answer after {serving.deadline_s:g} s has failed.",
    ]


def _routing(policy: ScalingPolicy, target: InstanceTarget, profile: Profile) -> list[str]:
    at_a_time = rules.shared_queue(policy, target, profile)
    if at_a_time:
        where = " Time to and from S3 is 0." if isinstance(target, SageMakerAsync) else ""
        return [f"Requests wait in one queue; each instance takes {at_a_time} at a time.{where}"]
    if rules.most_instances(target, policy) == 1:
        return []
    if rules.routing(target) == RANDOM:
        return ["Each request goes to an instance at random, SageMaker's default."]
    return ["Each request goes to the instance with the fewest outstanding requests."]


def _scaling(policy: ScalingPolicy, target: InstanceTarget, profile: Profile) -> list[str]:
    """Return what holds for every policy, then what holds for this one."""
    starts = (
        f"A new instance serves {rules.startup_s(target, profile):g} s after the scaling decision and is "
        "billed from the decision; a retired one is billed until its last answer."
    )
    match policy:
        case Fixed():
            return []
        case Scheduled():
            return [starts, "The schedule acts on full minutes of the clock (UTC)."]
        case TargetTracking():
            said = [starts, _alarms(policy.metric, target)]
        case QueueBacklog():
            said = [starts, _alarms("backlog", target), _WAKE]
        case Step():
            said = [starts, _periods(policy.metric, "whose step adds", "whose step removes")]
        case _:
            assert_never(policy)
    if scaling.is_exclusive(target):
        said.append("While an instance starts, the endpoint takes no other scaling action.")
    if getattr(policy, "metric", "") == "cpu":
        said.append("CPU use is taken as the busy share of the workers.")
    return said


_MIDNIGHT = "The trace has no start: it is taken to begin at midnight UTC; `# start=` in trace.csv says otherwise."

_WAKE = (
    f"An endpoint at zero wakes after {scaling.WAKE_PERIODS} periods of "
    f"{scaling.STANDARD_PERIOD_S:g} s with a backlog."
)


def _alarms(metric: str, target: InstanceTarget) -> str:
    low = f"below {scaling.low_ratio(target):g} of it, one instance at a time"
    return _periods(metric, "above the target", low)


def _periods(metric: str, high: str, low: str) -> str:
    fast = scaling.is_fast(metric)
    period_s = scaling.HIGH_RESOLUTION_PERIOD_S if fast else scaling.STANDARD_PERIOD_S
    return (
        f"Metrics come every {period_s:g} s without delay; scale-out after {scaling.HIGH_PERIODS} periods "
        f"{high}, scale-in after {scaling.low_periods(fast)} {low}."
    )


def _derived(spec: DeploymentSpec, room: Headroom) -> str:
    objective = " and ".join(f"{key.removesuffix('_ms')} {ms:g} ms" for key, ms in spec.slo.items())
    if not objective:
        basis = "its saturation; no objective is set"
    elif room.is_met:
        basis = f"the highest simulated Poisson rate that meets {objective}"
    else:
        basis = f"its saturation; no rate meets {objective}"
    return (
        f"The scaling target is derived: {scaling.SAFETY_FACTOR:g} x {room.max_rps:.4g} req/s of one instance "
        f"({basis})."
    )
