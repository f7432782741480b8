"""A specification becomes what runs, and what runs becomes nothing again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api.sources import Say, silent, spec_of
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec

if TYPE_CHECKING:
    from deployer.clients.base import Answer, Body
    from deployer.deployments.local import DeploymentStatus
    from deployer.deployments.plan import DeployPlan
    from deployer.deployments.state import Deployment, ServerLog


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


def plan(spec: DeploymentSpec | Path) -> DeployPlan:
    """Work out what deploying would change; touches nothing."""
    from deployer.deployments import planner

    return planner.plan(spec_of(spec))


def deploy(source: DeploymentSpec | Path, *, say: Say = silent) -> Deployment:
    """Make what runs equal to the specification (deployment.toml) or run a saved plan (plan.json)."""
    from deployer.deployments import local, planner

    if isinstance(source, Path) and source.name.endswith(".json"):
        return local.apply(planner.load(source), say=say)
    return local.apply(plan(source), say=say)


def status(name: str) -> DeploymentStatus:
    """Ask the servers of a deployment how they are."""
    from deployer.deployments import local

    return local.status(name)


def invoke(name: str, body: Body, *, accept: str | None = None, timeout_s: float = 60.0) -> Answer:
    """Send one request to a deployment."""
    from deployer.deployments import local

    return local.invoke(name, body, accept=accept, timeout_s=timeout_s)


def destroy(name: str, *, say: Say = silent) -> tuple[str, ...]:
    """Stop and remove everything of a deployment, verify it, and return what was removed."""
    from deployer.deployments import local

    return local.destroy(name, say=say)


def logs(name: str, *, lines: int = 100) -> tuple[ServerLog, ...]:
    """Return the last lines of each server's log."""
    from deployer.deployments import local

    return local.logs(name, lines=lines)


def init(*, name: str = "my-model", bundle: str = "dist/my-model.tar.gz") -> str:
    """Return a commented deployment.toml to start from. Raises SpecError for an unfit name."""
    from deployer.spec import template

    return template.render(name, bundle)


def to_toml(spec: DeploymentSpec) -> str:
    """Return a specification as deployment.toml."""
    return serde.to_toml(spec)
