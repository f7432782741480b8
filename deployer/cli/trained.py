"""MODEL, or ``--from-training-job``: what optimize and package start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from deployer.api.training import TrainedModel, trained
from deployer.cli.console import Console

_F = TypeVar("_F", bound=Callable[..., Any])


def training_option(command: _F) -> _F:
    """Add --from-training-job."""
    return click.option(
        "--from-training-job",
        "training_job",
        metavar="NAME",
        help="Name or ARN of a SageMaker training job, or ARN of a model package.",
    )(command)


@contextmanager
def source(
    console: Console,
    model: str | None,
    training_job: str | None,
    kind: click.ParamType,  # type: ignore[type-arg]  # generic only from click 8.2
    choose: Callable[[TrainedModel], Path],
) -> Iterator[tuple[Any, Mapping[str, str] | None]]:
    """Yield what MODEL names, and its lineage, which is None where MODEL is on this machine.

    ``kind`` reads a MODEL of this machine; ``choose`` takes one from an artifact when MODEL is left out.
    """
    context = click.get_current_context()
    parameter = next(each for each in context.command.params if each.name == "model")
    if training_job is None:
        if model is None:
            raise click.MissingParameter(ctx=context, param=parameter)
        yield kind.convert(model, parameter, context), None
        return
    with trained(training_job, say=console.say) as found:
        yield (found.member(model) if model is not None else choose(found)), found.lineage
