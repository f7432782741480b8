"""One change for each key of a specification: what it changes on AWS, or why nothing.

The keys are read off the dataclasses, so a key that is added there without a change here is missed by
``test_changes.py``, which fails.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.rollout import ROLLOUTS
from deployer.spec.scaling import POLICIES
from deployer.spec.target import TARGETS

Document = dict[str, Any]
ABSENT = object()
"""The value of a key that is left out."""

BOTH = "both routes tell AWS something else"
JOB = "a key of the transform job, which the SDK starts on either route"
REFUSED = "no other value is allowed"
ASSUMED = "an assumption of the simulation: AWS takes no such number"
PRICED = "an assumption of the bill: AWS takes no such number"
OBJECTIVE = "an objective for simulation and comparison; alarms watch p99_ms"


@dataclasses.dataclass(frozen=True)
class Change:
    """``keys`` (by their path) get other values in the specification ``base``; ``digest`` is the bundle's."""

    base: str
    keys: Mapping[str, Any]
    outcome: str = BOTH
    digest: str = "3f" * 32

    def apply(self, bases: Mapping[str, Document]) -> Document:
        """Return the changed specification."""
        document = copy.deepcopy(bases[self.base])
        for path, value in self.keys.items():
            *folders, last = path.split(".")
            table = document
            for folder in folders:
                table = table.setdefault(folder, {})
            if value is ABSENT:
                del table[last]
            else:
                assert table.get(last) != value, f"{path} is {value!r} already"
                table[last] = value
        return document


def all_keys() -> Iterator[str]:
    """Yield every key of a specification for SageMaker: ``section:kind.key``."""
    for field in dataclasses.fields(DeploymentSpec):
        if field.name in ("target", "scaling", "rollout"):
            yield f"{field.name}.kind"
        elif field.name != "slo":
            yield field.name
    yield from _leaves("slo", Slo)
    for section, kinds in (("target", TARGETS), ("scaling", POLICIES), ("rollout", ROLLOUTS)):
        for name, kind in kinds.items():
            if section != "target" or name.startswith("sagemaker-"):
                yield from _leaves(f"{section}:{name}", kind)


