"""What a build is given, and what is said when it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.bundle.bundle import open_bundle
from deployer.errors import DeployerError, InputError
from deployer.image.build import build

HERE = Path(__file__).parents[3]


def test_a_build_gets_requirements_and_serving_code_and_no_model(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path("docker")
    told: list[str] = []
    bundle = echo_bundle()
    image = build(bundle, base="localhost/base:1", say=told.append)
    assert found.context["folders"] == ["inference_code", "requirements.txt"]
    assert "onnxruntime==" in found.context["requirements.txt"]
    assert found.context["dockerfile"] == (HERE / "inference_code" / "Dockerfile").read_text()
    assert image.tool == "docker"
    assert image.bundle_digest == open_bundle(bundle).digest
    assert image.tag.startswith("echo:")
    [words] = found.called("build")
    assert f"--label=deployer.requirements-sha256={image.requirements_sha256}" in words
    assert not [word for word in words if "--secret" in word]
    assert told == [f"docker builds {image.tag} from localhost/base:1", "STEP 1"]
    assert image.to_json()["tag"] == image.tag


def test_new_weights_keep_the_image_and_another_base_or_requirement_does_not(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    from deployer import api

    tools_on_path("podman")
    tag = build(echo_bundle("1")).tag
    assert build(echo_bundle("2")).tag == tag
    assert build(echo_bundle("1"), base="python:3.13-slim").tag != tag
    (tmp_path / "weights.txt").write_text("1")
    (tmp_path / "handler.py").write_text("def model_fn(folder): ...\n")
    (tmp_path / "needs.txt").write_text("idna==3.10\n")
    other = api.package(
        tmp_path / "weights.txt",
        tmp_path / "dist",
        name="echo",
        handler=tmp_path / "handler.py",
        requirements=tmp_path / "needs.txt",
    )
    assert build(other.path).tag != tag


def test_pip_settings_are_mounted_and_not_copied(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    found = tools_on_path("buildah")
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://user:secret@index.invalid/simple\n")
    build(echo_bundle(), tag="digits:1.0", pip_config=settings)
    [words] = found.called("build")
    assert f"--secret=id=pip-config,src={settings}" in words
    assert "digits:1.0" in words
    assert "user:secret" not in f"{words}{found.context}"


def test_a_failed_build_is_told_in_pips_words(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    lines = ["#7 3.1 ERROR: No matching distribution found for nosuch==1", "error: exit status 1"]
    tools_on_path("docker", build=lines, build_status=1)
    with pytest.raises(DeployerError) as caught:
        build(echo_bundle())
    assert caught.value.message == (
        "`docker build` failed with exit status 1: No matching distribution found for nosuch==1"
    )
    assert "--pip-config" in str(caught.value.hint)


def test_a_failed_build_without_pips_words_is_told_in_its_last(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    tools_on_path("podman", build=["pulling", "no space left on device", ""], build_status=3)
    with pytest.raises(DeployerError, match="exit status 3: no space left on device"):
        build(echo_bundle())


@pytest.mark.parametrize("wrong", [{"tag": "Bad Tag"}, {"base": "x\nRUN evil"}, {"tag": "--push"}])
def test_a_wrong_name_never_reaches_a_tool(
    wrong: dict[str, str], tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path("docker")
    with pytest.raises(InputError, match="no name of an image"):
        build(echo_bundle(), **wrong)
    assert found.calls == []


def test_a_comma_cannot_add_to_the_secret(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    found = tools_on_path("docker")
    with pytest.raises(InputError, match="commas"):
        build(echo_bundle(), pip_config=tmp_path / "a,type=env")
    assert found.calls == []


def test_an_interrupted_build_leaves_no_process(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path("docker", build_s=60)

    def interrupt(line: str) -> None:
        if line == "STEP 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(echo_bundle(), say=interrupt)
    pid = int((found.folder / "build.pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
