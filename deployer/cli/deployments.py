"""The verbs of what runs: init, plan, deploy, status, invoke, rollback, logs, destroy, reap."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from deployer import api
from deployer.cli import deployed, offline, text
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
from deployer.deployments import locate
from deployer.errors import ConditionFailed, DeployerError, InputError
from deployer.spec import schema

_F = TypeVar("_F", bound=Callable[..., Any])
_PROFILE = click.option(
    "--profile",
    type=INPUT,
    help="In AWS: profile.json; derives the scaling target, prices a load at it.",
)
_TTL = click.option(
    "--ttl", "ttl_s", type=DURATION, help="In AWS: `deployer reap` may remove it after this."
)


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

    It names every key with its default; an existing file is kept unless --force. Beside it lies
    deployment.schema.json, which tells editors every key, its type and its words: commit both.
    """
    beside = output.with_name(schema.FILE)
    if beside == output:
        raise InputError(f"{output.name!r} is the name of the schema", hint="name another with -o")
    check_file(output, keep=not force)
    check_file(beside)
    write(output, api.init(name=name, bundle=bundle))
    write(beside, schema.shipped())
    console.result({"path": str(output), "schema": str(beside)}, str(output))


def region_option(command: _F) -> _F:
    """Add --region: where in AWS to look, for what was deployed from another machine."""
    return click.option("--region", default="", help="Look in AWS, in this region.")(command)


@verb(
    "plan",
    "deployer plan deployment.toml",
    "deployer plan deployment.toml -o plan.json    # `deployer deploy plan.json` runs just this",
    "deployer plan deployment.toml --check    # exit 1 when something would change",
    "deployer plan deployment.toml --profile profile.json --resolved resolved.json",
    "deployer plan deployment.toml --profile profile.json --trace day.csv    # the bill of this traffic",
    "deployer plan deployment.toml --offline --account 123456789012    # no credentials",
)
@click.argument("spec", type=INPUT)
@click.option("--check", is_flag=True, help="Exit 1 when there are changes.")
@output_option("plan.json.", required=False)
@click.option("--resolved", type=OUTPUT,
              help="SageMaker: what both routes take; default beside SPEC.")  # fmt: skip
@_PROFILE
@click.option("--trace", type=INPUT,
              help="In AWS: trace.csv; prices what follows the traffic, with --profile.")  # fmt: skip
@_TTL
@offline.offline_options
@click.pass_obj
def plan_verb(
    console: Console,
    spec: Path,
    check: bool,
    output: Path | None,
    resolved: Path | None,
    profile: Path | None,
    trace: Path | None,
    ttl_s: float | None,
    where: offline.Where,
) -> None:
    """Show what deploying would change; change nothing.

    For SageMaker it asks AWS what is there, checks what would fail later, prices it, and writes resolved.json,
    which `deploy` and the CDK take word for word. A saved plan is run word for word, or refused when what exists
    has changed since. With --offline placeholders stand for what only AWS can tell, and for a bundle that is not
    there: resolved.json then synthesizes and is refused by everything that would make something.
    """
    check_file(output, inputs=[spec])
    check_file(resolved, inputs=[spec])
    asked = {"offline_account": where.account, "region": where.region}
    plan = api.plan(spec, profile=profile, trace=trace, ttl_s=ttl_s, say=console.say, **asked)
    next_command = f"deployer deploy {output or spec}"
    if plan.resolved is not None:
        document = resolved or spec.with_name("resolved.json")
        write(document, text.json_text(plan.resolved.to_json()))
        console.say(f"wrote {document}")
        next_command = f"deployer deploy {document}"
    elif resolved is not None:
        raise InputError("--resolved is for targets in AWS")
    words = deployed.plan(plan, next_command, ascii_only=console.ascii_only)
    write(output, text.json_text(plan.to_json()))
    console.result(plan.to_json(), words)
    if check and plan.changes:
        raise ConditionFailed(
            f"{plan.spec.name} does not run as specified", hint=f"`deployer deploy {spec}`"
        )


@verb(
    "deploy",
    "deployer deploy deployment.toml",
    "deployer deploy plan.json    # just what the plan says, or nothing",
    "deployer deploy deployment.toml --ttl 8h    # `deployer reap` may remove it then",
    "deployer deploy deployment.toml --json",
)
@click.argument("source", type=INPUT)
@_PROFILE
@_TTL
@click.pass_obj
def deploy_verb(console: Console, source: Path, profile: Path | None, ttl_s: float | None) -> None:
    """Make what runs equal to the specification.

    Running it twice changes nothing; after an interruption it goes on. Here a new version first has to start on
    a spare port; on SageMaker exit 1 says that it was rolled back.
    """
    deployment = api.deploy(source, profile=profile, ttl_s=ttl_s, say=console.say)
    for warning in deployment.warnings:
        console.warn(warning)
    console.result(deployment.to_json(), deployed.deployed(deployment))


@verb(
    "status",
    "deployer status digits",
    "deployer status digits --json",
    "deployer status digits || echo degraded",
    "deployer status digits --region us-east-1    # deployed from another machine",
)
@click.argument("name", shell_complete=deployment_names)
@region_option
@click.pass_obj
def status_verb(console: Console, name: str, region: str) -> None:
    """Ask the servers of a deployment how they are.

    Exit 1 when fewer servers answer than were deployed; on SageMaker when an endpoint is not in service, lacks
    instances, or an alarm fires.
    """
    status = api.status(name, region=region)
    console.result(status.to_json(), deployed.status(status, ascii_only=console.ascii_only))
    if not status.healthy:
        raise ConditionFailed(
            status.words,
            hint=f"`deployer logs {name}` tells why; deploying again starts what is missing",
        )


