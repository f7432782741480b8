"""A specification and what AWS says of the account, to ResolvedFleet: pure."""

from __future__ import annotations

from datetime import datetime

from deployer.deployments.aws import prepare
from deployer.deployments.backend import Asked
from deployer.deployments.ec2 import alarms, group_policies, permissions
from deployer.deployments.ec2.instance_refresh import refresh
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.deregistration import budget
from deployer.spec.fleet_resolved import DrainBudget, ResolvedFleet
from deployer.spec.resolved import Artifact, Image, Place
from deployer.spec.sizes import bounds
from deployer.spec.target import Ec2Fleet
from inference_code.contract import ServingConfig


def resolve(
    spec: DeploymentSpec,
    place: Place,
    image: Image,
    digest: str,
    serving: ServingConfig,
    ami_id: str,
    *,
    asked: Asked,
    now: datetime,
) -> ResolvedFleet:
    """Return the resolved document. Raises SpecError for a scaling target that nothing gives.

    The specification holds to the rule book: whoever calls has asked it. ``digest`` and ``serving`` are the bundle's;
    ``ami_id`` is the machine image of the instances.
    """
    target = spec.target
    assert isinstance(target, Ec2Fleet)
    group = naming.group(spec.name)
    queue = group if target.queue is not None else ""
    bucket = target.bucket or naming.bucket(place.account, place.region)
    key = naming.bundle_key(spec.name, digest)
    artifact = Artifact(bucket, key, digest, False, spec.bundle)
    expires = prepare.expiry(now, asked.ttl_s)
    least, most = bounds(spec)
    made = alarms.generated(spec, target, queue)
    drain = budget(spec, target, serving.drain_s, serving.request_timeout_s, asked.p99_s)
    rows = permissions.statements(spec.name, target, place, image, artifact, group, queue)
    return ResolvedFleet(
        spec=spec,
        place=place,
        image=image,
        artifact=artifact,
        role=prepare.role(spec.name, target.role_arn, place, rows),
        ami_id=ami_id,
        group=group,
        log_group=naming.fleet_logs(spec.name),
        tags=prepare.tags(spec, digest, asked.version, expires),
        least=least,
        most=most,
        drain=drain,
        refresh=refresh(spec, target),
        serve=_arguments(target, drain),
        environment=dict(sorted(target.environment.items())),
        queue=queue,
        results_s3_uri=permissions.results_uri(spec.name, target, artifact),
        scaling=group_policies.resolve(spec, group, queue, asked.derived_target),
        alarms=made,
        rollback_alarms=(*(row.name for row in made), *spec.rollout.alarms),
        expires=expires,
    )


def _arguments(target: Ec2Fleet, drain: DrainBudget) -> tuple[str, ...]:
    """Return what the container is started with; its metrics go into its log once a minute."""
    verb = "serve" if target.queue is None else "worker"
    if verb == "worker":
        return (verb, "--drain-s", str(drain.stop_s))
    times = {"--drain-s": drain.stop_s, "--lame-duck-s": drain.notice_s, "--emf-s": 60}
    return (verb, *(word for key, value in times.items() for word in (key, str(value))))
