"""The verbs of money: compare, prices."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import click

from deployer import api
from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.options import INPUT, MONEY, objective, output_option, slo_option, verb
from deployer.cli.output import check_folder
from deployer.cost.conditions import require_budget, require_objective
from deployer.report.rows import to_json
from deployer.report.terminal import terminal_table


@verb(
    "compare",
    "deployer compare *.toml --trace day.csv --profile profile.json --slo p99=100ms -o report",
    "deployer compare a.toml b.toml --trace day.csv --profile fp32.json --profile int8.json -o report",
    "deployer compare a.toml --trace day.csv --profile p.json --measured run.json --seed 0 -o report",
)
@click.argument("specs", type=INPUT, nargs=-1, required=True)
@click.option("--trace", type=INPUT, required=True, help="trace.csv.")
@click.option("--profile", "profiles", type=INPUT, multiple=True, required=True,
              help="profile.json; one for each bundle among the specs.")  # fmt: skip
@slo_option
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0, 1, 2),
              show_default=True, help="Simulate with each; more seeds, narrower intervals.")  # fmt: skip
@click.option("--measured", type=INPUT, multiple=True,
              help="run.json of a load test here: tells how far off the simulator is.")  # fmt: skip
@click.option("--budget", type=MONEY, metavar="USD",
              help="Exit 1 when the best costs more per thousand successful requests.")  # fmt: skip
@output_option("Folder for index.html, report.md, report.json, report.csv.")
@click.pass_obj
def compare_verb(
    console: Console,
    specs: tuple[Path, ...],
    trace: Path,
    profiles: tuple[Path, ...],
    slo: tuple[tuple[str, float], ...],
    seeds: tuple[int, ...],
    measured: tuple[Path, ...],
    budget: Decimal | None,
    output: Path,
) -> None:
    """Price candidates over one trace and rank them.

    Each specification is simulated with each seed and billed line by line. The objective is that of --slo, else the
    one that the specifications share in [slo]. Exit 1 when no candidate meets it, or the best is above --budget; the
    report is written all the same.
    """
    check_folder(output)
    report = api.compare(
        specs,
        trace=trace,
        profiles=profiles,
        slo=objective(slo) if slo else None,
        seeds=seeds,
        measured=measured,
        budget=budget,
        out_dir=output,
        say=console.progress,
    )
    table = terminal_table(report, console.width, ascii_only=console.ascii_only)
    console.result(to_json(report), f"{table}\n{output / 'index.html'}")
    if budget is not None:
        require_budget(report, budget)
    elif report.slo.items():
        require_objective(report)


@verb(
    "prices",
    "deployer prices --item c7i.large",
    "deployer prices --service sagemaker --region us-west-2",
    "deployer prices --item 'ml.c5*' --json",
)
@click.option("--service", help="A part of its name, or a pattern such as 'sage*'.")
@click.option("--region", help="Such as us-east-1.")
@click.option("--item", help="An instance type or another priced thing.")
@click.pass_obj
def prices_verb(
    console: Console, service: str | None, region: str | None, item: str | None
) -> None:
    """Look into the embedded price book.

    Every price with its unit, source and date. A price that nobody published is absent, not guessed.
    """
    found = api.prices(service=service, region=region, item=item)
    console.result(text.prices_document(found), text.prices(found))