def _leaves(prefix: str, kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        inner = [arg for arg in (hint, *get_args(hint)) if dataclasses.is_dataclass(arg)]
        if inner:
            yield from _leaves(f"{prefix}.{field.name}", inner[0])
        else:
            yield f"{prefix}.{field.name}"


CUSTOM: Document = {
    "namespace": "Shop",
    "name": "Depth",
    "statistic": "Average",
    "dimensions": {"Stage": "production"},
    "unit": "Count",
}
SUBNETS = {
    "subnets": ["subnet-00000000000000001", "subnet-00000000000000002"],
    "security_groups": ["sg-00000000000000001"],
}
DERIVED: dict[str, tuple[str, Document]] = {
    "custom": (
        "realtime",
        {
            "scaling": {
                "kind": "target-tracking",
                "metric": "custom",
                "target": 3.0,
                "custom": CUSTOM,
            }
        },
    ),
    "rolling": ("realtime", {"rollout": {"kind": "rolling", "batch_percent": 50, "bake_s": 60.0}}),
    "network": ("batch", {"target.network": SUBNETS}),
    "rich-async": ("async", {"target.network": SUBNETS, "target.metrics": {"period_s": 60}}),
}
"""Specifications beside the examples: the example they come from and what is other."""

HOSTING: Document = {
    "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1",
    "role_arn": "arn:aws:iam::123456789012:role/other",
    "kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555",
    "bucket": "other-models",
    "environment": {"LOG_LEVEL": "debug"},
    "region": "us-west-2",
}
INSTANCES: Document = {
    "instance_type": "ml.m5.4xlarge",
    "instances": 3,
    "model_data": "files",
    "volume_gb": 64,
    "network.subnets": ["subnet-00000000000000009"],
    "network.security_groups": ["sg-00000000000000009"],
    "network.isolated": True,
}
ENDPOINT: Document = {
    "health_check_timeout_s": 300,
    "download_timeout_s": 900,
    "metrics.enhanced": False,
    "metrics.scrape": False,
    "metrics.period_s": 10,
}
REALTIME: Document = {
    **HOSTING,
    **INSTANCES,
    **ENDPOINT,
    "network.isolated": False,
    "routing": "least-outstanding",
    "capture.percent": 50,
    "capture.s3_uri": "s3://captured/here",
}
SERVERLESS: Document = {
    **HOSTING,
    "memory_mb": 1024,
    "max_concurrency": 50,
    "provisioned_concurrency": 5,
}
ASYNC: Document = {
    **HOSTING,
    **INSTANCES,
    **ENDPOINT,
    "max_concurrent": 2,
    "output.s3_uri": "s3://elsewhere/answers",
    "output.failure_s3_uri": "s3://elsewhere/failures",
    "output.success_topic_arn": "arn:aws:sns:us-east-1:123456789012:other-done",
    "output.error_topic_arn": "arn:aws:sns:us-east-1:123456789012:other-failed",
}
BATCH: Document = {
    **HOSTING,
    **{key: value for key, value in INSTANCES.items() if key.startswith("network")},
    "input_s3_uri": "s3://elsewhere/pages/",
    "output_s3_uri": "s3://elsewhere/labels/",
}
JOBS: Document = {
    "instance_type": "ml.c5.large",
    "instances": 3,
    "max_payload_mb": 20,
    "content_type": "text/csv",
    "accept": "text/csv",
    "strategy": "single-record",
    "split": "none",
    "assemble": "none",
    "max_concurrent": 4,
}
GUARD: Document = {
    "generated_alarms": False,
    "max_error_percent": 2.5,
    "alarms": ["mine"],
    "retain_capacity": False,
    "timeout_s": 1800,
}
STEPS = [{"above": -20.0, "change": -2}, {"above": 0.0, "change": 0}, {"above": 5.0, "change": 3}]
MORE = [{"above": -5.0, "change": -1}, {"above": 0.0, "change": 0}, {"above": 5.0, "change": 9}]
EARLY = [{"start_s": 18000.0, "instances": 10}, {"start_s": 68400.0, "instances": 2}]
WIDE = [{"start_s": 21600.0, "instances": 12}, {"start_s": 68400.0, "instances": 2}]
FIXED = {"kind": "fixed"}
LINEAR = {"kind": "linear", "percent": 50, "bake_s": 600.0}
AS_ASYNC = {
    "kind": "sagemaker-async",
    "instance_type": "ml.c5.large",
    "region": "us-east-1",
    "instances": 2,
}


def _all(section: str, kind: str, base: str, keys: Document, outcome: str = BOTH) -> Document:
    """One change for each key of a kind."""
    return {
        f"{section}:{kind}.{key}": Change(base, {f"{section}.{key}": value}, outcome)
        for key, value in keys.items()
    }


CHANGES: dict[str, Change] = {
    "name": Change("realtime", {"name": "digits-2"}),
    "bundle": Change("realtime", {}, digest="4e" * 32),
    "tags": Change("realtime", {"tags.team": "sound"}),
    "assumptions": Change("realtime", {"assumptions.image_gb": 9.0}, PRICED),
    "target.kind": Change("realtime", {"target": AS_ASYNC, "scaling": FIXED, "rollout": ABSENT}),
    "scaling.kind": Change("realtime", {"scaling": FIXED}),
    "rollout.kind": Change("realtime", {"rollout": LINEAR}),
    "slo.p50_ms": Change("realtime", {"slo.p50_ms": 10.0}, OBJECTIVE),
    "slo.p90_ms": Change("realtime", {"slo.p90_ms": 50.0}, OBJECTIVE),
    "slo.p99_ms": Change("realtime", {"slo.p99_ms": 200.0}),
    **_all("target", "sagemaker-realtime", "realtime", REALTIME),
    **_all("target", "sagemaker-realtime", "realtime", {"startup_s": 60.0}, ASSUMED),
    **_all("target", "sagemaker-serverless", "serverless", SERVERLESS),
    **_all(
        "target",
        "sagemaker-serverless",
        "serverless",
        {"cold_start_s": 9.0, "idle_s": 60.0},
        ASSUMED,
    ),
    **_all("target", "sagemaker-async", "rich-async", ASYNC),
    **_all("target", "sagemaker-async", "rich-async", {"startup_s": 60.0}, ASSUMED),
    **_all("target", "sagemaker-batch", "network", BATCH),
    **_all("target", "sagemaker-batch", "network", JOBS, JOB),
    **_all(
        "target", "sagemaker-batch", "network", {"model_data": "files", "volume_gb": 9}, REFUSED
    ),
    **_all(
        "scaling",
        "target-tracking",
        "realtime",
        {
            "metric": "concurrency",
            "target": 500.0,
            "min_instances": 3,
            "max_instances": 9,
            "scale_in_cooldown_s": 30.0,
            "scale_out_cooldown_s": 30.0,
        },
    ),
    **{
        f"scaling:target-tracking.custom.{key}": Change("custom", {f"scaling.custom.{key}": value})
        for key, value in {
            "namespace": "Market",
            "name": "Width",
            "statistic": "Maximum",
            "dimensions": {"Stage": "test"},
            "unit": "Bytes",
        }.items()
    },
    "scaling:step.metric": Change(
        "realtime-steps",
        {"scaling.metric": "invocations_per_instance", "scaling.custom": ABSENT},
    ),
    "scaling:step.adjustments.above": Change("realtime-steps", {"scaling.adjustments": STEPS}),
    "scaling:step.adjustments.change": Change("realtime-steps", {"scaling.adjustments": MORE}),
    **_all(
        "scaling",
        "step",
        "realtime-steps",
        {"threshold": 20.0, "min_instances": 5, "max_instances": 9, "cooldown_s": 30.0},
    ),
    **_all(
        "scaling",
        "step",
        "realtime-steps",
        {
            "custom.namespace": "Market",
            "custom.name": "Width",
            "custom.statistic": "Maximum",
            "custom.dimensions": {"Stage": "test"},
            "custom.unit": "Bytes",
        },
    ),
    "scaling:scheduled.periods.start_s": Change("realtime-schedule", {"scaling.periods": EARLY}),
    "scaling:scheduled.periods.instances": Change("realtime-schedule", {"scaling.periods": WIDE}),
    **_all(
        "scaling",
        "queue-backlog",
        "async",
        {
            "target": 9.0,
            "min_instances": 1,
            "max_instances": 9,
            "scale_in_cooldown_s": 30.0,
            "scale_out_cooldown_s": 30.0,
        },
    ),
    **_all("rollout", "all-at-once", "realtime-concurrency", GUARD | {"bake_s": 30.0}),
    **_all("rollout", "rolling", "rolling", GUARD | {"batch_percent": 25, "bake_s": 30.0}),
    **_all("rollout", "canary", "realtime", GUARD | {"percent": 25, "bake_s": 30.0}),
    **_all(
        "rollout",
        "linear",
        "realtime-steps",
        GUARD | {"percent": 50, "bake_s": 30.0},
    ),
}
