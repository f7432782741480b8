"""One function per verb: the only module that joins the stages.

Each takes nouns, or paths of files that hold them, and returns a noun; the command line and deploy
scripts call the same functions. Stages are imported when first used, so that `import deployer` is quick
and a verb needs only the extra it uses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import InputError, SpecError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec, Slo
from inference_code.contract import ServingConfig

if TYPE_CHECKING:
    from deployer.bundle.bundle import Bundle
    from deployer.clients.base import Answer, Body
    from deployer.cost.report import CostReport
    from deployer.deployments.local import DeploymentStatus
    from deployer.deployments.plan import DeployPlan
    from deployer.deployments.state import Deployment, ServerLog
    from deployer.optimization.report import LadderReport
    from deployer.optimization.variant import Variant
    from deployer.pricing.book import Price
    from deployer.profiles import Profile
    from deployer.runs import Run
    from deployer.traffic.trace import TrafficTrace

Say = Callable[[str], None]
Arrays = Mapping[str, Any]


def _silent(_: str) -> None:
    """Say nothing."""


def export(model: Any, example: Arrays, out: Path, **options: Any) -> Variant:
    """Export a torch module to ONNX and check it against the source on ``example``.

    ``example`` maps input names to arrays, the batch first. Raises ConditionFailed on a mismatch.
    """
    from deployer.optimization import export as stage

    return stage.export(model, example, out, **options)


def optimize(
    model: Path,
    *,
    calibration: Path | Arrays,
    evaluation: Path | Arrays,
    metric: str = "accuracy",
    max_drop: float = 0.01,
    out: Path,
    say: Say = _silent,
    **options: Any,
) -> LadderReport:
    """Climb the quantization ladder; keep what passes the accuracy, latency and cost gates.

    ``calibration`` and ``evaluation`` are .npz files or mappings from the model's input names to arrays;
    ``evaluation`` also holds ``label`` where the metric needs it. Writes ``out/best.onnx``.
    """
    from deployer.optimization import data, ladder

    return ladder.climb(
        model,
        calibration=data.load_npz(calibration) if isinstance(calibration, Path) else calibration,
        evaluation=data.load_npz(evaluation) if isinstance(evaluation, Path) else evaluation,
        metric=metric,
        max_drop=max_drop,
        out=out,
        progress=say,
        **options,
    )


def package(
    model: Path,
    out_dir: Path,
    *,
    name: str,
    handler: Path | None = None,
    requirements: Path | None = None,
    extra: Sequence[Path] = (),
    samples: Path | None = None,
    precision: str = "fp32",
    serving: ServingConfig = ServingConfig(),  # noqa: B008 - frozen
    lineage: Mapping[str, str] | None = None,
) -> Bundle:
    """Seal model, handler and serving code into ``out_dir/NAME-<digest>.tar.gz``."""
    from deployer.bundle import build

    return build.build(
        model,
        out_dir,
        name=name,
        handler=handler,
        requirements=requirements,
        extra=extra,
        samples=samples,
        serving=serving,
        precision=precision,
        lineage=lineage or {},
    )


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
    say: Say = _silent,
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then drain."""
    from deployer.deployments import local

    local.serve(bundle, host=host, port=port, workers=workers, threads=threads, say=say)


