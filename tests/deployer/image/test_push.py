"""Images to ECR: moto's for the API, programs on the PATH for the tools."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from deployer.cli.main import cli
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.image.push import push

boto3 = pytest.importorskip("boto3")
ID = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def ecr(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ENDPOINT_URL": moto, "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("ecr")
    yield client
    for found in client.describe_repositories()["repositories"]:
        client.delete_repository(repositoryName=found["repositoryName"], force=True)


HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_an_image_is_pushed_and_named_by_its_digest(
    tools_on_path: Callable[..., Any], ecr: Any, tool: str
) -> None:
    tools = tools_on_path(tool)
    told: list[str] = []
    pushed = push("echo:1", say=told.append)
    image = ecr.describe_images(repositoryName="deployer/echo")["imageDetails"][0]
    assert pushed.uri == f"{HOST}/deployer/echo@{image['imageDigest']}"
    assert (pushed.tag, pushed.architecture, pushed.already_there) == ("1", "x86_64", False)
    made = ecr.describe_repositories()["repositories"][0]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["encryptionType"] == "AES256"
    tags = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "deployer:made-by", "Value": "deployer"}]
    assert told[0] == f"made repository {HOST}/deployer/echo"
    auth = json.loads((tools.folder / "auth.json").read_text())
    assert auth["mode"] == "0o600"
    user, _, password = base64.b64decode(auth["auths"][HOST]["auth"]).decode().partition(":")
    assert user == "AWS"
    assert password
    assert not any(password in word or 'auth"' in word for call in tools.calls for word in call)
    leftover = [word for call in tools.calls for word in call if "deployer-push-" in word]
    assert leftover
    assert not any(os.path.exists(path) for path in leftover)
    if tool == "docker":
        assert tools.calls[-1][-2:] == ["push", f"{HOST}/deployer/echo:1"]
        assert "unix:///run/engine.sock" in tools.calls[-1]


def test_what_lies_there_is_not_sent_again(tools_on_path: Callable[..., Any], ecr: Any) -> None:
    tools = tools_on_path("podman")
    first, second = push("echo:1"), push("echo:1")
    assert second.already_there
    assert second.uri == first.uri
    assert len(tools.called("push")) == 1


def test_a_tag_that_is_taken_by_another_image_is_refused(
    tools_on_path: Callable[..., Any], ecr: Any
) -> None:
    tools_on_path("podman")
    push("echo:1")
    tools_on_path("podman", facts={"id": "b" * 64, "architecture": "amd64"})
    with pytest.raises(InputError, match="deployer/echo:1 is another image") as caught:
        push("echo:1")
    assert caught.value.hint == "build with another --tag"


def test_a_repository_that_is_there_is_left_as_it_is_and_told(
    tools_on_path: Callable[..., Any], ecr: Any
) -> None:
    tools_on_path("podman")
    ecr.create_repository(repositoryName="models/echo")
    told: list[str] = []
    assert push("echo:1", repository="models/echo", say=told.append).uri.startswith(
        f"{HOST}/models/echo@"
    )
    assert "repository models/echo: its tags can be moved" in told
    assert "repository models/echo: images are not scanned as they come" in told
    kept = ecr.describe_repositories()["repositories"][0]
    assert kept["imageTagMutability"] == "MUTABLE"


def test_a_wrong_processor_is_refused_before_anything_is_made(
    tools_on_path: Callable[..., Any], ecr: Any
) -> None:
    tools_on_path("buildah", facts={"id": "a" * 64, "architecture": "arm64"})
    with pytest.raises(InputError, match=r"echo:1 is built for arm64; ml\.c5\.large has x86_64"):
        push("echo:1", instance_type="ml.c5.large")
    assert ecr.describe_repositories()["repositories"] == []
    assert push("echo:1", instance_type="ml.c7g.large").architecture == "arm64"


def test_what_goes_wrong_is_told_in_the_tools_words(
    tools_on_path: Callable[..., Any], ecr: Any
) -> None:
    tools_on_path("podman", push="Error: no space left on device")
    with pytest.raises(DeployerError, match="podman cannot push echo:1: Error: no space left"):
        push("echo:1")
    tools_on_path("podman", push="", digest="sha256:" + "0" * 64)
    with pytest.raises(DeployerError, match="but ECR has sha256:"):
        push("echo:1")
    with pytest.raises(InputError, match="podman has no image 'other:1'"):
        push("other:1")
    tools_on_path("podman", "finch", images={"echo": {}, "echo:2": {}})
    with pytest.raises(InputError, match="has no tag"):
        push("echo", tool="podman")
    with pytest.raises(EnvironmentProblem, match="finch keeps registry passwords"):
        push("echo:2", tool="finch")


def test_the_command_prints_the_uri_alone(tools_on_path: Callable[..., Any], ecr: Any) -> None:
    tools_on_path("podman")
    done = CliRunner().invoke(cli, ["image", "push", "echo:1", "--instance-type", "ml.c5.large"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{HOST}/deployer/echo@sha256:")
    assert done.stdout.count("\n") == 1
    for words in (["push", "echo:1", "--base", "a"], ["build", "echo:1", "--region", "eu-west-1"]):
        done = CliRunner().invoke(cli, ["image", *words])
        assert done.exit_code == 2
        assert "takes no --" in done.stderr
