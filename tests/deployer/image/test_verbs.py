"""The command line's verbs for images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from deployer.cli.main import cli


def test_image_build_prints_the_name_alone_on_stdout(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    tools_on_path("podman")
    words = ["image", "build", str(echo_bundle()), "--tag", "echo:1.0", "--base", "localhost/b:1"]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.stdout) == (0, "echo:1.0\n")
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert (found["tag"], found["base"], found["tool"]) == ("echo:1.0", "localhost/b:1", "podman")


def test_image_knows_no_other_action_and_no_other_tool(echo_bundle: Callable[..., Path]) -> None:
    bundle = str(echo_bundle())
    for words in (["pull", bundle], ["build", bundle, "--tool", "sh"]):
        done = CliRunner().invoke(cli, ["image", *words])
        assert done.exit_code == 2
        assert done.stdout == ""


def test_check_of_an_image_without_any_tool_exits_2_and_says_what_to_install(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    tools_on_path()
    done = CliRunner().invoke(cli, ["check", str(echo_bundle()), "--image", "echo:1"])
    assert done.exit_code == 2
    assert "docker: not installed" in done.stderr
    assert "install one of docker, finch, podman and buildah" in done.stderr