@verb(
    "invoke",
    "deployer invoke digits --data sample.json",
    "deployer invoke digits --data image.npy --accept application/json",
    "deployer invoke digits --data sample.json --json | jq .content",
    "deployer invoke archive --input s3://bucket/pages/ --output s3://bucket/labels    # a batch job",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--data", type=INPUT, help="Request body: .json, .csv or .npy.")
@click.option("--accept", help="Content type wanted for the answer.")
@click.option("--timeout", "timeout_s", type=DURATION, help="60s; asynchronous 1h, batch 24h.")
@click.option("--input", "source", help="Batch: objects in S3; default target.input_s3_uri.")
@click.option("--output", "sink", help="Batch: where answers go; default target.output_s3_uri.")
@click.option(
    "--resolved", type=INPUT, help="Batch: what was deployed; default this machine's copy."
)
@region_option
@click.pass_obj
def invoke_verb(
    console: Console,
    name: str,
    data: Path | None,
    accept: str | None,
    timeout_s: float | None,
    source: str | None,
    sink: str | None,
    resolved: Path | None,
    region: str,
) -> None:
    """Send one request to a deployment.

    Servers of this machine are asked in turn; an asynchronous endpoint is waited for in S3; batch runs a job.
    The answer goes to stdout as it came; exit 2 when it is not 200.
    """
    if data is None:
        job = api.transform(
            name,
            input_s3_uri=source or "",
            output_s3_uri=sink or "",
            resolved=resolved,
            timeout_s=timeout_s or 86400.0,
            region=region,
            say=console.say,
        )
        console.result(asdict(job), deployed.batch(job))
        return
    if source or sink or resolved:
        raise InputError("--data goes without --input, --output and --resolved")
    answer = api.invoke(
        name,
        Body.from_file(data),
        accept=accept,
        timeout_s=timeout_s,
        region=region,
        say=console.say,
    )
    if answer.status != 200:
        words = answer.content[:500].decode("utf-8", "replace").strip()
        raise DeployerError(f"{name} answered {answer.status}: {words}")
    if console.as_json:
        console.result(text.answer_document(answer), "")
    else:
        sys.stdout.buffer.write(answer.content)
        sys.stdout.buffer.flush()


@verb(
    "rollback",
    "deployer rollback digits",
    "deployer rollback digits --region us-east-1",
    "deployer rollback digits --json",
)
@click.argument("name", shell_complete=deployment_names)
@region_option
@click.pass_obj
def rollback_verb(console: Console, name: str, region: str) -> None:
    """Return an endpoint or a fleet to the version before.

    In the way of its last rollout, and verified: exit 1 when it does not run it afterwards. A second rollback returns.
    """
    change = api.rollback(name, region=region, say=console.say)
    console.result(asdict(change), deployed.rolled_back(change))


@verb(
    "logs",
    "deployer logs digits",
    "deployer logs digits --lines 20",
    "deployer logs digits --json",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--lines", type=click.IntRange(1, 100_000), default=100, show_default=True)
@region_option
@click.pass_obj
def logs_verb(console: Console, name: str, lines: int, region: str) -> None:
    """Show the last lines of each server's log."""
    found = api.logs(name, lines=lines, region=region)
    console.result(text.logs_document(found), text.logs(found))


@verb(
    "destroy",
    "deployer destroy digits",
    "deployer destroy digits --yes    # in scripts",
    "deployer destroy digits --yes --region us-east-1    # deployed from another machine",
    "deployer destroy digits --yes --json",
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@click.pass_obj
def destroy_verb(console: Console, name: str, yes: bool, region: str) -> None:
    """Stop and remove everything of a deployment.

    Lists what it will remove and asks, where somebody can answer. Verifies that nothing is left; exit 3
    with a list when something is.
    """
    backend = locate.of_name(name, region)
    there = backend.remaining(name)
    for item in there:
        console.say(f"  {item}")
    if backend.whereabouts:
        console.say(backend.whereabouts)
    question = f"Remove these {len(there)} things of {name}?"
    _ask(question, f"destroying {name}", yes)
    removed = api.destroy(name, region=region, say=console.say)
    console.result({"name": name, "removed": list(removed)}, text.removed(name, removed))


@verb(
    "reap",
    "deployer reap --dry-run",
    "deployer reap --yes --region us-east-1    # every hour, in CI",
    "deployer reap --yes --json",
)
@click.option("--dry-run", is_flag=True, help="Only list what has expired.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--region", default="", help="Default from AWS_REGION or the profile.")
@click.pass_obj
def reap_verb(console: Console, dry_run: bool, yes: bool, region: str) -> None:
    """Destroy the deployments in AWS whose --ttl is over.

    AWS's tags tell which: this machine need not have deployed them. Exit 3 with a list when something is left.
    """
    found = api.expired(region=region)
    if dry_run or not found:
        console.result([asdict(item) for item in found], deployed.expired(found))
        return
    console.say(deployed.expired(found))
    _ask(f"Destroy these {len(found)} deployments?", "reaping", yes)
    done = api.reap(region=region, say=console.say)
    console.result([asdict(item) for item in done], deployed.reaped(done))


def _ask(question: str, doing: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise DeployerError(f"{doing} needs a yes", hint="add --yes in scripts")
    click.confirm(question, abort=True, err=True)
