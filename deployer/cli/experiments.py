"""The verbs of traffic: trace, loadtest, simulate."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from deployer import api
from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.options import (
    DURATION,
    INPUT,
    MOMENT,
    NUMBER,
    RATE,
    force_option,
    output_option,
    seed_option,
    verb,
)
from deployer.cli.output import check_file, replacing, write
from deployer.errors import InputError

SHAPES = ("constant", "poisson", "gamma", "daily", "ramp", "steps")


@verb(
    "trace",
    "deployer trace --shape poisson --rate 50 --duration 10m -o trace.csv",
    "deployer trace --shape daily --rate 10 --peak-rate 30 --duration 24h --seed 7 -o day.csv",
    "deployer trace --from access.log --format alb -o trace.csv",
    "deployer trace --from counts.csv --start 2026-03-02T10:00:00Z -o trace.csv",
)
@click.option("--shape", type=click.Choice(SHAPES), help="Make a trace of this shape.")
@click.option("--rate", type=RATE, help="Requests per second, on average (ramp: at the start).")
@click.option("--peak-rate", type=RATE, help="Highest rate of daily, last of ramp.")
@click.option("--cv", type=NUMBER, help="Coefficient of variation of gamma; 1 is Poisson.")
@click.option("--duration", "duration_s", type=DURATION, help="Like 30s, 10m, 24h.")
@click.option("--start", type=MOMENT, metavar="2026-03-02T10:00:00Z",
              help="When second 0 is; for --from only where the file does not say.")  # fmt: skip
@click.option("--from", "source", type=INPUT, help="Read this file instead.")
@click.option("--format", "log_format", type=click.Choice(("alb", "cloudwatch")),
              help="What --from holds; without it, trace.csv.")  # fmt: skip
@seed_option
@output_option("trace.csv.")
@click.pass_obj
def trace_verb(
    console: Console,
    shape: str | None,
    rate: float | None,
    peak_rate: float | None,
    cv: float | None,
    duration_s: float | None,
    start: datetime | None,
    source: Path | None,
    log_format: str | None,
    seed: int,
    output: Path,
) -> None:
    """Make a traffic trace, or read one from logs.

    One arrival per row. The same shape, numbers and seed give the same trace. A schedule acts by the trace's
    start, which logs know and --start gives; the daily curve peaks at 14:00 UTC. Without a start a trace
    begins at midnight UTC.
    """
    check_file(output, inputs=[source])
    if (shape is None) == (source is None):
        raise InputError("a trace needs either --shape or --from")
    if source is not None:
        made = api.read_trace(source, log_format=log_format, seed=seed, start=start)
    elif shape is None or rate is None or duration_s is None:
        raise InputError("--shape needs --rate and --duration")
    else:
        made = api.make_trace(
            shape,
            rate=rate,
            duration_s=duration_s,
            seed=seed,
            peak_rate=peak_rate,
            cv=cv,
            start=start,
        )
    with replacing(output) as draft:
        api.save_trace(made, draft)
    console.result(text.trace_document(made), text.trace(made))


@verb(
    "loadtest",
    "deployer loadtest http://127.0.0.1:8080 --rate 50 --duration 30s -o run.json",
    "deployer loadtest http://127.0.0.1:8080 --trace trace.csv --data sample.json -o run.json",
    "deployer loadtest https://models.example.com/invocations --trace t.csv --data s.npy -o run.json",
)
@click.argument("url")
@click.option("--trace", type=INPUT, help="Send the arrivals of this trace.csv.")
@click.option("--rate", type=RATE, help="Or Poisson arrivals at this rate, per second.")
@click.option("--duration", "duration_s", type=DURATION, help="With --rate: for how long.")
@click.option(
    "--data", type=INPUT, multiple=True, help="Request body (.json, .csv, .npy); in turn."
)
@click.option("--bundle", type=INPUT, help="Take the bodies from this bundle's samples.")
@click.option("--timeout", "timeout_s", type=DURATION, default="60s", show_default=True,
              help="Counts from the intended time.")  # fmt: skip
@click.option("--connections", type=click.IntRange(1, 10_000), default=256, show_default=True,
              help="Most connections at once.")  # fmt: skip
@seed_option
@force_option
@output_option("run.json; an existing one is kept unless --force.")
@click.pass_obj
def loadtest_verb(
    console: Console,
    url: str,
    trace: Path | None,
    rate: float | None,
    duration_s: float | None,
    data: tuple[Path, ...],
    bundle: Path | None,
    timeout_s: float,
    connections: int,
    seed: int,
    force: bool,
    output: Path,
) -> None:
    """Send a trace to a server, open loop, and measure.

    Each request leaves at its intended time, whatever the server does; latency counts from that time.
    Without --data or --bundle the samples of the bundle that this machine serves at URL are sent.
    """
    check_file(output, inputs=[trace, bundle, *data], keep=not force)
    run = api.loadtest(
        url,
        trace=trace,
        rate=rate,
        duration_s=duration_s,
        seed=seed,
        data=data,
        bundle=bundle,
        timeout_s=timeout_s,
        max_connections=connections,
        say=console.progress,
    )
    write(output, run.dumps())
    for warning in run.details.get("warnings", ()):
        console.warn(warning)
    console.result(text.run_document(run), text.run(run))


@verb(
    "simulate",
    "deployer simulate deployment.toml --trace trace.csv --profile profile.json -o run.json",
    "deployer simulate c5.toml --trace day.csv --profile p.json --seed 7 -o run.json",
    "deployer simulate c5.toml --trace day.csv --profile p.json -o run.json --json | jq .latency_ms",
)
@click.argument("spec", type=INPUT)
@click.option("--trace", type=INPUT, required=True, help="trace.csv.")
@click.option("--profile", type=INPUT, required=True, help="profile.json of the spec's bundle.")
@seed_option
@output_option("run.json.")
@click.pass_obj
def simulate_verb(
    console: Console, spec: Path, trace: Path, profile: Path, seed: int, output: Path
) -> None:
    """Play a trace against a specification, without the cloud.

    Batching, queueing and scaling are the server's and the project's own functions; service times come from
    the profile. The same inputs and seed give the same run.json, byte for byte.
    """
    check_file(output, inputs=[spec, trace, profile])
    run = api.simulate(spec, trace=trace, profile=profile, seed=seed)
    write(output, run.dumps())
    console.result(text.run_document(run), text.run(run))
