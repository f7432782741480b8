"""Specifications, one trace and the profiles of their bundles become entries that ``cost`` can compare.

Each specification is simulated once per seed. The same simulator is held against the load tests that were
measured on this machine, and is run again under other traffic and slower starts, so that the report can
say how far to trust it and what would change its answer.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.cost.candidates import Entry
from deployer.cost.sensitivity import Change
from deployer.deployments.inventory import made
from deployer.errors import InputError, NotSupported
from deployer.profiles import Profile
from deployer.progress import Say
from deployer.runs import Run
from deployer.simulation import simulation
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.scaling import Fixed, Scheduled
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerRealtime,
    SageMakerServerless,
)
from deployer.stats import P99_MIN_SAMPLES
from deployer.traffic.trace import TrafficTrace
from deployer.units import format_ms
from inference_code.contract import UNSTATED


@dataclass(frozen=True)
class Question:
    """What is compared: specifications over one trace, with the profiles of their bundles."""

    specs: tuple[DeploymentSpec, ...]
    trace: TrafficTrace
    profiles: tuple[Profile, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.specs or not self.profiles or not self.seeds:
            raise InputError("a comparison needs a specification, a profile and a seed")
        if len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"seeds must differ: {self.seeds!r}")

    def entries(self, say: Say) -> list[Entry]:
        """Simulate every specification with every seed, on all cores."""
        names = candidate_names(self.specs, self.profiles)

        def entry(i: int) -> Entry:
            say(f"simulate {i + 1}/{len(names)} {names[i]}")
            return self._entry(names[i], self.specs[i])

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(entry, range(len(names))))

    def changed(self, change: Change, say: Say) -> list[Entry]:
        """Simulate every specification again, once, under ``change``."""
        say(f"simulate again: {change}")
        other = dataclasses.replace(
            self,
            specs=tuple(_slower(spec, change.startup_extra_s) for spec in self.specs),
            trace=self.trace if change.traffic == 1 else self.trace.scaled(change.traffic),
            seeds=self.seeds[:1],
        )
        return other.entries(lambda _: None)

    def _entry(self, name: str, spec: DeploymentSpec) -> Entry:
        profile = profile_of(spec, self.profiles)
        if profile is None:
            reason = f"no profile of {Path(spec.bundle).name}: run `deployer profile` on it"
            return Entry(name, spec, unknown_reason=reason)
        try:
            runs = tuple(
                simulation.simulate(self.trace, profile, spec, seed) for seed in self.seeds
            )
        except NotSupported as error:
            return Entry(name, spec, profile, unknown_reason=error.message)
        return Entry(name, spec, profile, runs, made=made(spec))


def profile_of(spec: DeploymentSpec, profiles: Sequence[Profile]) -> Profile | None:
    """Return the profile of the specification's bundle, known by the digest in its file name.

    A bundle whose name carries no digest takes the only profile there is.
    """
    for profile in profiles:
        if profile.bundle_digest and profile.bundle_digest[:12] in Path(spec.bundle).name:
            return profile
    named = any(part.isalnum() and len(part) == 12 for part in _stem(spec).rsplit("-", 1)[1:])
    return profiles[0] if len(profiles) == 1 and not named else None


def candidate_names(
    specs: Sequence[DeploymentSpec], profiles: Sequence[Profile]
) -> tuple[str, ...]:
    """Name each candidate by target, size and precision, where it is known.

    A name used twice gets the deployment's name, and where that is used twice too, a number.
    """
    names = []
    for spec in specs:
        profile = profile_of(spec, profiles)
        model = profile.precision if profile else _stem(spec)
        names.append(f"{_target_words(spec)} {model}".removesuffix(f" {UNSTATED}"))
    twice = Counter(names)
    names = [
        f"{name} ({spec.name})" if twice[name] > 1 else name
        for name, spec in zip(names, specs, strict=True)
    ]
    counts, seen = Counter(names), Counter[str]()
    for i, name in enumerate(names):
        seen[name] += 1
        if counts[name] > 1:
            names[i] = f"{name} #{seen[name]}"
    return tuple(names)


def calibration(runs: Sequence[Run], profiles: Sequence[Profile]) -> tuple[str, ...]:
    """Simulate each measured load test over its own arrivals, and say how far apart the two are.

    A run is matched to its profile by ``details["bundle_digest"]``; one without is left out. The server that
    was measured may have run fewer workers (``details["workers"]``) than an instance will.
    """
    found = []
    for run in runs:
        digest = run.details.get("bundle_digest")
        profile = next((p for p in profiles if digest and p.bundle_digest == digest), None)
        if profile is not None:
            found.append(_calibrate(run, profile))
    return tuple(found)


def _calibrate(run: Run, profile: Profile) -> str:
    # no start: nothing is scheduled here, so the time of day changes nothing
    trace = TrafficTrace("load test", run.intended_s, run.duration_s)
    profile = dataclasses.replace(profile, workers=run.details.get("workers", profile.workers))
    spec = DeploymentSpec("calibration", "measured", Local())
    simulated = simulation.simulate(trace, profile, spec, seed=0).latency()
    measured = run.latency()
    rate = run.offered / run.duration_s
    pairs = [("p50", simulated.p50, measured.p50), ("p90", simulated.p90, measured.p90)]
    if run.successes >= P99_MIN_SAMPLES:
        pairs.append(("p99", simulated.p99, measured.p99))
    words = [
        f"{key} {format_ms(s)} ms simulated, {format_ms(m)} ms measured ({s / m - 1:+.0%})"
        for key, s, m in pairs
        if s is not None and m
    ]
    where = profile.hardware.get("cpu", "this machine")
    return (
        f"{profile.name} {profile.precision} at {rate:.1f} requests/s on {where}, "
        f"n = {measured.count:,}: {'; '.join(words)}."
    )


def measured_summary(run: Run) -> dict[str, Any]:
    """Return a measured run's document without its samples."""
    document = run.to_json()
    for key in ("samples", "latency_percentiles_ms"):
        document.pop(key, None)
    return document


def _slower(spec: DeploymentSpec, extra_s: float) -> DeploymentSpec:
    match spec.target:
        case SageMakerRealtime() | SageMakerAsync() | Ec2Fleet() as target:
            slower = dataclasses.replace(target, startup_s=target.startup_s + extra_s)
            return dataclasses.replace(spec, target=slower)
        case _:
            return spec


def _target_words(spec: DeploymentSpec) -> str:
    match spec.target:
        case SageMakerServerless():
            return f"serverless {spec.target.memory_mb / 1024:g} GB"
        case Local():
            return f"local ×{spec.target.instances}"
        case Ec2Fleet():
            return f"ec2-fleet {spec.target.instance_type} {_bounds(spec)}"
        case _:
            kind = spec.target.kind.removesuffix("-realtime")
            return f"{kind} {spec.target.instance_type} {_bounds(spec)}"


def _bounds(spec: DeploymentSpec) -> str:
    match spec.scaling:
        case Fixed():
            return f"×{spec.target.instances}"
        case Scheduled():
            return "scheduled"
        case policy:
            return f"{policy.min_instances}–{policy.max_instances}"


def _stem(spec: DeploymentSpec) -> str:
    return Path(spec.bundle).name.removesuffix(".tar.gz")
