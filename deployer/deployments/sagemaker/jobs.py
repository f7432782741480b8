"""Batch: put an input into S3, run one transform job over it, and tell its states."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime

from deployer.aws.runtime import Reply, Runtime, split
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.storage import Storage, object_options
from deployer.clients import batch
from deployer.clients.base import Answer, Body
from deployer.clients.batch import BatchResult
from deployer.deployments.aws.objects import own_tags
from deployer.deployments.sagemaker import observe
from deployer.errors import AwsRefusal, EnvironmentProblem, InputError
from deployer.progress import Say, silent
from deployer.spec import naming
from deployer.spec.resolved import Resolved
from deployer.spec.target import SageMakerBatch


def run(
    aws: Aws,
    resolved: Resolved,
    *,
    input_s3_uri: str = "",
    output_s3_uri: str = "",
    timeout_s: float = 24 * 3600.0,
    look_s: float = batch.LOOK_S,
    say: Say = silent,
) -> BatchResult:
    """Run one job over ``input_s3_uri`` (else the specification's) and wait until it has completed.

    Raises InputError when the deployment is not batch or its model is not there, DeployerError with AWS's
    reason when the job fails, EnvironmentProblem when the time is over: the job then goes on.
    """
    target = resolved.spec.target
    if not isinstance(target, SageMakerBatch):
        raise InputError(
            f"{resolved.spec.name!r} is {target.kind}: only sagemaker-batch runs jobs",
            hint="send a body with --data FILE",
        )
    client = SageMaker(aws)
    if client.model(resolved.model_name) is None:
        raise InputError(
            f"there is no model {resolved.model_name!r} in {aws.region}",
            hint=f"`deployer deploy` makes the model of {resolved.spec.name!r}",
        )
    name = job_name(resolved.spec.name, datetime.now(UTC))
    wanted = batch.request(
        name,
        resolved.model_name,
        target,
        input_s3_uri=input_s3_uri,
        output_s3_uri=output_s3_uri or resolved.output_s3_uri,
        tags=resolved.tags,
    )
    say(f"job {name}: {target.instances} × {target.instance_type}")
    try:
        batch.start(client, wanted)
    except AwsRefusal:
        raise
    except EnvironmentProblem:
        if client.transform_job(name) is None:  # else it was started, and only the answer is lost
            raise
    return batch.watch(client, name, timeout_s=timeout_s, look_s=look_s, say=say)


def answer(
    aws: Aws,
    resolved: Resolved,
    body: Body,
    *,
    timeout_s: float = 24 * 3600.0,
    look_s: float = batch.LOOK_S,
    say: Say = silent,
) -> Answer:
    """Run one job over one body and return what it wrote. Raises as ``run`` does."""
    target = resolved.spec.target
    if isinstance(target, SageMakerBatch) and target.split == "none":
        most = target.max_payload_mb * 2**20
        if len(body.content) > most:
            raise InputError(
                f"the body has {len(body.content):,} bytes; a request of this job carries {most:,}",
                hint="raise target.max_payload_mb (at most 100), or set target.split",
            )
    digest = hashlib.sha256(body.content).hexdigest()[: naming.SHORT]
    prefix = f"{naming.objects(resolved.spec.name)}input/{digest}"
    storage = Storage(aws, resolved.artifact.bucket)
    options = object_options({}, own_tags(resolved.tags), target.kms_key_arn)
    storage.put(f"{prefix}/body", body.content, options | {"ContentType": body.content_type})
    if isinstance(target, SageMakerBatch) and not target.content_type:
        typed = replace(target, content_type=body.content_type)
        resolved = replace(resolved, spec=replace(resolved.spec, target=typed))
    source = f"s3://{storage.bucket}/{prefix}/"
    output = f"{resolved.output_s3_uri.rstrip('/')}/{digest}-{secrets.token_hex(3)}"
    done = run(
        aws,
        resolved,
        input_s3_uri=source,
        output_s3_uri=output,
        timeout_s=timeout_s,
        look_s=look_s,
        say=say,
    )
    found = _read(aws, f"{done.output_s3_uri}/body.out")
    return Answer(found.status, found.content, found.headers)


def job_name(name: str, now: datetime) -> str:
    """Return a name that no other job has: AWS keeps the names of all jobs that ever ran."""
    return f"{name}-{now:%Y%m%d%H%M%S}-{secrets.token_hex(3)}"


def place_for_bodies(aws: Aws, name: str) -> str:
    """Return where the role of an endpoint may read bodies that do not fit into a call."""
    for uri in observe.models(aws, name).values():
        return f"s3://{split(uri)[0]}/{naming.objects(name)}input"
    return ""


def _read(aws: Aws, uri: str) -> Reply:
    found = Runtime(aws, "").read(uri)
    if found is None:
        raise EnvironmentProblem(
            f"the job completed and {uri} is not there", hint="look at the job's output in S3"
        )
    return found
