"""The policies of `doctor --policy` against every call that the SDK route makes, recorded from botocore's events."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest

from deployer.aws.session import Aws, connect
from deployer.deployments.aws.polling import Polling
from deployer.deployments.sagemaker import rollback, status, verbs
from deployer.doctor import documents as texts
from deployer.doctor import policies
from deployer.pricing import snapshot
from deployer.pricing.book import Price, PriceBook, Sku
from deployer.spec.rollout import AllAtOnce
from deployer.spec.scaling import (
    Adjustment,
    CustomMetric,
    Fixed,
    Period,
    QueueBacklog,
    Scheduled,
    Step,
)
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

_SOURCE = Path(__file__).parents[3] / "fakes" / "iam.py"
_SPEC = importlib.util.spec_from_file_location("fake_iam", _SOURCE)
assert _SPEC is not None
assert _SPEC.loader is not None
iam = importlib.util.module_from_spec(_SPEC)
sys.modules["fake_iam"] = iam
_SPEC.loader.exec_module(iam)

SHARED = {
    # One scalable target is told from another by no name of ours, and all deployments share the bucket.
    "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeleteScheduledAction",
    "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:PutScheduledAction", "application-autoscaling:RegisterScalableTarget",
    "iam:CreateServiceLinkedRole", "s3:CreateBucket", "s3:DeleteBucket",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
}  # fmt: skip


class Recorder:
    """A session of boto3 that notes what each call asks IAM for."""

    def __init__(self) -> None:
        self.needs: dict[str, Any] = {}
        self.session = boto3.Session()
        self.session.events.register("provide-client-params", self.record)

    def record(self, params: dict[str, Any], model: Any, **rest: Any) -> None:
        for need in iam.needs(model.service_model.service_name, model.name, params):
            self.needs[f"{need} {sorted(need.context.items())}"] = need

    def take(self) -> tuple[Any, ...]:
        """Return what was noted since the last time."""
        found = tuple(self.needs.values())
        self.needs.clear()
        return found


class Watched:
    """The verbs of ``cloud`` with a recorder under them."""

    def __init__(self, cloud: Any) -> None:
        self.recorder, self._cloud = Recorder(), cloud
        region = connect().region
        cloud.aws = lambda: Aws(region, session=self.recorder.session)
        self.cloud = cloud


@pytest.fixture
def watched(cloud: Any) -> Watched:
    return Watched(cloud)


ALL_AT_ONCE = AllAtOnce(generated_alarms=True)
TARGETS: dict[str, dict[str, Any]] = {
    "realtime": {},
    "files": {
        "target": SageMakerRealtime("ml.c5.large", instances=2, model_data="files"),
        "scaling": Step("custom", 10.0, (Adjustment(0.0, 1),), 2, 4, custom=CustomMetric("App", "Depth")),
        "rollout": ALL_AT_ONCE,
    },
    "schedule": {"scaling": Scheduled((Period(0.0, 2), Period(43200.0, 3)))},
    "serverless": {
        "target": SageMakerServerless(memory_mb=2048, max_concurrency=10, provisioned_concurrency=2),
        "scaling": Fixed(), "rollout": AllAtOnce(),
    },
    "async": {
        "target": SageMakerAsync("ml.c5.large"), "scaling": QueueBacklog(5.0, max_instances=2),
        "rollout": ALL_AT_ONCE,
    },
    "batch": {"target": SageMakerBatch("ml.c5.xlarge"), "scaling": Fixed(), "rollout": AllAtOnce()},
}  # fmt: skip


def documents(spec: Any, *purposes: texts.Purpose, name: str = "") -> list[dict[str, Any]]:
    """What the role of a pipeline for ``spec`` may do."""
    wish = replace(spec, name=name) if name else spec
    scope = policies.scope(wish, account=iam.ACCOUNT, caller="user/moto")
    return [texts.document(purpose, scope) for purpose in purposes]


def not_allowed(needs: Any, rules: list[dict[str, Any]]) -> list[str]:
    return sorted({str(need) for need in needs if not iam.allowed(rules, need)})


def calm() -> Polling:
    """A clock of its own, which every look moves."""
    ticks = count(0.0, 10.0)
    return Polling(10, 40, 3600, sleep=lambda seconds: None, clock=lambda: next(ticks))


def book() -> PriceBook:
    """The snapshot, and made-up prices of what it does not know: this is not about money."""
    known = snapshot.load()
    skus = [
        Sku(f"sagemaker-{service}", "us-east-1", item)
        for service, item in (
            ("async", "ml.c5.large"), ("batch-transform", "ml.c5.xlarge"),
            ("serverless-pc", "Usage-2GB"), ("serverless-pc", "Duration-2GB"),
        )
    ]  # fmt: skip
    more = {sku: Price(sku, "hour", Decimal(1), "made up", "2026-01-01") for sku in skus}
    return replace(known, prices={**known.prices, **more})


def deploy(watched: Watched, spec: Any) -> None:
    aws = watched.cloud.aws()
    verbs.apply(aws, verbs.plan(aws, spec, book()), polling=calm())


def live(watched: Watched, spec: Any, later: Any) -> None:
    """Deploy, deploy a second version, look, go back, and destroy."""
    cloud = watched.cloud
    deploy(watched, spec)
    deploy(watched, later)
    if not isinstance(spec.target, SageMakerBatch):
        status.status(cloud.aws(), spec.name, book())
        verbs.logs(cloud.aws(), spec.name, lines=10)
        rollback.rollback(cloud.aws(), spec.name, polling=calm())
    cloud.destroy()
    assert cloud.remaining() == ()


@pytest.mark.parametrize("kind", TARGETS)
def test_planning_needs_the_policy_of_plan_and_no_more(watched: Watched, kind: str) -> None:
    spec = watched.cloud.spec(**TARGETS[kind])
    deploy(watched, spec)
    watched.recorder.take()
    later = watched.cloud.spec("2", **TARGETS[kind])
    verbs.plan(watched.cloud.aws(), later, book())
    needs = watched.recorder.take()
    assert len(needs) > 10
    assert not_allowed(needs, documents(spec, "plan")) == []


@pytest.mark.parametrize("kind", TARGETS)
def test_all_of_a_deployments_life_needs_both_policies_and_no_more(
    watched: Watched, kind: str
) -> None:
    spec = watched.cloud.spec(**TARGETS[kind])
    live(watched, spec, watched.cloud.spec("2", **TARGETS[kind]))
    needs = watched.recorder.take()
    assert not_allowed(needs, documents(spec, "plan", "deploy")) == []
    # Another deployment's roles may do none of what changes something, but for what has no narrower name.
    changing = [need for need in needs if not iam.allowed(documents(spec, "plan"), need)]
    others = documents(spec, "plan", "deploy", name="letters")
    shared = {str(need) for need in changing if iam.allowed(others, need)}
    assert changing
    assert {word.partition(" ")[0] for word in shared} <= SHARED
