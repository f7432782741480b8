"""--offline of `deployer plan`: its options, and the line that says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from deployer.errors import InputError
from deployer.spec.placeholders import words

if TYPE_CHECKING:
    from deployer.deployments.plan import AnyPlan


@dataclass(frozen=True)
class Where:
    """The account that is planned for without asking AWS; empty means to ask. ``region`` repeats the target's."""

    account: str = ""
    region: str = ""


def offline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --offline, --account and --region, and hand them on as one ``where``."""

    @click.option("--offline", is_flag=True, help="Ask nobody: no credentials, no boto3.")
    @click.option("--account", default="", help="With --offline: the account, 12 digits.")
    @click.option("--region", default="", help="With --offline: must be target.region.")
    @functools.wraps(command)
    def combined(*args: Any, offline: bool, account: str, region: str, **rest: Any) -> Any:
        if offline and rest.get("check"):
            raise InputError(
                "--check compares with what exists, which --offline does not look at",
                hint="leave one of them out",
            )
        return command(*args, where=_where(offline, account, region), **rest)

    return combined


def _where(offline: bool, account: str, region: str) -> Where:
    if offline and not account:
        raise InputError(
            "offline nobody tells the account", hint="add --account with its 12 digits"
        )
    if not offline and (account or region):
        raise InputError(
            "--account and --region go with --offline",
            hint="else the credentials tell the account, and target.region the region",
        )
    return Where(account, region)


def heading(plan: AnyPlan) -> list[str]:
    """Return the first line of a plan that looked at nothing in AWS; no line for one that did."""
    if not plan.offline or plan.resolved is None:
        return []
    found = plan.resolved.placeholders
    refused = f" {words(found)}: nothing can be made of this document." if found else ""
    return [f"OFFLINE: AWS was not asked.{refused}"]
