"""The command ``deployer``: finds the verb, and turns whatever goes wrong into one clear error."""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from deployer import errors
from deployer.cli.console import colour
from deployer.distribution import NAME
from deployer.errors import DeployerError, PartialFailure

VERBS: dict[str, tuple[str, str]] = {
    "quickstart": ("machine", "Do the whole job once, on a small model, in three minutes."),
    "optimize": ("models", "Quantize a model and keep what passes the accuracy gate."),
    "edge": ("edge", "Write a model for a device, within its file, memory and latency."),
    "package": ("models", "Seal model, handler and serving code into one bundle."),
    "check": ("models", "Play SageMaker's container rules against a bundle's server."),
    "image": ("images", "Build the image that serves a bundle, and push it to ECR."),
    "upload": ("images", "Put a bundle into S3 for `cdk deploy`."),
    "serve": ("models", "Serve a bundle on this machine until Ctrl-C."),
    "profile": ("models", "Measure a bundle's service time by batch size."),
    "trace": ("experiments", "Make a traffic trace, or read one from logs."),
    "loadtest": ("experiments", "Send a trace to a server, open loop, and measure."),
    "simulate": ("experiments", "Play a trace against a specification, without the cloud."),
    "compare": ("costs", "Price candidates over one trace and rank them."),
    "prices": ("costs", "Look into the embedded price book."),
    "init": ("deployments", "Write a commented deployment.toml."),
    "validate": ("validation", "Hold specifications against every rule of AWS and of deployer."),
    "plan": ("deployments", "Show what deploying would change; change nothing."),
    "deploy": ("deployments", "Make what runs equal to the specification."),
    "status": ("deployments", "Ask the servers of a deployment how they are."),
    "invoke": ("deployments", "Send one request to a deployment."),
    "rollback": ("deployments", "Return an endpoint or a fleet to the version before."),
    "logs": ("deployments", "Show the last lines of each server's log."),
    "destroy": ("deployments", "Stop and remove everything of a deployment."),
    "reap": ("deployments", "Destroy the deployments in AWS whose --ttl is over."),
    "doctor": ("machine", "Check that this machine has what the verbs need."),
    "help": ("machine", "Explain a verb, or `exit-codes`."),
}
"""Every verb in the order of the journey, with its module and its first sentence."""

EXIT_CODES = """\
Exit codes:
  0    done
  1    a stated condition does not hold: a gate, an objective, a budget, a broken rule
  2    could not do it: usage, input, environment
  3    partial: something is left, and listed
  130  interrupted; the state is saved"""


class Deployer(click.Group):
    """The group of verbs; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"deployer.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_verb")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1, cutoff=0.5)
            hint = f"did you mean `deployer {near[0]}`?" if near else "`deployer --help` lists them"
            raise DeployerError(f"there is no command {name!r}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands, in the order of the journey"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        for line in EXIT_CODES.splitlines():
            formatter.write(f"{line}\n")

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:
        """Run a command line and leave with its exit code; nothing but --debug shows a traceback."""
        words = list(sys.argv[1:] if args is None else args)
        options["standalone_mode"] = False
        try:
            code = super().main(words, *rest, **options)
            sys.exit(code if isinstance(code, int) else 0)
        except Exception as error:
            if "--debug" in words:
                traceback.print_exc()
            sys.exit(report(error))


def report(error: Exception) -> int:
    """Print an exception as ``error:`` and ``hint:`` on stderr and return its exit code."""
    match error:
        case DeployerError():
            left = error.remaining if isinstance(error, PartialFailure) else ()
            _tell(error.message, error.hint, left)
            return error.exit_code
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "deployer"
            _tell(error.format_message().rstrip("."), f"`{path} --help` shows its use")
            return 2
        case click.exceptions.Abort():  # also what click makes of Ctrl-C
            _tell("interrupted", None)
            return errors.Interrupted.exit_code
        case click.ClickException():
            _tell(error.format_message(), None)
            return 2
        case BrokenPipeError():
            sys.stderr.close()  # the reader left, and with it whoever would read a complaint
            return 2
        case OSError():
            where = f" {error.filename!r}" if error.filename else ""
            _tell(f"{error.strerror or error}{where}", None)
            return 2
        case _:
            _tell(
                f"this should not happen: {type(error).__name__}: {error}",
                "run it again with --debug and report what it prints",
            )
            return 2


def _tell(message: str, hint: str | None, left: Sequence[str] = ()) -> None:
    lines = [f"{click.style('error:', fg='red', bold=True)} {message}"]
    lines += [f"left: {item}" for item in left]
    if hint:
        lines.append(f"{click.style('hint:', fg='cyan')} {hint}")
    click.echo("\n".join(lines), err=True, color=colour())


@click.group(
    cls=Deployer,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.version_option(package_name=NAME, prog_name="deployer")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Put a model into production on AWS at the lowest cost that meets its latency.

    \b
    Examples:
      deployer quickstart -o out
      deployer package model.onnx --name digits -o dist
      deployer loadtest http://127.0.0.1:8080 --rate 50 --duration 30s -o run.json
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command line of this process. To be ended is to be interrupted: what was started is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets ? instead of an exception
    cli.main(prog_name="deployer")
