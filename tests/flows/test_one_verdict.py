"""One file, one answer: every policy with every rollout on every target gets the same verdict from every verb.

What is refused is refused by the same rules from `validate`, `plan`, `simulate`, `compare` and the CDK app; what is
accepted resolves, simulates, is compared and becomes a stack. No call leaves the process: what AWS would be asked
is answered once, below.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deployer
from deployer.deployments.ec2 import resolve as ec2
from deployer.deployments.local.balanced import control, record
from deployer.deployments.sagemaker import resolve as sagemaker
from deployer.errors import NotSupported, RuleBroken
from deployer.profiles import Profile, ServiceTime
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import FleetQueue, Listener
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Image, Place, Resolved
from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling, Rollout
from deployer.spec.scaling import (
    Adjustment,
    CustomMetric,
    Fixed,
    Period,
    QueueBacklog,
    ScalingPolicy,
    Scheduled,
    Step,
    TargetTracking,
)
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)
from inference_code.contract import ServingConfig

TARGETS: dict[str, Target] = {
    "local": Local(4),
    "local behind a balancer": Local(4, balancer=True),
    "realtime": SageMakerRealtime("ml.c5.large", instances=4),
    "realtime on a burstable type": SageMakerRealtime("ml.t2.medium", instances=4),
    "realtime on inf1": SageMakerRealtime("ml.inf1.xlarge", instances=4),
    "serverless": SageMakerServerless(),
    "serverless with provisioned concurrency": SageMakerServerless(provisioned_concurrency=2),
    "async": SageMakerAsync("ml.c5.large", instances=4),
    "batch": SageMakerBatch("ml.c5.large"),
    "ec2 behind a listener": Ec2Fleet("c5.large", instances=4, listener=Listener("http")),
    "ec2 behind a queue": Ec2Fleet("c5.large", instances=4, queue=FleetQueue()),
}
CUSTOM = CustomMetric("Shop", "Depth")


def tracking(**keys: Any) -> TargetTracking:
    return TargetTracking(**({"target": 4.0, "min_instances": 2} | keys))


def steps(*rows: tuple[float, int], **keys: Any) -> Step:
    rest = {"metric": "concurrency", "threshold": 4.0, "min_instances": 2} | keys
    return Step(adjustments=tuple(Adjustment(*row) for row in rows), **rest)


GOOD_STEPS = ((-3.0, -1), (-2.0, 0), (0.0, 1))
SCALING: dict[str, ScalingPolicy] = {
    "fixed": Fixed(),
    "invocations": tracking(),
    "one at least": tracking(min_instances=1),
    "none stated": tracking(target=None),
    "concurrency": tracking(metric="concurrency"),
    "cpu": tracking(metric="cpu", target=60.0),
    "cpu at the end": tracking(metric="cpu", target=100.0),
    "cpu beyond it": tracking(metric="cpu", target=100.1),
    "provisioned": tracking(metric="provisioned_concurrency", target=0.7),
    "provisioned beyond it": tracking(metric="provisioned_concurrency", target=1.1),
    "custom": tracking(metric="custom", custom=CUSTOM),
    "custom without its table": tracking(metric="custom"),
    "custom without a target": tracking(metric="custom", custom=CUSTOM, target=None),
    "cooldown": tracking(scale_out_cooldown_s=60.0),
    "cooldown of a part": tracking(scale_in_cooldown_s=60.5),
    "bounds crossed": tracking(min_instances=5, max_instances=4),
    "bounds equal": tracking(min_instances=4, max_instances=4),
    "many": tracking(metric="provisioned_concurrency", target=0.7, max_instances=21),
    "steps": steps(*GOOD_STEPS),
    "steps on invocations": steps(*GOOD_STEPS, metric="invocations_per_instance"),
    "steps on cpu": steps((-30.0, -1), (-20.0, 0), (20.0, 1), metric="cpu", threshold=70.0),
    "steps beyond cpu": steps((0.0, 1), (40.0, 2), metric="cpu", threshold=70.0),
    "steps below nothing": steps((-5.0, -1), (-4.0, 0), (0.0, 1)),
    "steps on a metric of yours": steps(*GOOD_STEPS, metric="custom", custom=CUSTOM),
    "only removes": steps((-3.0, -1)),
    "adds below": steps((-3.0, 1), (0.0, -1)),
    "changes nothing": steps((0.0, 0)),
    "twenty steps": steps(*((float(i), 1) for i in range(20))),
    "too many steps": steps(*((float(i), 1) for i in range(21))),
    "step cooldown": steps(*GOOD_STEPS, cooldown_s=0.5),
    "by the clock": Scheduled((Period(0.0, 2), Period(32400.0, 6))),
    "within a minute": Scheduled((Period(0.0, 2), Period(34230.0, 6))),
    "zero at night": Scheduled((Period(0.0, 0), Period(32400.0, 6))),
    "zero all day": Scheduled((Period(0.0, 0),)),
    "every ten minutes": Scheduled(tuple(Period(600.0 * i, 2 + i % 2) for i in range(126))),
    "more than there may be": Scheduled((Period(0.0, 2), Period(32400.0, 21))),
    "backlog from zero": QueueBacklog(5.0),
    "backlog": QueueBacklog(5.0, min_instances=2),
    "backlog crossed": QueueBacklog(5.0, min_instances=5),
}
ROLLOUTS: dict[str, Rollout] = {
    "at once": AllAtOnce(),
    "watched": AllAtOnce(bake_s=60.0),
    "watched for a part": AllAtOnce(bake_s=0.5),
    "alarms": AllAtOnce(alarms=("mine",)),
    "no alarms": AllAtOnce(generated_alarms=False),
    "errors": AllAtOnce(max_error_percent=5.0),
    "errors without alarms": AllAtOnce(generated_alarms=False, max_error_percent=5.0),
    "new size": AllAtOnce(retain_capacity=False),
    "time limit": AllAtOnce(timeout_s=900),
    "no time": Linear(50, bake_s=600.0, timeout_s=1200),
    "rolling": Rolling(),
    "rolling few": Rolling(batch_percent=5),
    "canary": Canary(50),
    "canary of none": Canary(1),
    "linear": Linear(50),
    "linear of a quarter": Linear(25),
}
PROFILE = Profile(
    name="digits",
    bundle_digest="",
    precision="fp32",
    hardware={"cpu": "a CPU", "accelerator": "one, so that inf1 is judged by its other rules"},
    workers=1,
    threads=1,
    service_time_ms={1: ServiceTime("deterministic", 10.0)},
    request_bytes=300,
    response_bytes=120,
    memory_mb=100.0,
    startup_s=1.0,
    date="2026-11-20",
)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
DIGEST = "3f" * 32


@cache
def trace() -> Any:
    return deployer.make_trace("constant", rate=2, duration_s=200)


Cell = tuple[str, str, str]


def cells() -> Iterator[Cell]:
    yield from itertools.product(TARGETS, SCALING, ROLLOUTS)


def spec_of(cell: Cell) -> DeploymentSpec:
    target, scaling, rollout = cell
    return DeploymentSpec(
        "digits", "none.tar.gz", TARGETS[target], SCALING[scaling], ROLLOUTS[rollout]
    )


@cache
def verdict(cell: Cell) -> tuple[str, ...]:
    """The ids of the rules that `validate` says are broken, each once."""
    return tuple(dict.fromkeys(row.id for row in deployer.validate(spec_of(cell))))


def refused() -> list[Cell]:
    return [cell for cell in cells() if verdict(cell)]


def accepted() -> list[Cell]:
    return [cell for cell in cells() if not verdict(cell)]


def one_of_each_kind() -> dict[tuple[str, str, str], Cell]:
    """The first accepted cell of each target, kind of policy and kind of rollout."""
    found: dict[tuple[str, str, str], Cell] = {}
    for cell in accepted():
        target, scaling, rollout = cell
        found.setdefault((target, SCALING[scaling].kind, ROLLOUTS[rollout].kind), cell)
    return found


def resolve(spec: DeploymentSpec) -> Resolved | ResolvedFleet:
    """Do what planning does with the answers of an account."""
    place = Place("123456789012", "us-east-1", "target.region")
    image = Image(f"123456789012.dkr.ecr.us-east-1.amazonaws.com/d@sha256:{'7b' * 32}", "7b" * 32)
    if isinstance(spec.target, Ec2Fleet):
        asked = ec2.Asked(derived_target=240.0)
        serving = ServingConfig()
        return ec2.resolve(
            spec, place, image, DIGEST, serving, "ami-0a1b2c3d", asked=asked, now=NOW
        )
    derived = sagemaker.Asked(derived_target=240.0)
    return sagemaker.resolve(spec, place, image, DIGEST, asked=derived, now=NOW, vcpus=2)


def ids_of(cell: Cell, verb: Callable[..., object], *words: object) -> tuple[str, ...]:
    """The ids by which a verb refuses."""
    with pytest.raises(RuleBroken) as caught:
        verb(*words)
    assert caught.value.exit_code == 1
    assert caught.value.code == caught.value.broken[0], cell
    return caught.value.broken


def test_the_table_has_both_verdicts_for_every_target_policy_and_rollout() -> None:
    assert len(refused()) + len(accepted()) == len(TARGETS) * len(SCALING) * len(ROLLOUTS) == 6864
    for cell_set in (refused(), accepted()):
        assert {target for target, _, _ in cell_set} == set(TARGETS)
    assert {rollout for _, _, rollout in accepted()} >= {"at once", "watched", "canary", "linear"}
    kinds = {SCALING[scaling].kind for _, scaling, _ in accepted()}
    assert kinds == {"fixed", "target-tracking", "step", "scheduled", "queue-backlog"}


def test_plan_simulate_and_compare_refuse_by_the_same_rules() -> None:
    for cell in refused():
        spec, ids = spec_of(cell), verdict(cell)
        assert ids_of(cell, deployer.plan, spec) == ids, cell
        simulate = partial(deployer.simulate, trace=trace(), profile=PROFILE)
        assert ids_of(cell, simulate, spec) == ids, cell
        compare = partial(deployer.compare, trace=trace(), profiles=[PROFILE])
        assert ids_of(cell, compare, [spec]) == ids, cell


@pytest.mark.cdk
def test_the_cdk_app_refuses_by_the_same_rules() -> None:
    from stacks.app import build

    app: Any = object()  # the gate stands before anything is made of it
    whole = {
        name: resolve(spec_of((name, "fixed", "at once")))
        for name in TARGETS
        if "local" not in name
    }
    for cell in refused():
        if cell[0] in whole:
            document = replace(whole[cell[0]], spec=spec_of(cell))  # type: ignore[type-var]
            assert ids_of(cell, build, app, document) == verdict(cell), cell


def test_a_profile_of_a_processor_refuses_an_accelerator_wherever_it_is_at_hand() -> None:
    """Nothing else tells: the bundle is not here, so `validate` leaves the rule unchecked."""
    spec = DeploymentSpec("digits", "none.tar.gz", SageMakerRealtime("ml.g5.xlarge"))
    measured = replace(PROFILE, hardware={"cpu": "a CPU"})
    assert deployer.validate(spec) == ()
    assert deployer.simulate(spec, trace=trace(), profile=PROFILE).offered == 400
    with pytest.raises(RuleBroken, match="was measured without an accelerator"):
        deployer.simulate(spec, trace=trace(), profile=measured)
    with pytest.raises(RuleBroken, match="was measured without an accelerator"):
        deployer.compare([spec], trace=trace(), profiles=[measured])


def test_what_is_accepted_resolves() -> None:
    for cell in accepted():
        spec = spec_of(cell)
        if isinstance(spec.target, Local):
            assert control.at_start(spec, None, 40_000.0) <= control.most(spec)
            assert len(record.slots(spec)) == 2 * control.most(spec)
        else:
            assert resolve(spec).spec == spec


def test_what_is_accepted_is_simulated() -> None:
    """A rollout plays no part in a simulation: each target and policy once. NotSupported is no verdict."""
    played = {(target, scaling) for target, scaling, _ in accepted()}
    unplayed = set()
    for target, scaling in sorted(played):
        spec = spec_of((target, scaling, "at once"))
        try:
            assert deployer.simulate(spec, trace=trace(), profile=PROFILE).offered == 400
        except NotSupported:
            unplayed.add((spec.target.kind, spec.scaling.kind))
    assert ("sagemaker-batch", "fixed") in unplayed
    assert len(played) > 80


def test_what_is_accepted_is_compared() -> None:
    """All at once, and each is a candidate: with a price, or with the reason why it has none."""
    played = sorted({(target, scaling) for target, scaling, _ in accepted()})
    specs = [spec_of((target, scaling, "at once")) for target, scaling in played]
    report = deployer.compare(specs, trace=trace(), profiles=[PROFILE], seeds=(0,))
    assert len(report.candidates) == len(specs)


WHOLE = st.integers(0, 600).map(float)
ROWS = st.dictionaries(st.integers(-60, 60), st.integers(-3, 3), min_size=1, max_size=5)
BOUNDS = {"min_instances": st.integers(1, 6), "max_instances": st.integers(1, 30)}
METRIC = st.sampled_from(
    ["invocations_per_instance", "cpu", "concurrency", "provisioned_concurrency"]
)
ANY_SCALING = st.one_of(
    st.just(Fixed()),
    st.builds(TargetTracking, METRIC, st.none() | st.floats(0.1, 120), **BOUNDS),
    st.builds(TargetTracking, METRIC, st.floats(0.1, 120), scale_in_cooldown_s=WHOLE, **BOUNDS),
    st.builds(
        Step,
        METRIC,
        st.integers(0, 90).map(float),
        ROWS.map(lambda rows: tuple(Adjustment(float(k), rows[k]) for k in sorted(rows))),
        **BOUNDS,
    ),
    st.dictionaries(st.integers(0, 1439), st.integers(0, 30), min_size=1, max_size=4).map(
        lambda rows: Scheduled(tuple(Period(60.0 * k, rows[k]) for k in sorted(rows)))
    ),
    st.builds(QueueBacklog, st.floats(0.1, 99), st.integers(0, 6), st.integers(1, 30)),
)
ANY_ROLLOUT = st.one_of(
    st.builds(AllAtOnce, bake_s=WHOLE, generated_alarms=st.booleans()),
    st.builds(Rolling, st.integers(5, 50), WHOLE),
    st.builds(Canary, st.integers(1, 50), WHOLE),
    st.builds(Linear, st.integers(10, 50), WHOLE, timeout_s=st.none() | st.integers(600, 4000)),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(TARGETS)), ANY_SCALING, ANY_ROLLOUT)
def test_whatever_the_book_accepts_resolves_and_is_simulated(
    name: str, scaling: ScalingPolicy, rollout: Rollout
) -> None:
    spec = DeploymentSpec("digits", "none.tar.gz", TARGETS[name], scaling, rollout)
    if deployer.validate(spec):
        return
    if not isinstance(spec.target, Local):
        assert resolve(spec).spec == spec
    with suppress(NotSupported):
        deployer.simulate(spec, trace=trace(), profile=PROFILE)


@pytest.mark.cdk
def test_what_is_accepted_becomes_a_stack() -> None:
    import aws_cdk as cdk

    from stacks.app import build

    chosen = [cell for cell in one_of_each_kind().values() if "local" not in cell[0]]
    for number, cell in enumerate(chosen):
        document = resolve(replace(spec_of(cell), name=f"digits-{number}"))
        build(cdk.App(analytics_reporting=False), document)
    assert len(chosen) >= 40
