"""Traffic meets a bundle, on this machine or in the simulator; prices turn it into a report."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api import bodies
from deployer.api.sources import profile_of, spec_of
from deployer.distribution import version
from deployer.errors import InputError
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from deployer.spec.deployment import DeploymentSpec, Slo

if TYPE_CHECKING:
    from deployer.cost.report import CostReport
    from deployer.pricing.book import Price
    from deployer.profiles import Profile
    from deployer.runs import Run
    from deployer.traffic.trace import TrafficTrace


def make_trace(
    shape: str,
    *,
    rate: float,
    duration_s: float,
    seed: int = 0,
    peak_rate: float | None = None,
    cv: float | None = None,
    name: str | None = None,
    start: datetime | None = None,
) -> TrafficTrace:
    """Make arrivals: ``shape`` is constant, poisson, gamma, daily, ramp or steps; rates per second.

    ``start`` is the moment of second 0, with its offset from UTC: a schedule acts by it, and the daily curve
    peaks at 14:00 UTC. Without one the trace begins at midnight.
    """
    from deployer.traffic import arrivals

    return arrivals.make(
        shape,
        rate=rate,
        duration_s=duration_s,
        seed=seed,
        peak_rate=peak_rate,
        cv=cv,
        name=name,
        start=start,
    )


def read_trace(
    path: AnyPath, *, log_format: str | None = None, seed: int = 0, start: datetime | None = None
) -> TrafficTrace:
    """Read trace.csv, or arrivals from a log: ``log_format`` is ``alb`` or ``cloudwatch``.

    ``start`` gives the moment of second 0 to a file that names none. Raises InputError where it names another.
    """
    from deployer.traffic import files, logs

    path = as_path(path)
    of_log = None if log_format is None else logs.read(path, log_format=log_format, seed=seed)
    trace = of_log or files.load(path, seed=seed)
    return trace if start is None else trace.started_at(start)


def save_trace(trace: TrafficTrace, path: AnyPath) -> None:
    """Write trace.csv."""
    from deployer.traffic import files

    files.save(trace, as_path(path))


def loadtest(
    url: str,
    *,
    trace: TrafficTrace | AnyPath | None = None,
    rate: float | None = None,
    duration_s: float | None = None,
    seed: int = 0,
    data: Sequence[AnyPath] = (),
    bundle: AnyPath | None = None,
    timeout_s: float = 60.0,
    max_connections: int = 256,
    say: Say = silent,
) -> Run:
    """Send the requests of a trace (or Poisson arrivals at ``rate``) at their intended times.

    Bodies come from ``data`` files, or from the samples of ``bundle``, or of the deployment that answers
    at ``url``; they are used in turn. The run notes how many workers the server has when it is ours.
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
    served = as_path(bundle) or bodies.bundle_behind(url)
    run = load.loadtest(
        url,
        chosen,
        bodies.bodies([as_path(item) for item in data], served),
        timeout_s=timeout_s,
        max_connections=max_connections,
        say=say,
    )
    if served is None:
        return run
    known = {"bundle_digest": open_bundle(served).digest, **bodies.workers_behind(url)}
    return dataclasses.replace(run, details={**run.details, **known})


def simulate(
    spec: DeploymentSpec | AnyPath,
    *,
    trace: TrafficTrace | AnyPath,
    profile: Profile | AnyPath,
    seed: int = 0,
) -> Run:
    """Play a trace against a specification and return the Run that a load test would."""
    from deployer.simulation import simulation

    measured = profile_of(profile)
    return simulation.simulate(_trace(trace), measured, spec_of(spec, [measured]), seed)


def prices(
    *, service: str | None = None, region: str | None = None, item: str | None = None
) -> tuple[Price, ...]:
    """Return the prices of the embedded book that match. Raises UnknownPrice when none does."""
    from deployer.pricing import snapshot

    return snapshot.load().search(service=service, region=region, item=item)


def compare(
    specs: Sequence[DeploymentSpec | AnyPath],
    *,
    trace: TrafficTrace | AnyPath,
    profiles: Sequence[Profile | AnyPath],
    slo: Slo | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    measured: Sequence[Run | AnyPath] = (),
    name: str | None = None,
    budget: Decimal | None = None,
    out_dir: AnyPath | None = None,
    say: Say = silent,
) -> CostReport:
    """Simulate and price every specification over one trace, and rank them under one objective.

    A specification is matched to a profile by its bundle's digest. ``slo`` None takes the objective that
    the specifications share. ``measured`` load tests say how far the simulator is off on this machine.
    ``budget`` in USD per thousand adds its verdict to the page.
    With ``out_dir`` the report is written there: index.html, report.md, report.json, report.csv.
    """
    from deployer import comparison, runs
    from deployer.cost import compare as stage
    from deployer.pricing import snapshot

    measurements = tuple(map(profile_of, profiles))
    chosen = tuple(spec_of(spec, measurements) for spec in specs)
    question = comparison.Question(chosen, _trace(trace), measurements, tuple(seeds))
    objective = _shared_slo(chosen) if slo is None else slo
    given = [as_path(run) for run in measured]
    load_tests = [runs.load(run) if isinstance(run, Path) else run for run in given]
    report = stage.compare(
        question.entries(say),
        name=name or chosen[0].name,
        trace=question.trace,
        slo=objective,
        book=snapshot.load(),
        profiles=question.profiles,
        seeds=question.seeds,
        measured=[comparison.measured_summary(run) for run in load_tests],
        calibration=comparison.calibration(load_tests, question.profiles),
        commands=_command(specs, trace, profiles, measured, objective, seeds, budget, out_dir),
        tool_version=version(),
        rerun=lambda change: question.changed(change, say),
    )
    if out_dir is not None:
        say(f"write the report to {out_dir}")
        from deployer.report.write import write

        write(report, as_path(out_dir), today=date.today(), budget_usd_per_thousand=budget)
    return report


def _trace(source: TrafficTrace | AnyPath | None) -> TrafficTrace:
    source = as_path(source)
    if isinstance(source, Path):
        return read_trace(source)
    if source is None:
        raise InputError("no trace is given")
    return source


def _shared_slo(specs: Sequence[DeploymentSpec]) -> Slo:
    slos = {spec.slo for spec in specs}
    if len(slos) > 1:
        raise InputError(
            "the specifications have different objectives", hint="name one: --slo p99=100ms"
        )
    return slos.pop()


def _command(
    specs: Sequence[Any],
    trace: Any,
    profiles: Sequence[Any],
    measured: Sequence[Any],
    slo: Slo,
    seeds: Sequence[int],
    budget: Decimal | None,
    out_dir: AnyPath | None,
) -> tuple[str, ...]:
    """Return the command that makes the report again; none where something came from memory."""
    if not all(
        isinstance(item, str | os.PathLike) for item in (*specs, trace, *profiles, *measured)
    ):
        return ()
    options = [
        ("--trace", trace),
        *(("--profile", path) for path in profiles),
        *(("--measured", path) for path in measured),
        *(("--slo", f"{key.removesuffix('_ms')}={limit:g}ms") for key, limit in slo.items()),
        *(("--seed", seed) for seed in seeds),
        *(() if budget is None else (("--budget", budget),)),
        *(() if out_dir is None else (("-o", out_dir),)),
    ]
    words = [*specs, *(word for option in options for word in option)]
    return (f"deployer compare {shlex.join(map(str, words))}",)
