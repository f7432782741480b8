"""Batch: a transform job over objects in S3, watched until it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployer.aws.sagemaker import SageMaker
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.progress import Say, silent
from deployer.spec import naming
from deployer.spec.instances import local_disks
from deployer.spec.target import SageMakerBatch

_STRATEGIES = {"multi-record": "MultiRecord", "single-record": "SingleRecord"}
_WORDS = {"none": "None", "line": "Line", "recordio": "RecordIO", "tfrecord": "TFRecord"}
_ENDED = ("Completed", "Failed", "Stopped")
LOOK_S = 10.0


@dataclass(frozen=True)
class BatchResult:
    """A job that completed: where its answers lie, and how long it ran, in seconds (None when AWS does not say)."""

    name: str
    output_s3_uri: str
    seconds: float | None


def request(
    name: str,
    model: str,
    target: SageMakerBatch,
    *,
    input_s3_uri: str = "",
    output_s3_uri: str = "",
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the CreateTransformJob request of a specification. Raises InputError without input or output."""
    source = input_s3_uri or target.input_s3_uri
    sink = output_s3_uri or target.output_s3_uri
    for what, uri in (("input", source), ("output", sink)):
        if not uri:
            raise InputError(
                f"a batch job needs its {what} in S3",
                hint=f"name it with --{what}, or as target.{what}_s3_uri",
            )
    where = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}}}
    content = {"ContentType": target.content_type} if target.content_type else {}
    accept = {"Accept": target.accept} if target.accept else {}
    key = {"KmsKeyId": target.kms_key_arn} if target.kms_key_arn else {}
    # The instances' storage; AWS refuses a key for disks of their own, which encrypt in hardware.
    volume = (
        {}
        if local_disks(target.instance_type) or not key
        else {"VolumeKmsKeyId": target.kms_key_arn}
    )
    return {
        "TransformJobName": name,
        "ModelName": model,
        "MaxConcurrentTransforms": target.max_concurrent,
        "MaxPayloadInMB": target.max_payload_mb,
        "BatchStrategy": _STRATEGIES[target.strategy],
        "TransformInput": {**where, **content, "SplitType": _WORDS[target.split]},
        "TransformOutput": {
            "S3OutputPath": sink,
            **accept,
            **key,
            "AssembleWith": _WORDS[target.assemble],
        },
        "TransformResources": {
            "InstanceType": target.instance_type,
            "InstanceCount": target.instances,
            **volume,
        },
        "Tags": [{"Key": key, "Value": value} for key, value in sorted((tags or {}).items())],
    }


def start(sagemaker: SageMaker, wanted: Mapping[str, Any]) -> bool:
    """Start a job; False when one of that name is there already, which may be this very one."""
    return sagemaker.create_transform_job(wanted)


def watch(
    sagemaker: SageMaker,
    name: str,
    *,
    timeout_s: float = 24 * 3600.0,
    look_s: float = LOOK_S,
    say: Say = silent,
) -> BatchResult:
    """Tell a job's states until it has completed.

    Raises DeployerError with AWS's reason when it fails or was stopped, EnvironmentProblem when the time is
    over: the job then goes on.
    """
    begun, told = time.monotonic(), ""
    while True:
        job = sagemaker.transform_job(name)
        if job is None:
            raise InputError(f"there is no transform job {name!r}")
        status = str(job["TransformJobStatus"])
        waited = time.monotonic() - begun
        if status != told:
            told = status
            say(f"job {name}: {status} after {waited:.0f} s")
        if status in _ENDED:
            return _ended(name, status, job)
        if waited + look_s > timeout_s:
            raise EnvironmentProblem(
                f"job {name} is {status} after {waited:.0f} s",
                hint="it goes on; `stop_transform_job` ends it",
            )
        time.sleep(look_s)


def _ended(name: str, status: str, job: Mapping[str, Any]) -> BatchResult:
    if status != "Completed":
        reason = job.get("FailureReason") or "AWS gives no reason"
        raise DeployerError(
            f"job {name} {status.lower()}: {reason}",
            hint=f"its log is in CloudWatch, group {naming.JOB_LOGS}",
        )
    first, last = job.get("TransformStartTime"), job.get("TransformEndTime")
    known = isinstance(first, datetime) and isinstance(last, datetime)
    seconds = (last - first).total_seconds() if known else None  # type: ignore[operator]
    return BatchResult(name, str(job["TransformOutput"]["S3OutputPath"]), seconds)
