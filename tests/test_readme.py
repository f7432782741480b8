"""The README names every verb with its own sentence, and its commands exist as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from deployer.cli.main import VERBS, cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
LINES = [line for line in BLOCKS.splitlines() if line.startswith("deployer ")]
CELLS = re.findall(r"\| `(deployer [^`]*)` \|", README)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_in_the_readme_with_the_sentence_of_its_help(name: str) -> None:
    rows = [line for line in README.splitlines() if line.startswith(f"| `deployer {name}")]
    assert len(rows) == 1
    assert rows[0].endswith(f"| {VERBS[name][1]} |")


@pytest.mark.parametrize("line", [*LINES, *CELLS])
def test_every_command_of_the_readme_exists_as_written(line: str) -> None:
    name, *words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in words if re.match(r"--?[a-z]", word)} <= known


def test_the_readme_explains_every_exit_code() -> None:
    paragraph = README.partition("Exit codes:")[2].partition("\n\n")[0]
    assert all(re.search(rf"(^|· ?|\n| ){code} ", paragraph) for code in (0, 1, 2, 3, 130))
