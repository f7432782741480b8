"""deployer: put a model into production on AWS at the lowest cost that meets its latency.

A model file travels through nouns, each of which can be saved and picked up later::

    optimize -> package -> check -> profile -> loadtest      (this machine, measured)
    make_trace -> simulate -> compare                        (AWS, simulated and priced)
    plan -> deploy -> status -> invoke -> destroy            (what runs)

Names load on first use, so that ``import deployer`` brings in no torch, boto3, onnxruntime or aws_cdk.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deployer.names import BEFORE, HOMES

if TYPE_CHECKING:
    from deployer.api import (
        compare,
        deploy,
        destroy,
        edge,
        endpoint,
        expired,
        export,
        invoke,
        loadtest,
        logs,
        make_trace,
        optimize,
        package,
        plan,
        prices,
        profile,
        read_trace,
        reap,
        rollback,
        save_trace,
        serve,
        serve_as_sagemaker,
        serving,
        serving_as_sagemaker,
        simulate,
        status,
        transform,
        upload,
        validate,
    )
    from deployer.bundle.bundle import Bundle
    from deployer.clients.base import Answer, Body, Invoker
    from deployer.clients.batch import BatchResult
    from deployer.conformance import check
    from deployer.conformance.report import ConformanceReport, RuleResult
    from deployer.conformance.site import Site
    from deployer.cost.report import Bill, Candidate, CostReport, LineItem, LoadCurve, LoadPoint
    from deployer.deployments.backend import Change, Deployed, Expired, Reaped, Status
    from deployer.deployments.state import Server, ServerLog
    from deployer.errors import (
        AwsRefusal,
        ConditionFailed,
        DeployerError,
        EnvironmentProblem,
        InputError,
        Interrupted,
        NotSupported,
        PartialFailure,
        RuleBroken,
        SpecError,
        UnknownPrice,
        Unreachable,
    )
    from deployer.image.build import BuiltImage
    from deployer.image.build import build as build_image
    from deployer.image.push import PushedImage
    from deployer.image.push import push as push_image
    from deployer.optimization.edgebundle import EdgeBundle, Measured
    from deployer.optimization.gate import Verdict
    from deployer.optimization.report import LadderReport, RungResult
    from deployer.optimization.second import OutputVerdict
    from deployer.optimization.timing import Speedup
    from deployer.optimization.variant import Variant
    from deployer.pricing.book import Price, Sku
    from deployer.profiles import Profile, ServiceTime
    from deployer.report.terminal import terminal_table as format_report
    from deployer.runs import CapacityTimeline, Run
    from deployer.spec.assumptions import Assumptions
    from deployer.spec.deployment import DeploymentSpec, Slo
    from deployer.spec.fleet import (
        FleetNetwork,
        FleetQueue,
        FleetType,
        Health,
        Listener,
        Spot,
        WarmPool,
    )
    from deployer.spec.fleet_resolved import DrainBudget, Refresh, ResolvedFleet
    from deployer.spec.hosting import AsyncOutput, Capture, Metrics, Network
    from deployer.spec.resolved import (
        Alarm,
        Artifact,
        Expression,
        Image,
        Input,
        Metric,
        Place,
        Policies,
        Resolved,
        Role,
        Scaling,
        ScheduledAction,
        Statement,
        Stepping,
        StepRange,
        Tracking,
    )
    from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
    from deployer.spec.rules.rule import Broken
    from deployer.spec.scaling import (
        Adjustment,
        CustomMetric,
        Fixed,
        Period,
        QueueBacklog,
        Scheduled,
        Step,
        TargetTracking,
    )
    from deployer.spec.serde import load as load_spec
    from deployer.spec.target import (
        Ec2Fleet,
        Local,
        SageMakerAsync,
        SageMakerBatch,
        SageMakerRealtime,
        SageMakerServerless,
    )
    from deployer.stats import LatencySummary
    from deployer.traffic.trace import TrafficTrace
    from inference_code.contract import Batching, Manifest, Member, ServingConfig, TensorSpec


__all__ = [
    "Adjustment",
    "Alarm",
    "AllAtOnce",
    "Answer",
    "Artifact",
    "Assumptions",
    "AsyncOutput",
    "AwsRefusal",
    "BatchResult",
    "Batching",
    "Bill",
    "Body",
    "Broken",
    "BuiltImage",
    "Bundle",
    "Canary",
    "Candidate",
    "CapacityTimeline",
    "Capture",
    "Change",
    "ConditionFailed",
    "ConformanceReport",
    "CostReport",
    "CustomMetric",
    "Deployed",
    "DeployerError",
    "DeploymentSpec",
    "DrainBudget",
    "Ec2Fleet",
    "EdgeBundle",
    "EnvironmentProblem",
    "Expired",
    "Expression",
    "Fixed",
    "FleetNetwork",
    "FleetQueue",
    "FleetType",
    "Health",
    "Image",
    "Input",
    "InputError",
    "Interrupted",
    "Invoker",
    "LadderReport",
    "LatencySummary",
    "LineItem",
    "Linear",
    "Listener",
    "LoadCurve",
    "LoadPoint",
    "Local",
    "Manifest",
    "Measured",
    "Member",
    "Metric",
    "Metrics",
    "Network",
    "NotSupported",
    "OutputVerdict",
    "PartialFailure",
    "Period",
    "Place",
    "Policies",
    "Price",
    "Profile",
    "PushedImage",
    "QueueBacklog",
    "Reaped",
    "Refresh",
    "Resolved",
    "ResolvedFleet",
    "Role",
    "Rolling",
    "RuleBroken",
    "RuleResult",
    "Run",
    "RungResult",
    "SageMakerAsync",
    "SageMakerBatch",
    "SageMakerRealtime",
    "SageMakerServerless",
    "Scaling",
    "Scheduled",
    "ScheduledAction",
    "Server",
    "ServerLog",
    "ServiceTime",
    "ServingConfig",
    "Site",
    "Sku",
    "Slo",
    "SpecError",
    "Speedup",
    "Spot",
    "Statement",
    "Status",
    "Step",
    "StepRange",
    "Stepping",
    "TargetTracking",
    "TensorSpec",
    "Tracking",
    "TrafficTrace",
    "UnknownPrice",
    "Unreachable",
    "Variant",
    "Verdict",
    "WarmPool",
    "build_image",
    "check",
    "compare",
    "deploy",
    "destroy",
    "edge",
    "endpoint",
    "expired",
    "export",
    "format_report",
    "invoke",
    "load_spec",
    "loadtest",
    "logs",
    "make_trace",
    "optimize",
    "package",
    "plan",
    "prices",
    "profile",
    "push_image",
    "read_trace",
    "reap",
    "rollback",
    "save_trace",
    "serve",
    "serve_as_sagemaker",
    "serving",
    "serving_as_sagemaker",
    "simulate",
    "status",
    "transform",
    "upload",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from deployer.distribution import version

        return version()
    try:
        module, attribute = HOMES[BEFORE.get(name, name)]
    except KeyError:
        raise AttributeError(f"module 'deployer' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
