"""A specification becomes what runs, and what runs becomes nothing again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api.sources import profile_of, spec_of
from deployer.errors import InputError
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from deployer.spec import placeholders, serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from deployer.spec.target import Ec2Fleet

if TYPE_CHECKING:
    from deployer.clients.base import Answer, Body
    from deployer.deployments.backend import Backend, Change, Deployed, Expired, Reaped, Status
    from deployer.deployments.plan import AnyPlan
    from deployer.deployments.state import ServerLog
    from deployer.profiles import Profile
    from deployer.traffic.trace import TrafficTrace


@contextmanager
def serving(
    bundle: AnyPath,
    *,
    port: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    limit_s: float | None = None,
) -> Iterator[str]:
    """Serve a bundle as a real process while the block runs; yields its URL.

    >>> with deployer.serving(bundle.path) as url:
    ...     run = deployer.loadtest(url, rate=50, duration_s=10, bundle=bundle.path)
    """
    from deployer.deployments.local import foreground, server

    with foreground.running(
        as_path(bundle),
        port=port,
        workers=workers,
        threads=threads,
        limit_s=limit_s or server.STARTUP_S,
    ) as url:
        yield url


def serve(
    bundle: AnyPath,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int | None = None,
    threads: int | None = None,
    say: Say = silent,
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then drain."""
    from deployer.deployments.local import foreground

    foreground.serve(
        as_path(bundle), host=host, port=port, workers=workers, threads=threads, say=say
    )


def plan(
    spec: DeploymentSpec | AnyPath,
    *,
    profile: Profile | AnyPath | None = None,
    trace: TrafficTrace | AnyPath | None = None,
    ttl_s: float | None = None,
    offline_account: str = "",
    region: str = "",
    say: Say = silent,
) -> AnyPlan:
    """Work out what deploying would change; touches nothing.

    In AWS: ``profile`` derives the scaling target from the objective, ``trace`` prices what follows the traffic,
    ``ttl_s`` marks everything as what ``reap`` may remove after so many seconds, and ``plan.resolved`` is the
    document that both routes take.
    With ``offline_account`` (12 digits) nothing asks AWS: what only AWS can tell is a placeholder, and
    ``plan.resolved`` synthesizes but is not deployed. ``region`` may repeat the target's.
    """
    measured = None if profile is None else profile_of(profile)
    wanted = spec_of(spec, [measured])
    if offline_account:
        return _plan_offline(
            wanted, offline_account, region=region, measured=measured, trace=trace, ttl_s=ttl_s
        )
    if region:
        raise InputError(
            "a plan asks AWS in target.region", hint="a region is for planning offline"
        )
    return _planned(wanted, measured, trace, ttl_s, say)[1]


def _planned(
    spec: DeploymentSpec,
    profile: Profile | None,
    trace: TrafficTrace | AnyPath | None,
    ttl_s: float | None,
    say: Say,
) -> tuple[Backend[Any], AnyPlan]:
    from deployer.api.asking import asked_of
    from deployer.api.forecast import forecast
    from deployer.deployments import locate
    from deployer.deployments.local.backend import refuse_asked

    if not locate.is_in_aws(spec.target) and (profile or trace or ttl_s is not None):
        raise refuse_asked(spec.target.kind)
    backend = locate.of_spec(spec, say)
    run = forecast(spec, profile, trace)
    found: AnyPlan = backend.plan(spec, asked_of(spec, profile, ttl_s), run)
    return backend, found


def _plan_offline(
    spec: DeploymentSpec,
    account: str,
    *,
    region: str,
    measured: Profile | None,
    trace: TrafficTrace | AnyPath | None,
    ttl_s: float | None,
) -> AnyPlan:
    from deployer.api.asking import asked_of
    from deployer.api.forecast import forecast
    from deployer.deployments import locate

    if not locate.is_in_aws(spec.target):
        raise InputError(
            f"planning a {spec.target.kind} target asks nobody: offline has no meaning for it",
            hint="leave out --offline, --account and --region",
        )
    from deployer.deployments.aws import prepare
    from deployer.deployments.ec2 import offline as fleets
    from deployer.deployments.sagemaker import offline as endpoints
    from deployer.pricing import snapshot

    place = prepare.offline_place(account, spec.target.region, region)
    run, asked = forecast(spec, measured, trace), asked_of(spec, measured, ttl_s)
    if isinstance(spec.target, Ec2Fleet):
        return fleets.plan(spec, snapshot.load(), place, asked=asked, run=run)
    return endpoints.plan(spec, snapshot.load(), place, asked=asked, run=run)


