"""What SageMaker knows of a trained model: a training job's, or a model package's in the registry. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, says, translated
from deployer.errors import InputError

JOB, PACKAGE = "training_job", "model_package"


@dataclass(frozen=True)
class Trained:
    """A trained model: where its artifact lies, and what it came from.

    ``kind`` is JOB or PACKAGE; ``uri`` an ``s3://`` address of one object, or with ``loose`` of all that start with
    it; ``etag`` the object's when it was registered, empty where nobody noted it; ``lineage`` is text by name.
    """

    kind: str
    name: str
    uri: str
    loose: bool
    etag: str
    lineage: Mapping[str, str]


def find(aws: Aws, name: str) -> Trained:
    """Return a training job's model by the job's name or ARN, or a model package's by its ARN.

    Raises InputError when there is none, when the job did not complete, and when the package is rejected or holds
    other than one model.
    """
    return _package(aws, name) if ":model-package/" in name else _job(aws, name)


def _job(aws: Aws, name: str) -> Trained:
    short = name.rpartition("/")[2]
    with translated(f"describing training job {short!r}"):
        try:
            job: Mapping[str, Any] = aws.client("sagemaker").describe_training_job(
                TrainingJobName=short
            )
        except ClientError as error:
            if not _missing(error):
                raise
            raise InputError(
                f"there is no training job {short!r} in {aws.region}",
                hint="a model package is named by its ARN; another region by AWS_REGION",
            ) from error
    status = job["TrainingJobStatus"]
    if status != "Completed":
        reason = job.get("FailureReason")
        raise InputError(
            f"training job {short!r} is {status}" + (f": {reason}" if reason else ""),
            hint="only a job that completed has a model that was trained to its end",
        )
    uri = str(job.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""))
    if not uri:
        raise InputError(f"training job {short!r} left no model artifact")
    loose = job.get("OutputDataConfig", {}).get("CompressionType") == "NONE"
    return Trained(JOB, short, uri, loose, "", dict(_job_lineage(job, uri)))


def _job_lineage(job: Mapping[str, Any], uri: str) -> Iterator[tuple[str, str]]:
    yield JOB, str(job["TrainingJobArn"])
    algorithm = job.get("AlgorithmSpecification", {})
    image = algorithm.get("TrainingImage") or algorithm.get("AlgorithmName")
    if image:
        yield "training_image", str(image)
    for channel in job.get("InputDataConfig") or ():
        source = channel.get("DataSource", {})
        where = source.get("S3DataSource", {}).get("S3Uri")
        files = source.get("FileSystemDataSource", {})
        if not where and files:
            where = f"{files.get('FileSystemId', '')}{files.get('DirectoryPath', '')}"
        if where:
            yield f"training_data.{channel['ChannelName']}", str(where)
    for metric in job.get("FinalMetricDataList") or ():
        yield f"metric.{metric['MetricName']}", repr(float(metric["Value"]))
    if job.get("TrainingEndTime"):
        yield "trained", job["TrainingEndTime"].isoformat(timespec="seconds")
    yield "artifact", uri


def _package(aws: Aws, arn: str) -> Trained:
    with translated(f"describing model package {arn!r}"):
        try:
            found: Mapping[str, Any] = aws.client("sagemaker").describe_model_package(
                ModelPackageName=arn
            )
        except ClientError as error:
            if not _missing(error):
                raise
            raise InputError(f"there is no model package {arn!r}") from error
    status, approval = found.get("ModelPackageStatus"), found.get("ModelApprovalStatus", "")
    if status != "Completed" or approval == "Rejected":
        word = approval if approval == "Rejected" else status
        raise InputError(f"model package {arn!r} is {word}", hint="choose one that is approved")
    containers = list(found.get("InferenceSpecification", {}).get("Containers") or ())
    if len(containers) != 1:
        raise InputError(f"model package {arn!r} holds {len(containers)} models; one is taken")
    held = containers[0]
    source = held.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = str(source.get("S3Uri") or held.get("ModelDataUrl") or "")
    if not uri:
        raise InputError(f"model package {arn!r} names no artifact")
    loose = source.get("S3DataType") == "S3Prefix" and source.get("CompressionType") == "None"
    etag = "" if loose else str(source.get("ETag") or held.get("ModelDataETag") or "")
    lineage = dict(_package_lineage(found, held, uri))
    return Trained(PACKAGE, arn, uri, loose, etag.strip('"'), lineage)


def _package_lineage(
    found: Mapping[str, Any], held: Mapping[str, Any], uri: str
) -> Iterator[tuple[str, str]]:
    yield PACKAGE, str(found["ModelPackageArn"])
    if found.get("ModelApprovalStatus"):
        yield "approval", str(found["ModelApprovalStatus"])
    if held.get("Image"):
        digest = held.get("ImageDigest")
        yield "training_image", str(held["Image"]) + (f"@{digest}" if digest else "")
    if found.get("SourceUri"):
        yield "source", str(found["SourceUri"])
    for group, documents in (found.get("ModelMetrics") or {}).items():
        for kind, document in documents.items():
            yield f"metrics.{group}.{kind}", str(document["S3Uri"])
    for key, value in (found.get("CustomerMetadataProperties") or {}).items():
        yield f"metadata.{key}", str(value)
    yield "artifact", uri


def _missing(error: ClientError) -> bool:
    gone = code_of(error) in ("ResourceNotFound", "ResourceNotFoundException")
    return gone or says(error, "not found", "could not find", "does not exist")
