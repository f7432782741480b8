"""What all verbs share: the form of their help, --json, --quiet, --debug, and kinds of values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from deployer.cli.console import Console
from deployer.errors import DeployerError, InputError
from deployer.spec.deployment import Slo
from deployer.traffic import clock
from deployer.units import parse_duration, parse_money

_F = TypeVar("_F", bound=Callable[..., Any])
INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_INPUT = click.Path(exists=True, path_type=Path)
OUTPUT = click.Path(path_type=Path)


class Verb(click.Command):
    """A command whose help shows examples first, and that carries the shared flags."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
            click.Option(["--quiet", "-q"], is_flag=True, help="No progress on stderr."),
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Take the shared flags off and hand the callback a Console."""
        ctx.params.pop("debug")
        ctx.obj = Console(as_json=ctx.params.pop("as_json"), quiet=ctx.params.pop("quiet"))
        return super().invoke(ctx)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, then the examples, before the options."""
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            for example in self.examples:  # not wrapped: they are there to be copied
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def verb(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of this name with its examples."""
    return click.command(name, cls=Verb, examples=examples)


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.2
    """A value read by one of the project's own parsers."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except DeployerError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.fail(f"{error.message}{hint}", param, ctx)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{text!r} is not a positive number")
    return value


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise InputError(f"{text!r} is no time at all")
    return seconds


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(f"{text!r} is not a list of batch sizes", hint="write it like 1,2,4,8")
    return sizes


def _objective(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    if key not in ("p50", "p90", "p99") or not value:
        raise InputError(f"{text!r} is not an objective", hint="write it like p99=100ms")
    return f"{key}_ms", parse_duration(value) * 1000


def _model(text: str) -> Path | str:
    """A path that exists, else ``module:function``."""
    if Path(text).exists():
        return Path(text)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return text
    raise InputError(f"no file or folder {text!r}", hint="or write module:function")


def _named_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not Path(path).is_file():
        raise InputError(f"{text!r} names no file", hint="write it like small=small.onnx")
    return name, Path(path)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, words = text.rpartition("=")
    try:
        sizes = tuple(int(word) for word in words.split(",")) if words else ()
    except ValueError:
        sizes = (0,)
    if not name or min(sizes, default=1) < 1:
        raise InputError(f"{text!r} is no shape", hint="write it like image=1,3,224,224")
    return name, sizes


RATE = _Parsed("rate", _positive)
NUMBER = _Parsed("number", _positive)
DURATION = _Parsed("duration", _positive_duration)
SIZES = _Parsed("sizes", _sizes)
OBJECTIVE = _Parsed("objective", _objective)
MONEY = _Parsed("usd", parse_money)
MOMENT = _Parsed("moment", clock.parse)
MODEL = _Parsed("model", _model)
NAMED_FILE = _Parsed("name=file", _named_file)
SHAPE = _Parsed("name=sizes", _shape)
PORT = click.IntRange(1, 65535)


def slo_option(command: _F) -> _F:
    """Add --slo, given once for each percentile."""
    return click.option(
        "--slo",
        type=OBJECTIVE,
        multiple=True,
        metavar="p99=100ms",
        help="Latency objective; 99% of offered requests must succeed within it.",
    )(command)


def objective(pairs: Sequence[tuple[str, float]]) -> Slo:
    """Return the objective that --slo options add up to. Raises SpecError for a value out of range."""
    return Slo(**dict(pairs))


def seed_option(command: _F) -> _F:
    """Add --seed."""
    return click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Of all that is random.",
    )(command)


def shape_option(command: _F) -> _F:
    """Add --shape, given once for each input."""
    return click.option(
        "--shape",
        "shapes",
        type=SHAPE,
        multiple=True,
        metavar="NAME=1,3,224,224",
        help="Of an input that is made, where the model leaves its sizes open; repeat for more.",
    )(command)


def output_option(text: str, *, required: bool = True) -> Callable[[_F], _F]:
    """Add -o/--output."""
    return click.option("-o", "--output", type=OUTPUT, required=required, help=text)


def force_option(command: _F) -> _F:
    """Add --force, for outputs that cannot be made again."""
    return click.option("--force", is_flag=True, help="Replace an existing file.")(command)


def deployment_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a deployment in the shell."""
    from deployer.deployments.state import Store

    return [name for name in Store().names() if name.startswith(incomplete)]
