"""A specification becomes what runs, and what runs becomes nothing again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api import fleet, sagemaker
from deployer.api.sources import spec_of
from deployer.errors import InputError, PartialFailure
from deployer.progress import Say, silent
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved

if TYPE_CHECKING:
    from deployer.clients.base import Answer, Body
    from deployer.deployments.aws.expiry import Expired, Reaped
    from deployer.deployments.aws.notes import SageMakerDeployment
    from deployer.deployments.ec2.plan import FleetPlan
    from deployer.deployments.ec2.verbs import FleetDeployment, FleetStatus
    from deployer.deployments.local import DeploymentStatus
    from deployer.deployments.plan import DeployPlan
    from deployer.deployments.sagemaker.plan import SageMakerPlan
    from deployer.deployments.sagemaker.rollback import SageMakerStatusChange
    from deployer.deployments.sagemaker.status import SageMakerStatus
    from deployer.deployments.state import Deployment, ServerLog
    from deployer.profiles import Profile
    from deployer.traffic.trace import TrafficTrace


@contextmanager
def serving(bundle: Path, *, port: int | None = None, **options: Any) -> Iterator[str]:
    """Serve a bundle as a real process while the block runs; yields its URL.

    >>> with deployer.serving(bundle.path) as url:
    ...     run = deployer.loadtest(url, rate=50, duration_s=10, bundle=bundle.path)
    """
    from deployer.deployments import local

    with local.running(bundle, port=port, **options) as url:
        yield url


def serve(
    bundle: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int | None = None,
    threads: int | None = None,
    say: Say = silent,
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then drain."""
    from deployer.deployments import local

    local.serve(bundle, host=host, port=port, workers=workers, threads=threads, say=say)


def plan(
    spec: DeploymentSpec | Path,
    *,
    profile: Profile | Path | None = None,
    trace: TrafficTrace | Path | None = None,
    ttl_s: float | None = None,
    offline_account: str = "",
    region: str = "",
    say: Say = silent,
) -> DeployPlan | SageMakerPlan | FleetPlan:
    """Work out what deploying would change; touches nothing.

    In AWS: ``profile`` derives the scaling target from the objective, ``trace`` prices what follows the traffic,
    ``ttl_s`` marks everything as what ``reap`` may remove after so many seconds, and ``plan.resolved`` is the
    document that both routes take.
    With ``offline_account`` (12 digits) nothing asks AWS: what only AWS can tell is a placeholder, and
    ``plan.resolved`` synthesizes but is not deployed. ``region`` may repeat the target's.
    """
    from deployer.deployments import planner

    wanted = spec_of(spec, [profile])
    if offline_account:
        return _plan_offline(
            wanted, offline_account, region=region, profile=profile, trace=trace, ttl_s=ttl_s
        )
    if region:
        raise InputError(
            "a plan asks AWS in target.region", hint="a region is for planning offline"
        )
    if sagemaker.is_sagemaker(wanted):
        return sagemaker.plan(wanted, profile=profile, trace=trace, ttl_s=ttl_s, say=say)
    if fleet.is_fleet(wanted):
        return fleet.plan(wanted, profile=profile, trace=trace, ttl_s=ttl_s, say=say)
    _only_sagemaker(wanted.target.kind, profile or trace, ttl_s)
    return planner.plan(wanted)


def _plan_offline(wanted: DeploymentSpec, account: str, **asked: Any) -> SageMakerPlan | FleetPlan:
    if sagemaker.is_sagemaker(wanted):
        return sagemaker.plan_offline(wanted, account, **asked)
    if fleet.is_fleet(wanted):
        return fleet.plan_offline(wanted, account, **asked)
    raise InputError(
        f"planning a {wanted.target.kind} target asks nobody: offline has no meaning for it",
        hint="leave out --offline, --account and --region",
    )


def deploy(
    source: DeploymentSpec | Path | Resolved | ResolvedFleet,
    *,
    profile: Profile | Path | None = None,
    ttl_s: float | None = None,
    say: Say = silent,
) -> Deployment | SageMakerDeployment | FleetDeployment:
    """Make what runs equal to the specification (deployment.toml), or run a saved plan word for word.

    A saved plan is plan.json, or resolved.json for SageMaker. ``profile`` and ``ttl_s`` as in ``plan``. Running
    it twice changes nothing. Raises ConditionFailed when a new version was rolled back.
    """
    from deployer.deployments import local, planner

    saved = isinstance(source, Path) and source.name.endswith(".json")
    whole = fleet.resolved_in(source) if saved and isinstance(source, Path) else None
    if isinstance(source, ResolvedFleet):
        return fleet.deploy(source, profile=profile, ttl_s=ttl_s, say=say)
    if whole is not None:
        return fleet.deploy(whole, profile=profile, ttl_s=ttl_s, say=say)
    found = sagemaker.resolved_in(source) if saved and isinstance(source, Path) else None
    if found is not None or isinstance(source, Resolved):
        return sagemaker.deploy(found or source, profile=profile, ttl_s=ttl_s, say=say)
    if saved and isinstance(source, Path):
        _only_sagemaker("local", profile, ttl_s)
        return local.apply(planner.load(source), say=say)
    wanted = spec_of(source, [profile])
    if sagemaker.is_sagemaker(wanted):
        return sagemaker.deploy(wanted, profile=profile, ttl_s=ttl_s, say=say)
    if fleet.is_fleet(wanted):
        return fleet.deploy(wanted, profile=profile, ttl_s=ttl_s, say=say)
    _only_sagemaker(wanted.target.kind, profile, ttl_s)
    return local.apply(planner.plan(wanted), say=say)


