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
    from deployer.clients.base import Body
    from deployer.conformance import check
    from deployer.errors import DeployerError
    from deployer.image.build import build as build_image
    from deployer.image.push import push as push_image
    from deployer.report.terminal import terminal_table as format_report
    from deployer.spec.deployment import DeploymentSpec, Slo
    from deployer.spec.fleet import FleetQueue, Listener
    from deployer.spec.rollout import AllAtOnce, Canary, Linear, Rolling
    from deployer.spec.scaling import Fixed, QueueBacklog, Scheduled, Step, TargetTracking
    from deployer.spec.serde import load as load_spec
    from deployer.spec.target import (
        Ec2Fleet,
        Local,
        SageMakerAsync,
        SageMakerBatch,
        SageMakerRealtime,
        SageMakerServerless,
    )

_HOMES = {
    "AllAtOnce": ("deployer.spec.rollout", "AllAtOnce"),
    "Body": ("deployer.clients.base", "Body"),
    "build_image": ("deployer.image.build", "build"),
    "Canary": ("deployer.spec.rollout", "Canary"),
    "check": ("deployer.conformance", "check"),
    "compare": ("deployer.api", "compare"),
    "deploy": ("deployer.api", "deploy"),
    "DeployerError": ("deployer.errors", "DeployerError"),
    "DeploymentSpec": ("deployer.spec.deployment", "DeploymentSpec"),
    "destroy": ("deployer.api", "destroy"),
    "Ec2Fleet": ("deployer.spec.target", "Ec2Fleet"),
    "edge": ("deployer.api", "edge"),
    "endpoint": ("deployer.api", "endpoint"),
    "export": ("deployer.api", "export"),
    "expired": ("deployer.api", "expired"),
    "Fixed": ("deployer.spec.scaling", "Fixed"),
    "FleetQueue": ("deployer.spec.fleet", "FleetQueue"),
    "format_report": ("deployer.report.terminal", "terminal_table"),
    "invoke": ("deployer.api", "invoke"),
    "Linear": ("deployer.spec.rollout", "Linear"),
    "Listener": ("deployer.spec.fleet", "Listener"),
    "load_spec": ("deployer.spec.serde", "load"),
    "loadtest": ("deployer.api", "loadtest"),
    "Local": ("deployer.spec.target", "Local"),
    "logs": ("deployer.api", "logs"),
    "make_trace": ("deployer.api", "make_trace"),
    "optimize": ("deployer.api", "optimize"),
    "package": ("deployer.api", "package"),
    "plan": ("deployer.api", "plan"),
    "prices": ("deployer.api", "prices"),
    "profile": ("deployer.api", "profile"),
    "QueueBacklog": ("deployer.spec.scaling", "QueueBacklog"),
    "push_image": ("deployer.image.push", "push"),
    "read_trace": ("deployer.api", "read_trace"),
    "reap": ("deployer.api", "reap"),
    "rollback": ("deployer.api", "rollback"),
    "Rolling": ("deployer.spec.rollout", "Rolling"),
    "SageMakerAsync": ("deployer.spec.target", "SageMakerAsync"),
    "SageMakerBatch": ("deployer.spec.target", "SageMakerBatch"),
    "SageMakerRealtime": ("deployer.spec.target", "SageMakerRealtime"),
    "SageMakerServerless": ("deployer.spec.target", "SageMakerServerless"),
    "serving_as_sagemaker": ("deployer.api", "serving_as_sagemaker"),
    "save_trace": ("deployer.api", "save_trace"),
    "Scheduled": ("deployer.spec.scaling", "Scheduled"),
    "serve": ("deployer.api", "serve"),
    "serve_as_sagemaker": ("deployer.api", "serve_as_sagemaker"),
    "serving": ("deployer.api", "serving"),
    "simulate": ("deployer.api", "simulate"),
    "Slo": ("deployer.spec.deployment", "Slo"),
    "status": ("deployer.api", "status"),
    "Step": ("deployer.spec.scaling", "Step"),
    "TargetTracking": ("deployer.spec.scaling", "TargetTracking"),
    "transform": ("deployer.api", "transform"),
    "upload": ("deployer.api", "upload"),
    "validate": ("deployer.api", "validate"),
}

_BEFORE = {"sagemaker_twin": "serving_as_sagemaker"}
"""What a name of version 0.1 is called now."""

__all__ = [
    "AllAtOnce",
    "Body",
    "Canary",
    "DeployerError",
    "DeploymentSpec",
    "Ec2Fleet",
    "Fixed",
    "FleetQueue",
    "Linear",
    "Listener",
    "Local",
    "QueueBacklog",
    "Rolling",
    "SageMakerAsync",
    "SageMakerBatch",
    "SageMakerRealtime",
    "SageMakerServerless",
    "Scheduled",
    "Slo",
    "Step",
    "TargetTracking",
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
        module, attribute = _HOMES[_BEFORE.get(name, name)]
    except KeyError:
        raise AttributeError(f"module 'deployer' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