def profile(
    bundle: Path,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 2.0,
    threads: int | None = None,
    say: Say = _silent,
) -> Profile:
    """Measure the bundle's service time by batch size on this machine, ``seconds`` for each size."""
    from deployer import profiles
    from deployer.bundle import archive

    with tempfile.TemporaryDirectory(prefix="deployer-profile-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(bundle, model_dir)
        return profiles.measure(
            model_dir, manifest, batch_sizes=batch_sizes, seconds=seconds, threads=threads, say=say
        )


def make_trace(
    shape: str,
    *,
    rate: float,
    duration_s: float,
    seed: int = 0,
    peak_rate: float | None = None,
    cv: float | None = None,
    name: str | None = None,
) -> TrafficTrace:
    """Make arrivals: ``shape`` is constant, poisson, gamma, daily, ramp or steps; rates per second."""
    from deployer.traffic import arrivals

    return arrivals.make(
        shape, rate=rate, duration_s=duration_s, seed=seed, peak_rate=peak_rate, cv=cv, name=name
    )


def read_trace(path: Path, *, log_format: str | None = None, seed: int = 0) -> TrafficTrace:
    """Read trace.csv, or arrivals from a log: ``log_format`` is ``alb`` or ``cloudwatch``."""
    from deployer.traffic import files, logs

    if log_format is None:
        return files.load(path, seed=seed)
    return logs.read(path, log_format=log_format, seed=seed)


def save_trace(trace: TrafficTrace, path: Path) -> None:
    """Write trace.csv."""
    from deployer.traffic import files

    files.save(trace, path)


def loadtest(
    url: str,
    *,
    trace: TrafficTrace | Path | None = None,
    rate: float | None = None,
    duration_s: float | None = None,
    seed: int = 0,
    data: Sequence[Path] = (),
    bundle: Path | None = None,
    timeout_s: float = 60.0,
    max_connections: int = 256,
    say: Say = _silent,
) -> Run:
    """Send the requests of a trace (or Poisson arrivals at ``rate``) at their intended times.

    Bodies come from ``data`` files, or from the samples of ``bundle``, or of the deployment that answers
    at ``url``; they are used in turn.
    """
    from deployer import load

    if (trace is None) == (rate is None):
        raise InputError("a load test needs either a trace or a rate")
    if rate is not None and duration_s is None:
        raise InputError("a rate needs a duration", hint="add --duration 30s")
    if rate is not None and duration_s is not None:
        chosen = make_trace("poisson", rate=rate, duration_s=duration_s, seed=seed)
    else:
        chosen = _trace(trace)
    bodies = _bodies(url, data, bundle)
    return load.loadtest(
        url, chosen, bodies, timeout_s=timeout_s, max_connections=max_connections, say=say
    )


def simulate(
    spec: DeploymentSpec | Path,
    *,
    trace: TrafficTrace | Path,
    profile: Profile | Path,
    seed: int = 0,
) -> Run:
    """Play a trace against a specification and return the Run that a load test would."""
    from deployer.simulation import simulation

    return simulation.simulate(_trace(trace), _profile(profile), _spec(spec), seed)


def prices(
    *, service: str | None = None, region: str | None = None, item: str | None = None
) -> tuple[Price, ...]:
    """Return the prices of the embedded book that match. Raises UnknownPrice when none does."""
    from deployer.pricing import snapshot

    return snapshot.load().search(service=service, region=region, item=item)


def plan(spec: DeploymentSpec | Path) -> DeployPlan:
    """Work out what deploying would change; touches nothing."""
    from deployer.deployments import planner

    return planner.plan(_spec(spec))


def deploy(source: DeploymentSpec | Path, *, say: Say = _silent) -> Deployment:
    """Make what runs equal to the specification (deployment.toml) or run a saved plan (plan.json)."""
    from deployer.deployments import local, planner

    if isinstance(source, Path) and source.name.endswith(".json"):
        return local.apply(planner.load(source), say=say)
    return local.apply(plan(source), say=say)


def status(name: str) -> DeploymentStatus:
    """Ask the servers of a deployment how they are."""
    from deployer.deployments import local

    return local.status(name)


def invoke(
    name: str, body: Body, *, accept: str | None = None, timeout_s: float = 60.0
) -> Answer:
    """Send one request to a deployment."""
    from deployer.deployments import local

    return local.invoke(name, body, accept=accept, timeout_s=timeout_s)


def destroy(name: str, *, say: Say = _silent) -> tuple[str, ...]:
    """Stop and remove everything of a deployment, verify it, and return what was removed."""
    from deployer.deployments import local

    return local.destroy(name, say=say)


def logs(name: str, *, lines: int = 100) -> tuple[ServerLog, ...]:
    """Return the last lines of each server's log."""
    from deployer.deployments import local

    return local.logs(name, lines=lines)


def _spec(source: DeploymentSpec | Path) -> DeploymentSpec:
    return serde.load(source) if isinstance(source, Path) else source


def _trace(source: TrafficTrace | Path | None) -> TrafficTrace:
    if isinstance(source, Path):
        return read_trace(source)
    if source is None:
        raise InputError("no trace is given")
    return source


def _profile(source: Profile | Path) -> Profile:
    from deployer import profiles

    return profiles.load(source) if isinstance(source, Path) else source