def status(name: str, *, region: str = "") -> DeploymentStatus | SageMakerStatus | FleetStatus:
    """Ask the servers of a deployment, or AWS, how it is. ``region`` looks in AWS, wherever it was deployed."""
    from deployer.deployments import local

    if (there := fleet.home(name, region)) is not None:
        return fleet.status(there, name)
    aws = sagemaker.home(name, region)
    return local.status(name) if aws is None else sagemaker.status(aws, name)


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
    from deployer.deployments import local

    if (there := fleet.home(name, region)) is not None:
        return fleet.invoke(there, name, body, accept=accept, timeout_s=timeout_s, say=say)
    aws = sagemaker.home(name, region)
    if aws is None:
        return local.invoke(name, body, accept=accept, timeout_s=timeout_s or 60.0)
    return sagemaker.invoke(aws, name, body, accept=accept, timeout_s=timeout_s, say=say)


def destroy(name: str, *, region: str = "", say: Say = silent) -> tuple[str, ...]:
    """Stop and remove everything of a deployment, verify it, and return what was removed.

    In AWS the tags tell what is ours: another machine can do it, with ``region``.
    """
    from deployer.deployments import local

    if (there := fleet.home(name, region)) is not None:
        return fleet.destroy(there, name, say=say)
    aws = sagemaker.home(name, region)
    if aws is None:
        return local.destroy(name, say=say)
    return sagemaker.destroy(aws, name, say=say)


def rollback(name: str, *, region: str = "", say: Say = silent) -> SageMakerStatusChange:
    """Return an endpoint or a fleet to what it ran before, and verify that it does. A second rollback returns."""
    if (there := fleet.home(name, region)) is not None:
        return fleet.rollback(there, name, say=say)
    return sagemaker.rollback(name, region=region, say=say)


def expired(*, region: str = "") -> tuple[Expired, ...]:
    """Return what the account and region hold whose ``--ttl`` is over; changes nothing."""
    from deployer.deployments.ec2 import reap as fleets

    aws = sagemaker.connect(region, "--region", silent)
    known = fleets.names(aws)
    return (*sagemaker.expired(aws, known), *fleets.expired(aws, datetime.now(UTC)))


def reap(*, region: str = "", say: Say = silent) -> tuple[Reaped, ...]:
    """Destroy the endpoints and fleets of the account and region whose ``--ttl`` is over.

    Raises PartialFailure listing what is left of them, when something is, after trying all.
    """
    from deployer.deployments.aws.polling import Polling
    from deployer.deployments.ec2 import reap as fleets

    aws = sagemaker.connect(region, "--region", say)
    known, found = fleets.names(aws), fleets.expired(aws, datetime.now(UTC))
    ways: tuple[Callable[[], tuple[Reaped, ...]], ...] = (
        lambda: sagemaker.reap(aws, known, say=say),
        lambda: fleets.reap(aws, found, polling=Polling(), say=say),
    )
    done: list[Reaped] = []
    left: list[str] = []
    for way in ways:
        try:
            done += way()
        except PartialFailure as error:
            left += error.remaining
    if left:
        raise PartialFailure(
            "not everything was removed", remaining=left, hint="run `deployer reap` again"
        )
    return tuple(done)


def logs(name: str, *, lines: int = 100, region: str = "") -> tuple[ServerLog, ...]:
    """Return the last lines of each server's log."""
    from deployer.deployments import local

    if (there := fleet.home(name, region)) is not None:
        return fleet.logs(there, name, lines)
    aws = sagemaker.home(name, region)
    return local.logs(name, lines=lines) if aws is None else sagemaker.logs(aws, name, lines)


def _only_sagemaker(kind: str, profile: object, ttl_s: float | None) -> None:
    if profile is not None or ttl_s is not None:
        raise InputError(f"a profile and a time to live have no meaning for a {kind} target")


def init(*, name: str = "my-model", bundle: str = "dist/my-model.tar.gz") -> str:
    """Return a commented deployment.toml to start from. Raises SpecError for an unfit name."""
    from deployer.spec import template

    return template.render(name, bundle)


def to_toml(spec: DeploymentSpec) -> str:
    """Return a specification as deployment.toml."""
    return serde.to_toml(spec)