def deploy(
    source: DeploymentSpec | AnyPath | Resolved | ResolvedFleet,
    *,
    profile: Profile | AnyPath | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> Deployed:
    """Make what runs equal to the specification (deployment.toml), or run a saved plan word for word.

    A saved plan is plan.json, or resolved.json for AWS. ``profile`` and ``ttl_s`` as in ``plan``. Running it twice
    changes nothing. Raises ConditionFailed when a new version was rolled back.
    """
    from deployer.deployments import documents
    from deployer.deployments.local import steps as saved_plans
    from deployer.deployments.local.backend import LocalBackend, refuse_asked

    source = as_path(source)
    saved = isinstance(source, Path) and source.name.endswith(".json")
    document = documents.resolved_in(source) if saved and isinstance(source, Path) else None
    if isinstance(source, Resolved | ResolvedFleet):
        document = source
    if document is not None:
        placeholders.refuse(document.placeholders)
        if profile is not None or ttl_s is not None:
            raise InputError("a resolved document is taken verbatim: give profile and ttl to plan")
        return _deploy_document(document, say)
    assert isinstance(source, DeploymentSpec | Path)
    if saved and isinstance(source, Path):
        if profile is not None or ttl_s is not None:
            raise refuse_asked("local")
        return LocalBackend().apply(saved_plans.load(source), say=say)
    measured = None if profile is None else profile_of(profile)
    backend, wanted = _planned(spec_of(source, [measured]), measured, None, ttl_s, say)
    return _applied(backend, wanted, say)


def _deploy_document(document: Resolved | ResolvedFleet, say: Say) -> Deployed:
    from deployer.deployments import locate

    backend: Backend[Any] = locate.of_document(document, say)
    wanted: AnyPlan = backend.replan(document)  # type: ignore[attr-defined]
    return _applied(backend, wanted, say)


def _applied(backend: Backend[Any], wanted: AnyPlan, say: Say) -> Deployed:
    if wanted.resolved is not None:
        say(wanted.summary)
    return backend.apply(wanted, say=say)


def status(name: str, *, region: str = "") -> Status:
    """Ask the servers of a deployment, or AWS, how it is. ``region`` looks in AWS, wherever it was deployed."""
    from deployer.deployments import locate

    return locate.of_name(name, region).status(name)


def invoke(
    name: str,
    body: Body,
    *,
    accept: str | None = None,
    timeout_s: float | None = None,
    region: str = "",
    say: Say = silent,
) -> Answer:
    """Send one request to a deployment, in the way of its mode, and return its answer.

    An asynchronous endpoint is waited for in S3, a fleet's queue too; on a batch deployment one job runs over the
    body. ``timeout_s``: 60, a queue 600, asynchronous 3,600, batch a day.
    """
    from deployer.deployments import locate

    backend = locate.of_name(name, region)
    return backend.invoke(name, body, accept=accept, timeout_s=timeout_s, say=say)


def destroy(name: str, *, region: str = "", say: Say = silent) -> tuple[str, ...]:
    """Stop and remove everything of a deployment, verify it, and return what was removed.

    In AWS the tags tell what is ours: another machine can do it, with ``region``.
    """
    from deployer.deployments import locate

    return locate.of_name(name, region).destroy(name, say=say)


def rollback(name: str, *, region: str = "", say: Say = silent) -> Change:
    """Return an endpoint or a fleet to what it ran before, and verify that it does. A second rollback returns."""
    from deployer.deployments import locate

    return locate.of_name(name, region).rollback(name, say=say)


def expired(*, region: str = "") -> tuple[Expired, ...]:
    """Return what the account and region hold whose ``--ttl`` is over; changes nothing."""
    return tuple(item for _, item in _expired(region, silent))


def reap(*, region: str = "", say: Say = silent) -> tuple[Reaped, ...]:
    """Destroy the endpoints and fleets of the account and region whose ``--ttl`` is over.

    Raises PartialFailure listing what is left of them, when something is, after trying all.
    """
    from deployer.deployments.aws.expiry import remove_each

    found = _expired(region, say)
    return remove_each([(item, partial(b.destroy, say=say)) for b, item in found], say)


def _expired(region: str, say: Say) -> list[tuple[Backend[Any], Expired]]:
    """Return what has expired, each with the backend that removes it; a fleet has a role as an endpoint has."""
    from deployer.deployments import locate

    aws = locate.connect(region, "--region", say)
    fleets, endpoints, now = locate.ec2(aws), locate.sagemaker(aws), datetime.now(UTC)
    known = fleets.names()
    found: list[tuple[Backend[Any], Expired]] = []
    found += [(endpoints, item) for item in endpoints.expired(now) if item.name not in known]
    return found + [(fleets, item) for item in fleets.expired(now)]


def logs(name: str, *, lines: int = 100, region: str = "") -> tuple[ServerLog, ...]:
    """Return the last lines of each server's log."""
    from deployer.deployments import locate

    return locate.of_name(name, region).logs(name, lines=lines)


def init(*, name: str = "my-model", bundle: str = "dist/my-model.tar.gz") -> str:
    """Return a commented deployment.toml to start from. Raises SpecError for an unfit name."""
    from deployer.spec import template

    return template.render(name, bundle)


def to_toml(spec: DeploymentSpec) -> str:
    """Return a specification as deployment.toml."""
    return serde.to_toml(spec)
