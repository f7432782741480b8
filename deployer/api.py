"""One function per verb: the only module that joins the stages.

Each takes nouns, or paths of files that hold them, and returns a noun; the command line and deploy
scripts call the same functions. Stages are imported when first used, so that `import deployer` is quick
and a verb needs only the extra it uses.
"""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import InputError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec, Slo
from inference_code.contract import SAMPLES_PATH, ServingConfig

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

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Say = Callable[[str], None]
Arrays = Mapping[str, Any]


def _silent(_: str) -> None:
    """Say nothing."""


def to_toml(spec: DeploymentSpec) -> str:
    """Return a specification as deployment.toml."""
    return serde.to_toml(spec)


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
    from deployer.bundle.bundle import open_bundle

    if (trace is None) == (rate is None):
        raise InputError("a load test needs either a trace or a rate")
    if rate is not None and duration_s is None:
        raise InputError("a rate needs a duration", hint="add --duration 30s")
    if rate is not None and duration_s is not None:
        chosen = make_trace("poisson", rate=rate, duration_s=duration_s, seed=seed)
    else:
        chosen = _trace(trace)
    served = bundle or _bundle_behind(url)
    run = load.loadtest(
        url,
        chosen,
        _bodies(data, served),
        timeout_s=timeout_s,
        max_connections=max_connections,
        say=say,
    )
    if served is None:
        return run
    digest = open_bundle(served).digest
    return dataclasses.replace(run, details={**run.details, "bundle_digest": digest})


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


def compare(
    specs: Sequence[DeploymentSpec | Path],
    *,
    trace: TrafficTrace | Path,
    profiles: Sequence[Profile | Path],
    slo: Slo | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    measured: Sequence[Run | Path] = (),
    name: str | None = None,
    out_dir: Path | None = None,
    say: Say = _silent,
) -> CostReport:
    """Simulate and price every specification over one trace, and rank them under one objective.

    A specification is matched to a profile by its bundle's digest. ``slo`` None takes the objective that
    the specifications share. ``measured`` load tests say how far the simulator is off on this machine.
    With ``out_dir`` the report is written there: index.html, report.md, report.json, report.csv.
    """
    from deployer import __version__, comparison, runs
    from deployer.cost import compare as stage
    from deployer.pricing import snapshot

    chosen = tuple(_spec(spec) for spec in specs)
    question = comparison.Question(
        chosen, _trace(trace), tuple(map(_profile, profiles)), tuple(seeds)
    )
    load_tests = [runs.load(run) if isinstance(run, Path) else run for run in measured]
    report = stage.compare(
        question.entries(say),
        name=name or chosen[0].name,
        trace=question.trace,
        slo=_shared_slo(chosen) if slo is None else slo,
        book=snapshot.load(),
        profiles=question.profiles,
        seeds=question.seeds,
        measured=[comparison.measured_summary(run) for run in load_tests],
        calibration=comparison.calibration(load_tests, question.profiles),
        commands=_next_commands(specs, trace, profiles, out_dir),
        tool_version=__version__,
        rerun=question.changed,
    )
    if out_dir is not None:
        say(f"write the report to {out_dir}")
        from deployer.report.write import write

        write(report, out_dir)
    return report


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


def invoke(name: str, body: Body, *, accept: str | None = None, timeout_s: float = 60.0) -> Answer:
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


def _shared_slo(specs: Sequence[DeploymentSpec]) -> Slo:
    slos = {spec.slo for spec in specs}
    if len(slos) > 1:
        raise InputError(
            "the specifications have different objectives", hint="name one: --slo p99=100ms"
        )
    return slos.pop()


def _bundle_behind(url: str) -> Path | None:
    """Return the bundle that a server of this machine answers with at ``url``, when it is ours."""
    from deployer.clients.base import Endpoint
    from deployer.deployments.state import Store

    endpoint = Endpoint.parse(url)
    return Store().bundle_at(endpoint.port) if endpoint.host in _LOOPBACK else None


def _bodies(data: Sequence[Path], bundle: Path | None) -> list[Body]:
    from deployer.clients.base import Body

    if data:
        return [Body.from_file(path) for path in data]
    bodies = [] if bundle is None else _samples(bundle)
    if not bodies:
        raise InputError(
            "no request body to send",
            hint="add --data FILE, or --bundle BUNDLE to use the samples that it holds",
        )
    return bodies


def _samples(bundle: Path) -> list[Body]:
    from deployer.bundle import archive
    from deployer.clients.base import Body

    with tempfile.TemporaryDirectory(prefix="deployer-samples-") as folder:
        model_dir = Path(folder) / "model"
        archive.unpack(bundle, model_dir)
        return [Body.from_file(path) for path in sorted((model_dir / SAMPLES_PATH).glob("*"))]


def _next_commands(
    specs: Sequence[Any], trace: Any, profiles: Sequence[Any], out_dir: Path | None
) -> tuple[str, ...]:
    """Return the command that makes the report again, where everything came from files."""
    if not all(isinstance(item, Path) for item in (*specs, trace, *profiles)):
        return ()
    words = [*map(str, specs), "--trace", str(trace)]
    for profile in profiles:
        words += ["--profile", str(profile)]
    if out_dir is not None:
        words += ["-o", str(out_dir)]
    return (f"deployer compare {shlex.join(words)}",)
