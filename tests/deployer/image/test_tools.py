"""What each tool is told, and which one is picked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.errors import EnvironmentProblem, InputError
from deployer.image import tools
from deployer.image.tools import KINDS, ImageConfig


@pytest.mark.parametrize("name", KINDS)
def test_a_build_is_told_in_a_list_of_arguments(name: str) -> None:
    command = KINDS[name](name, f"/bin/{name}").build(
        Path("/f/Dockerfile"),
        Path("/f/context"),
        tag="digits:1",
        base="python:3.12-slim",
        labels={"b": "2", "a": "1"},
        pip_config=Path("/etc/pip.conf"),
    )
    assert command[:2] == [f"/bin/{name}", "build"]
    assert command[-1] == "/f/context"
    assert command[command.index("--build-arg") + 1] == "BASE_IMAGE=python:3.12-slim"
    assert command[command.index("--tag") + 1] == "digits:1"
    assert [word for word in command if word.startswith("--label")] == [
        "--label=a=1",
        "--label=b=2",
    ]
    assert "--secret=id=pip-config,src=/etc/pip.conf" in command
    plain = ["--format", "docker", "--timestamp", "0"]
    assert (plain[0] in command) == (name in ("podman", "buildah"))


@pytest.mark.parametrize("name", ["docker", "finch", "podman"])
def test_an_engine_runs_with_the_model_read_only_and_the_port_on_this_machine_alone(
    name: str,
) -> None:
    command = KINDS[name](name, name).run("c", "i:1", Path("/m"), "serve", 8123, {"A": "1"})
    assert command == [
        name, "run", "--rm", "--name", "c", "--volume", "/m:/opt/ml/model:ro",
        "--publish", "127.0.0.1:8123:8123", "--env=A=1", "i:1", "serve",
    ]  # fmt: skip


def test_the_first_tool_that_answers_is_picked(tools_on_path: Callable[..., object]) -> None:
    tools_on_path("docker", "podman", "buildah", info={"docker": "Cannot connect to the daemon"})
    assert tools.pick().name == "podman"


def test_a_tool_asked_for_by_name_is_the_only_one_tried(
    tools_on_path: Callable[..., object],
) -> None:
    tools_on_path("docker", "podman", info={"docker": "Cannot connect to the daemon"})
    with pytest.raises(EnvironmentProblem, match=r"\(docker: Cannot connect to the daemon\)"):
        tools.pick("docker")


def test_without_any_tool_each_is_named_with_its_reason(
    tools_on_path: Callable[..., object],
) -> None:
    tools_on_path("docker", info={"docker": "first line\nCannot connect to the daemon"})
    with pytest.raises(EnvironmentProblem) as caught:
        tools.pick()
    assert "docker: Cannot connect to the daemon; finch: not installed" in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize("name", KINDS)
def test_an_image_tells_its_configuration(name: str, tools_on_path: Callable[..., object]) -> None:
    tools_on_path(name)
    config = tools.pick(name).config("echo:1")
    assert config.entrypoint == ("python", "-m", "inference_code")
    assert config.command == ("serve",)
    assert len(config.labels) == 1


@pytest.mark.parametrize("name", KINDS)
def test_an_image_without_anything_has_an_empty_configuration(
    name: str, tools_on_path: Callable[..., object]
) -> None:
    tools_on_path(name, images={"bare": {"Entrypoint": None, "Labels": None}})
    assert tools.pick(name).config("bare") == ImageConfig()


@pytest.mark.parametrize("name", KINDS)
def test_an_image_that_is_not_there_is_an_error_that_says_how_to_make_it(
    name: str, tools_on_path: Callable[..., object]
) -> None:
    tools_on_path(name)
    with pytest.raises(InputError, match=f"{name} has no image 'gone'") as caught:
        tools.pick(name).config("gone")
    assert f"--tool {name}" in str(caught.value.hint)


def test_a_configuration_that_cannot_be_read_is_an_error(
    tools_on_path: Callable[..., object],
) -> None:
    tools_on_path("docker", images={"odd": ["not", "an", "object"]})
    with pytest.raises(EnvironmentProblem, match="cannot read what docker says of 'odd'"):
        tools.pick().config("odd")


def test_docker_makes_a_plain_image_and_the_rest_of_the_environment_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://somewhere")
    env = tools.environment()
    assert env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert env["DOCKER_HOST"] == "tcp://somewhere"
