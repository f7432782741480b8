"""A specification and what AWS says of the account, to Resolved: pure.

Names of model and config end in a hash of all that they hold, so equal content has one name, on any machine,
and what exists under it need not be made again. The endpoint keeps the deployment's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from deployer.deployments.aws import prepare
from deployer.deployments.backend import Asked
from deployer.deployments.sagemaker import alarms, permissions, requests, variant_policies
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Artifact, Image, Place, Resolved
from deployer.spec.scaling import Fixed
from deployer.spec.target import (
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)


def resolve(
    spec: DeploymentSpec,
    place: Place,
    image: Image,
    digest: str,
    *,
    asked: Asked,
    now: datetime,
    vcpus: int | None,
) -> Resolved:
    """Return the resolved document. Raises SpecError for a scaling target that nothing gives.

    The specification holds to the rule book: whoever calls has asked it. ``digest`` is the bundle's; ``vcpus`` those
    of the instance type, None when they are not known.
    """
    target = spec.target
    batch = isinstance(target, SageMakerBatch)
    endpoint = "" if batch else spec.name
    artifact = _artifact(spec, place, digest)
    output, failure, capture = _outputs(spec, artifact.bucket)
    expires = prepare.expiry(now, asked.ttl_s)
    made = alarms.generated(spec, endpoint)
    found = variant_policies.resolve(spec, endpoint, derived=asked.derived_target, vcpus=vcpus)
    writes = tuple(dict.fromkeys(uri for uri in (output, failure, capture) if uri))
    rows = permissions.statements(
        spec.name, target, place, image, artifact, writes, spec.rollout.alarms
    )
    draft = Resolved(
        spec=spec,
        place=place,
        image=image,
        artifact=artifact,
        role=prepare.role(spec.name, target.role_arn, place, rows),
        model_name="",
        config_name="",
        endpoint_name=endpoint,
        tags=prepare.tags(spec, digest, asked.version, expires),
        instances=_instances(spec, found.min_capacity if found else 0),
        capture_s3_uri=capture,
        output_s3_uri=output,
        failure_s3_uri=failure,
        scaling=found,
        alarms=made,
        rollback_alarms=(*(alarm.name for alarm in made), *spec.rollout.alarms),
        retain_capacity=spec.rollout.retain_capacity and not isinstance(spec.scaling, Fixed),
        rollout_timeout_s=alarms.timeout_s(spec),
        expires=expires,
    )
    return named(draft)


def named(draft: Resolved) -> Resolved:
    """Return the document with the names of model and config that its content gives."""
    model = f"{draft.spec.name}-{_hash(requests.model(draft), 'ModelName')}"
    draft = replace(draft, model_name=model)
    if not draft.endpoint_name:
        return draft
    config = f"{draft.spec.name}-{_hash(requests.config(draft), 'EndpointConfigName')}"
    return replace(draft, config_name=config)


def _artifact(spec: DeploymentSpec, place: Place, digest: str) -> Artifact:
    files = spec.target.model_data == "files"
    bucket = spec.target.bucket or naming.bucket(place.account, place.region)
    key = naming.bundle_key(spec.name, digest, files=files)
    return Artifact(bucket, key, digest, files, spec.bundle)


def _outputs(spec: DeploymentSpec, bucket: str) -> tuple[str, str, str]:
    """Return where answers, failures and captured data go; empty for what the mode has not."""
    target = spec.target
    ours = f"s3://{bucket}/{naming.objects(spec.name)}"
    match target:
        case SageMakerAsync():
            output = target.output.s3_uri or f"{ours}output"
            return output, target.output.failure_s3_uri or f"{ours}failure", ""
        case SageMakerBatch():
            return target.output_s3_uri or f"{ours}output", "", ""
        case SageMakerRealtime() if target.capture is not None:
            return "", "", target.capture.s3_uri or f"{ours}capture"
        case _:
            return "", "", ""


def _instances(spec: DeploymentSpec, least: int) -> int:
    """What a new fleet starts with: the target's count, within the policy's bounds, never 0."""
    if isinstance(spec.target, SageMakerServerless):
        return max(spec.target.provisioned_concurrency, least)
    wanted = max(spec.target.instances, least, 1)
    most = getattr(spec.scaling, "max_instances", wanted)
    return int(min(wanted, most))


def _hash(request: Mapping[str, Any], name_key: str) -> str:
    """Twelve hex digits of all that a request says but its name and tags."""
    content = {key: value for key, value in request.items() if key not in (name_key, "Tags")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[: naming.SHORT]
