"""The verbs of what runs: init, plan, deploy, status, invoke, logs, destroy."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deployer import api
from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.options import (
    DURATION,
    INPUT,
    OUTPUT,
    deployment_names,
    force_option,
    output_option,
    verb,
)
from deployer.cli.output import check_file, write
from deployer.clients.base import Body
from deployer.errors import ConditionFailed, DeployerError


@verb(
    "init",
    "deployer init",
    "deployer init --name digits --bundle dist/digits-3f9a1c2b77d0.tar.gz",
    "deployer init -o candidates/c5.toml",
)
@click.option("--name", default="my-model", show_default=True)
@click.option(
    "--bundle", default="dist/my-model.tar.gz", show_default=True, help="Path noted in it."
)
@force_option
@click.option("-o", "--output", type=OUTPUT, default="deployment.toml", show_default=True)
@click.pass_obj
def init_verb(console: Console, name: str, bundle: str, force: bool, output: Path) -> None:
    """Write a commented deployment.toml.

    It names every key with its default; an existing file is kept unless --force.
    """
    check_file(output, keep=not force)
    write(output, api.init(name=name, bundle=bundle))
    console.result({"path": str(output)}, str(output))


@verb(
    "plan",
    "deployer plan deployment.toml",
    "deployer plan deployment.toml -o plan.json    # `deployer deploy plan.json` runs just this",
    "deployer plan deployment.toml --check    # exit 1 when something would change",
)
@click.argument("spec", type=INPUT)
@click.option("--check", is_flag=True, help="Exit 1 when there are changes.")
@output_option("plan.json.", required=False)
@click.pass_obj
def plan_verb(console: Console, spec: Path, check: bool, output: Path | None) -> None:
    """Show what deploying would change; change nothing.

    A saved plan is run word for word, or refused when what exists has changed since.
    """
    check_file(output, inputs=[spec])
    plan = api.plan(spec)
    write(output, text.json_text(plan.to_json()))
    console.result(plan.to_json(), text.plan(plan, output or spec))
    if check and plan.changes:
        raise ConditionFailed(
            f"{plan.spec.name} does not run as specified", hint=f"`deployer deploy {spec}`"
        )


@verb(
    "deploy",
    "deployer deploy deployment.toml",
    "deployer deploy plan.json    # just what the plan says, or nothing",
    "deployer deploy deployment.toml --json",
)
@click.argument("source", type=INPUT)
@click.pass_obj
def deploy_verb(console: Console, source: Path) -> None:
    """Make what runs equal to the specification.

    Running it twice changes nothing. A new version first has to start on a spare port, so that one that
    cannot never stops the old one.
    """
    deployment = api.deploy(source, say=console.say)
    console.result(deployment.to_json(), text.deployment(deployment))


@verb(
    "status",
    "deployer status digits",
    "deployer status digits --json",
    "deployer status digits || echo degraded",
)
@click.argument("name", shell_complete=deployment_names)
@click.pass_obj
def status_verb(console: Console, name: str) -> None:
    """Ask the servers of a deployment how they are.

    Exit 1 when fewer servers answer than were deployed.
    """
    status = api.status(name)
    console.result(text.status_document(status), text.status(status, console.ascii_only))
    if not status.healthy:
        raise ConditionFailed(
            f"{status.serving} of {status.deployment.instances} servers of {name} answer",
            hint=f"`deployer logs {name}` tells why; deploying again starts what is missing",
        )


@verb(
    "invoke",
    "deployer invoke digits --data sample.json",
    "deployer invoke digits --data image.npy --accept application/json",
    "deployer invoke digits --data sample.json --json | jq .content",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--data", type=INPUT, required=True, help="Request body: .json, .csv or .npy.")
@click.option("--accept", help="Content type wanted for the answer.")
@click.option("--timeout", "timeout_s", type=DURATION, default="60s", show_default=True)
@click.pass_obj
def invoke_verb(
    console: Console, name: str, data: Path, accept: str | None, timeout_s: float
) -> None:
    """Send one request to a deployment.

    Its servers are asked in turn. The answer goes to stdout as it came; exit 2 when it is not 200.
    """
    answer = api.invoke(name, Body.from_file(data), accept=accept, timeout_s=timeout_s)
    if answer.status != 200:
        words = answer.content[:500].decode("utf-8", "replace").strip()
        raise DeployerError(f"{name} answered {answer.status}: {words}")
    if console.as_json:
        console.result(text.answer_document(answer), "")
    else:
        sys.stdout.buffer.write(answer.content)
        sys.stdout.buffer.flush()


@verb(
    "logs",
    "deployer logs digits",
    "deployer logs digits --lines 20",
    "deployer logs digits --json",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--lines", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.pass_obj
def logs_verb(console: Console, name: str, lines: int) -> None:
    """Show the last lines of each server's log."""
    found = api.logs(name, lines=lines)
    console.result(text.logs_document(found), text.logs(found))


@verb(
    "destroy",
    "deployer destroy digits",
    "deployer destroy digits --yes    # in scripts",
    "deployer destroy digits --yes --json",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def destroy_verb(console: Console, name: str, yes: bool) -> None:
    """Stop and remove everything of a deployment.

    Lists what it will remove and asks, where somebody can answer. Verifies that nothing is left; exit 3
    with a list when something is.
    """
    status = api.status(name)
    console.say(text.status(status, console.ascii_only))
    if not yes:
        if not sys.stdin.isatty():
            raise DeployerError(f"destroying {name} needs a yes", hint="add --yes in scripts")
        click.confirm(f"Stop these servers and remove {name}?", abort=True, err=True)
    removed = api.destroy(name, say=console.say)
    console.result({"name": name, "removed": list(removed)}, text.removed(name, removed))
