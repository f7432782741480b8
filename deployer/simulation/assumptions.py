"""What a simulation takes for granted, as sentences with their values."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from deployer import autoscaler
from deployer.profiles import Profile
from deployer.simulation import rules
from deployer.simulation.capacity import Headroom
from deployer.simulation.failures import ANSWER_TOO_LARGE, TOO_LARGE, Fates, patience
from deployer.simulation.rules import InstanceTarget
from deployer.simulation.state import RANDOM, Serving
from deployer.spec import limits
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.limits import RunLimits
from deployer.spec.scaling import (
    Fixed,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import Ec2Fleet, Local, SageMakerAsync, SageMakerServerless
from inference_code.contract import ServingConfig

DEFAULT_BODY_BYTES = ServingConfig.max_body_bytes
"""The largest body that a bundle's server takes, unless the bundle says otherwise."""


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
        *_server(serving, target),
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
    where = target.instance_type or "a serverless container"
    if isinstance(target, SageMakerServerless):
        where = f"{where} of {target.memory_mb} MB"
    cpu = profile.hardware.get("cpu", "an unnamed machine")
    return [f"Service times measured on {cpu} are carried to {where} at factor 1.0."]


def of_sizes(fates: Fates, profile: Profile) -> tuple[str, ...]:
    """Return the assumptions behind bodies that are too large, none where no body is."""
    sentences = []
    statuses = {status for status, _ in fates.by.values()}
    if TOO_LARGE in statuses:
        sentences.append(
            "A request that is refused for its size is answered 413 at once: it reaches no server, counts in "
            "no metric and moves no byte that is billed."
        )
    if ANSWER_TOO_LARGE in statuses:
        sentences.append(
            "An answer that is too large is computed and billed as compute; its caller gets 424 in its place."
        )
    if profile.max_body_bytes is None and fates.request_bytes.max() > DEFAULT_BODY_BYTES:
        reach = (fates.request_bytes > DEFAULT_BODY_BYTES) & (fates.status != TOO_LARGE)
        if reach.any():
            sentences.append(_unknown_body(int(np.count_nonzero(reach))))
    return tuple(sentences)


def _unknown_body(count: int) -> str:
    return (
        "The profile does not say how large a body the bundle's server takes: it is taken to take all, also "
        f"the {count:,} that are larger than its default of {DEFAULT_BODY_BYTES:,} bytes."
    )


def _server(serving: Serving, target: InstanceTarget) -> list[str]:
    workers = "1 worker" if serving.workers == 1 else f"{serving.workers} workers"
    sentence = f"Each instance runs {workers} on one queue, in batches of up to {serving.max_batch}"
    if math.isinf(serving.deadline_s):
        return [f"{sentence}; time on the network is 0.", *_queue(limits.of(target))]
    most = patience(limits.of(target), waits_outside=False)
    return [
        f"{sentence}; the queue holds {serving.queue_limit} requests, the next one is answered 503; "
        "time on the network is 0.",
        f"A request without an answer after {most.answer_s:g} s has failed.",
    ]


def _queue(bounds: RunLimits) -> list[str]:
    """Return what holds of a queue that belongs to the target."""
    said = []
    if math.isfinite(bounds.wait_s):
        said.append(
            f"A request that waits in the queue for longer than {bounds.wait_s:,.0f} s is gone."
        )
        if math.isfinite(bounds.answer_s):
            said.append(
                f"An answer may take {bounds.answer_s:g} s from when an instance has the request: past that it has "
                "failed, and the instance works on. serving.request_timeout_s is taken to be no shorter."
            )
    return said


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
            said = [
                starts,
                _periods(policy.metric, target, "whose step adds", "whose step removes"),
            ]
        case _:
            assert_never(policy)
    if autoscaler.is_exclusive(target):
        said.append("While an instance starts, the endpoint takes no other scaling action.")
    if getattr(policy, "metric", "") == "cpu":
        said.append("CPU use is taken as the busy share of the workers.")
    if getattr(policy, "metric", "") == "concurrency" and isinstance(target, Ec2Fleet):
        said.append(_LITTLE)
    return said


_LITTLE = (
    "Concurrency on EC2 is requests x mean time / hosts of a minute (Little's law); it is taken as the mean "
    "number in flight per instance."
)

_MIDNIGHT = "The trace has no start: it is taken to begin at midnight UTC; `# start=` in trace.csv says otherwise."

_WAKE = (
    f"An endpoint at zero wakes after {autoscaler.WAKE_PERIODS} periods of "
    f"{autoscaler.STANDARD_PERIOD_S:g} s with a backlog."
)


def _alarms(metric: str, target: InstanceTarget) -> str:
    low = f"below {autoscaler.low_ratio(target):g} of it, one instance at a time"
    return _periods(metric, target, "above the target", low)


def _periods(metric: str, target: InstanceTarget, high: str, low: str) -> str:
    return (
        f"Metrics come every {autoscaler.period_s(metric, target):g} s without delay; scale-out after "
        f"{autoscaler.HIGH_PERIODS} periods {high}, scale-in after {autoscaler.low_periods(metric, target)} {low}."
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
        f"The scaling target is derived: {autoscaler.SAFETY_FACTOR:g} x {room.max_rps:.4g} req/s of one instance "
        f"({basis})."
    )
