"""From Resolved and what exists to steps: pure. Nothing that runs, or a rollback needs, is ever removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployer.deployments.plan import Action, Kind, Step
from deployer.deployments.sagemaker import requests
from deployer.deployments.sagemaker.observe import Observed, digest_of, holds
from deployer.spec.naming import EXPIRES_TAG
from deployer.spec.resolved import Alarm, Resolved
from deployer.spec.rollout import AllAtOnce
from deployer.spec.target import SageMakerServerless


def decide(resolved: Resolved, seen: Observed) -> tuple[Step, ...]:
    """Return the steps in order: what must be there first, then the endpoint, scaling, and what goes."""
    return (
        *_ground(resolved, seen),
        *_hosting(resolved, seen),
        *_scaling(resolved, seen),
        *_obsolete(resolved, seen),
    )


def _ground(resolved: Resolved, seen: Observed) -> Iterator[Step]:
    if resolved.role.made:
        yield _role(resolved, seen)
    bucket = resolved.artifact.bucket
    yield Step("keep" if seen.bucket_exists else "create", "bucket", bucket)
    there = "already in S3" if seen.bundle_there else "uploaded once"
    name = resolved.artifact.digest[:12]
    yield Step("keep" if seen.bundle_there else "create", "bundle", name, there)


def _role(resolved: Resolved, seen: Observed) -> Step:
    name = resolved.role.name
    if seen.role is None:
        count = len(resolved.role.statements)
        return Step("create", "role", name, f"{count} permissions on what this deployment uses")
    if seen.policy != requests.permissions(resolved):
        return Step("update", "role", name, "its permissions change")
    return Step("keep", "role", name)


def _hosting(resolved: Resolved, seen: Observed) -> Iterator[Step]:
    target = resolved.spec.target
    yield Step(_made(resolved.model_name in seen.models), "model", resolved.model_name)
    if not resolved.endpoint_name:
        return
    what = f"{resolved.instances} × {target.instance_type or 'serverless'}"
    if isinstance(target, SageMakerServerless):
        what = f"serverless, {target.memory_mb} MB, at most {target.max_concurrency} at a time"
    yield Step(
        _made(resolved.config_name in seen.configs), "endpoint config", resolved.config_name, what
    )
    for alarm in resolved.alarms:
        yield _alarm(alarm, resolved, seen)
    yield _endpoint(resolved, seen)
    if seen.endpoint is not None and tags_differ(resolved, seen.endpoint.tags):
        words = f"to be removed after {resolved.expires}" if resolved.expires else "as specified"
        yield Step("update", "tags", resolved.endpoint_name, words)


def tags_differ(resolved: Resolved, tags: Mapping[str, str]) -> bool:
    """Whether an endpoint lacks a tag of ours, or still says when it goes although it stays."""
    stays = EXPIRES_TAG in tags and not resolved.expires
    return stays or any(tags.get(key) != value for key, value in resolved.tags.items())


def _endpoint(resolved: Resolved, seen: Observed) -> Step:
    name = resolved.endpoint_name
    found = seen.endpoint
    if found is None:
        return Step("create", "endpoint", name)
    if found.status == "Failed":
        return Step("update", "endpoint", name, "it has failed: removed and made again")
    if found.config != resolved.config_name:
        return Step("update", "endpoint", name, rollout_words(resolved))
    if found.status != "InService":
        return Step("update", "endpoint", name, f"it is {found.status}: waited for")
    return Step("keep", "endpoint", name)


def rollout_words(resolved: Resolved) -> str:
    """Return how the new version takes over, in a few words."""
    rollout = resolved.spec.rollout
    if isinstance(rollout, AllAtOnce):
        return "all at once" + (f", watched for {rollout.bake_s:g} s" if rollout.bake_s else "")
    percent = getattr(rollout, "percent", getattr(rollout, "batch_percent", 0))
    steps = "first" if rollout.kind == "canary" else "at a time"
    return f"{rollout.kind} {percent}% {steps}, {rollout.bake_s:g} s each"


def _scaling(resolved: Resolved, seen: Observed) -> Iterator[Step]:
    wanted = resolved.scaling
    if wanted is None:
        if seen.target is not None:
            yield Step("delete", "scaling target", resolved.resource_id, "the fleet is fixed now")
        return
    bounds = {"MinCapacity": wanted.min_capacity, "MaxCapacity": wanted.max_capacity}
    note = f"{wanted.min_capacity} to {wanted.max_capacity}"
    yield Step(
        _put(seen.target is not None, holds(bounds, seen.target)),
        "scaling target",
        resolved.resource_id,
        note,
    )
    for track in wanted.tracking:
        metric = track.predefined or requests.single(track.metric).name
        note = f"{metric} near {track.target:g} ({wanted.basis})"
        yield _policy(track.name, requests.tracking(track), note, seen)
    for stepping in wanted.stepping:
        yield _policy(stepping.name, requests.stepping(stepping), "in steps", seen)
        yield _alarm(stepping.alarm, resolved, seen)
    for action in wanted.schedules:
        found = seen.schedules.get(action.name)
        state = _put(found is not None, holds(requests.schedule(action), found))
        yield Step(state, "schedule", action.name, f"{action.capacity} from {action.schedule}")


def _policy(name: str, request: requests.Document, note: str, seen: Observed) -> Step:
    found = seen.policies.get(name)
    return Step(_put(found is not None, holds(request, found)), "scaling policy", name, note)


def _alarm(alarm: Alarm, resolved: Resolved, seen: Observed) -> Step:
    found = seen.alarms.get(alarm.name)
    request = requests.alarm(alarm, resolved.tags)
    return Step(
        _put(found is not None, holds(request, found)), "alarm", alarm.name, alarm.description
    )


def _obsolete(resolved: Resolved, seen: Observed) -> Iterator[Step]:
    """What deploying leaves behind: old policies and alarms, and versions that nothing goes back to."""
    scaling = resolved.scaling
    policies: set[str] = set()
    if scaling is not None:
        policies = {p.name for p in scaling.tracking} | {p.name for p in scaling.stepping}
    schedules = {s.name for s in scaling.schedules} if scaling else set()
    alarms = {a.name for a in resolved.alarms}
    alarms |= {s.alarm.name for s in scaling.stepping} if scaling else set()
    if scaling is not None:  # without it the target goes, and all policies with it
        yield from _gone("scaling policy", seen.policies.keys() - policies)
        yield from _gone("schedule", seen.schedules.keys() - schedules)
    yield from _gone("alarm", seen.alarms.keys() - alarms)
    yield from collect(seen, kept_configs(resolved, seen), resolved)


def kept_configs(resolved: Resolved, seen: Observed) -> frozenset[str]:
    """Return the configs that stay: the wanted one, the one that runs, and the one before."""
    kept = {resolved.config_name}
    if seen.endpoint is not None:
        kept.add(seen.endpoint.config)
        if seen.endpoint.config == resolved.config_name:
            kept.add(seen.endpoint.previous)
    return frozenset(kept)


def collect(seen: Observed, kept: frozenset[str], resolved: Resolved | None) -> tuple[Step, ...]:
    """Return the removal of configs that are not kept, and of models and bundles that nothing uses.

    When a list does not show what is kept, it does not tell what that uses: then only configs go, this time.
    """
    made = {resolved.config_name, resolved.model_name} if resolved is not None else set()
    models = {model for config, model in seen.configs.items() if config in kept} | seen.busy
    digests = {digest_of(data) for model, data in seen.models.items() if model in models}
    if resolved is not None:
        models.add(resolved.model_name)
        digests.add(resolved.artifact.digest)
    configs = tuple(_gone("endpoint config", seen.configs.keys() - kept))
    if (kept - {""} - made) - seen.configs.keys() or (models - made) - seen.models.keys():
        return configs
    return (
        *configs,
        *_gone("model", seen.models.keys() - models),
        *_gone("bundle", seen.bundles - digests),
    )


def _gone(kind: Kind, names: set[str] | frozenset[str]) -> Iterator[Step]:
    for name in sorted(names):
        yield Step("delete", kind, name, "no longer used")


def _made(there: bool) -> Action:
    return "keep" if there else "create"


def _put(there: bool, equal: bool) -> Action:
    if not there:
        return "create"
    return "keep" if equal else "update"
