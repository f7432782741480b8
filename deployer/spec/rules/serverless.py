"""Rules of scaling on a serverless target: only its provisioned concurrency can scale."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import PROVISIONED, Fixed, Scheduled, TargetTracking
from deployer.spec.target import SageMakerBatch, SageMakerServerless


@rule(
    "serverless-scaling",
    "scaling.kind",
    "scaling.metric",
    says="On a serverless target only provisioned concurrency scales: by its own metric, or by the clock.",
    source="SageMaker developer guide, serverless-endpoints-autoscale: “automatically scales in or out on-demand "
    "serverless endpoints”",
)
def serverless(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Refuse a policy that a serverless endpoint has no use for."""
    policy = spec.scaling
    if not isinstance(spec.target, SageMakerServerless) or isinstance(policy, Fixed | Scheduled):
        return
    if not (isinstance(policy, TargetTracking) and policy.metric == PROVISIONED):
        yield Wrong(
            "scaling.kind",
            "a sagemaker-serverless target scales by itself",
            f"leave out [scaling], or track metric = {PROVISIONED!r}",
        )


@rule(
    "serverless-provisioned",
    "target.provisioned_concurrency",
    "scaling.kind",
    says="A policy on a serverless target needs provisioned concurrency to scale.",
    source="SageMaker developer guide, serverless-endpoints-autoscale: “you must have already deployed a model to a "
    "serverless endpoint with Provisioned Concurrency”",
)
def provisioned(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Without provisioned concurrency there is nothing to scale."""
    target = spec.target
    if not isinstance(target, SageMakerServerless) or isinstance(spec.scaling, Fixed):
        return
    if not target.provisioned_concurrency:
        yield Wrong("target.provisioned_concurrency", "must be at least 1 for a policy to scale it")


@rule(
    "serverless-most",
    "scaling.max_instances",
    "scaling.periods",
    "target.max_concurrency",
    says="Provisioned concurrency scales up to max_concurrency at most.",
    source="SageMaker, ProductionVariantServerlessConfig.ProvisionedConcurrency: “Should be less than or equal to "
    "MaxConcurrency”",
)
def serverless_most(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """No bound above max_concurrency can be reached."""
    target, policy = spec.target, spec.scaling
    if not isinstance(target, SageMakerServerless):
        return
    most, key = 0, "scaling.max_instances"
    if isinstance(policy, Scheduled):
        most, key = max(row.instances for row in policy.periods), "scaling.periods.instances"
    elif not isinstance(policy, Fixed):
        most = policy.max_instances
    if most > target.max_concurrency:
        yield Wrong(key, f"{most} is above target.max_concurrency {target.max_concurrency}")


@rule(
    "provisioned-metric",
    "scaling.metric",
    says=f"The metric {PROVISIONED} is of serverless targets.",
    source="Application Auto Scaling, SageMakerVariantProvisionedConcurrencyUtilization",
)
def provisioned_metric(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Instances have no provisioned concurrency."""
    metric = getattr(spec.scaling, "metric", "")
    if metric == PROVISIONED and not isinstance(spec.target, SageMakerServerless | SageMakerBatch):
        yield Wrong("scaling.metric", f"{metric} has no meaning for a {spec.target.kind} target")


RULES = (serverless, provisioned, serverless_most, provisioned_metric)
"""The rules of this area."""
