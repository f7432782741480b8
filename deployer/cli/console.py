"""Where words go: results to stdout, talk to stderr, progress only where somebody watches."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any

import click

HEARTBEAT_S = 30.0
PIPE_WIDTH = 100


class Console:
    """The voice of one command. ``as_json`` prints the document instead of the text."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not os.environ.get("DEPLOYER_NO_PROGRESS")
        self._heard = -HEARTBEAT_S
        self._open_line = False

    def result(self, document: Any, text: str) -> None:
        """Print the outcome on stdout: the JSON document with --json, else the text."""
        self.settle()
        if self.as_json:
            click.echo(json.dumps(document, indent=1, default=str))
        elif text:
            click.echo(text)

    def say(self, line: str) -> None:
        """Tell a step on stderr, on a line of its own."""
        if not self._quiet:
            self.settle()
            click.echo(line, err=True)

    def warn(self, line: str) -> None:
        """Tell what the user should know, --quiet or not."""
        self.settle()
        click.echo(f"{click.style('warning:', fg='yellow')} {line}", err=True, color=colour())

    def progress(self, line: str) -> None:
        """Tell how far a long step is: in place on a terminal, else every half minute."""
        if self._quiet or os.environ.get("DEPLOYER_NO_PROGRESS"):
            return
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{line[:width]}", err=True, nl=False, color=True)
            self._open_line = True
        elif time.monotonic() - self._heard >= HEARTBEAT_S:
            self._heard = time.monotonic()
            click.echo(line, err=True)

    def settle(self) -> None:
        """End a line that progress left open."""
        if self._open_line:
            self._open_line = False
            click.echo("\r\x1b[K", err=True, nl=False, color=True)

    @property
    def width(self) -> int:
        """Columns for tables: the terminal's, or PIPE_WIDTH into a pipe."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH

    @property
    def ascii_only(self) -> bool:
        """Whether stdout cannot carry marks such as a tick."""
        return "utf" not in (getattr(sys.stdout, "encoding", None) or "ascii").lower()


def colour() -> bool | None:
    """Return whether to colour: NO_COLOR says no, FORCE_COLOR yes, else whether a terminal watches."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
