"""The verbs of this machine: quickstart, doctor, help."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.options import INPUT, output_option, seed_option, verb
from deployer.cli.output import check_folder
from deployer.errors import ConditionFailed, InputError


@verb(
    "quickstart",
    "deployer quickstart -o out",
    "deployer quickstart -o out --seed 7",
    "deployer quickstart -o out --json > report.json",
)
@seed_option
@output_option("Folder for everything that it makes; the report is in its report/.")
@click.pass_obj
def quickstart_verb(console: Console, seed: int, output: Path) -> None:
    """Do the whole job once, on a small model, in three minutes.

    Trains a small CNN on handwritten digits, quantizes, packages, checks, serves, measures, simulates a day
    of traffic on SageMaker and EC2, prices it and writes the report. Needs no AWS account.
    """
    from deployer import quickstart
    from deployer.report.rows import to_json
    from deployer.report.terminal import terminal_table

    check_folder(output)
    report = quickstart.run(output, seed=seed, say=console.say)
    table = terminal_table(report, console.width, ascii_only=console.ascii_only)
    console.result(to_json(report), f"{table}\n{output / 'report' / 'index.html'}")


@verb(
    "doctor",
    "deployer doctor",
    "deployer doctor --json",
    "deployer doctor || exit 1    # first line of a deploy script",
    "deployer doctor --policy plan deployment.toml --account 123456789012 > plan-policy.json",
    "deployer doctor --policy deploy resolved.json --caller ci-deploy > deploy-policy.json",
)
@click.argument("spec", type=INPUT, required=False)
@click.option("--policy", type=click.Choice(["plan", "deploy"]),
              help="Print the IAM policy that planning or deploying to AWS needs.")  # fmt: skip
@click.option("--account", default="", help="Policy: its number; default ACCOUNT_ID.")
@click.option("--region", default="", help="Policy: default SPEC's, else REGION.")
@click.option("--caller", default="", help="Policy: the role that it is for; default CALLER_ROLE.")
@click.pass_obj
def doctor_verb(
    console: Console,
    spec: Path | None,
    policy: Literal["plan", "deploy"] | None,
    account: str,
    region: str,
    caller: str,
) -> None:
    """Check that this machine has what the verbs need.

    Exit 1 when something that every verb needs is missing; a missing extra is only told. With --policy it prints
    a least-privilege policy as JSON instead, for one deployment; the deploying role needs both. SPEC (deployment.toml
    or resolved.json) fills in name, region, bucket, role, key and alarms; what is not known stays in capitals.
    """
    from deployer.doctor import checkup

    if policy is not None:
        _print_policy(console, policy, spec, account, region, caller)
        return
    if spec is not None or account or region or caller:
        raise InputError("SPEC, --account, --region and --caller go with --policy")
    report = checkup.examine()
    console.result(report.to_json(), text.doctor(report, console.ascii_only))
    if not report.ok:
        raise ConditionFailed("this machine lacks something that every verb needs")


def _print_policy(
    console: Console,
    purpose: Literal["plan", "deploy"],
    source: Path | None,
    account: str,
    region: str,
    caller: str,
) -> None:
    from deployer.api.sources import spec_of
    from deployer.deployments import documents as saved
    from deployer.doctor import documents, policies
    from deployer.spec import resolved

    wish: Any = None
    if source is not None and source.suffix == ".json":
        wish = saved.resolved_in(source) or resolved.load(source)
    elif source is not None:
        wish = spec_of(source)
    scope = policies.scope(wish, account=account, region=region, caller=caller)
    document = documents.document(purpose, scope)
    console.say(f"{documents.size(document)} characters; IAM takes 6,144 in a managed policy")
    console.result(document, text.json_text(document).rstrip())


@verb(
    "help",
    "deployer help exit-codes",
    "deployer help deploy",
    "deployer help",
)
@click.argument("topic", required=False)
@click.pass_context
def help_verb(ctx: click.Context, topic: str | None) -> None:
    """Explain a verb, or `exit-codes`."""
    from deployer.cli.main import EXIT_CODES, cli

    console: Console = ctx.obj
    parent = ctx.find_root()
    if topic == "exit-codes":
        words = EXIT_CODES
    elif topic is None:
        words = cli.get_help(parent)
    else:
        name, command, _ = cli.resolve_command(parent, [topic])
        assert command is not None  # resolve_command raises for an unknown name
        words = command.get_help(click.Context(command, info_name=name, parent=parent))
    console.result({"topic": topic or "deployer", "text": words}, words)
