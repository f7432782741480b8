"""SageMaker's rules played on containers, which run here as processes of a program that stands for the tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer import conformance
from deployer.bundle.bundle import open_bundle
from deployer.errors import ConditionFailed, InputError
from deployer.image import container
from deployer.image.build import requirements_sha256
from deployer.image.tools import ImageConfig

BIND = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
REQUIREMENTS = "deployer.requirements-sha256"


@pytest.mark.serve
@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_an_image_is_started_as_the_platform_does_and_keeps_every_rule(
    tool: str, tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path(tool, more_words={"serve": ["--drain-s", "1"]})
    report = conformance.check(echo_bundle(), image="echo:1", startup_s=30)
    assert [rule for rule in report.rules if rule.outcome != "passed"] == []
    assert len(report.rules) == 17
    check, serve = found.called("run")
    assert (check[-1], serve[-1]) == ("check", "serve")
    port = next(word for word in serve if "SAGEMAKER_BIND_TO_PORT" in word).rpartition("=")[2]
    if tool == "docker":
        assert f"127.0.0.1:{port}:{port}" in serve
        assert [words[:2] for words in found.called("kill")] == [["--signal", "TERM"]]
    else:
        assert serve[-5:-1] == ["--", "python", "-m", "inference_code"]
    assert len(found.called("rm")) == 2
    assert not [*found.folder.glob("*.pid"), *found.folder.glob("*.made")]


@pytest.mark.serve
@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_a_container_that_cannot_start_is_told_with_its_last_words_and_removed(
    tool: str, tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path(tool, more_words={"serve": ["--no-such-flag"]})
    report = conformance.check(echo_bundle(), image="echo:1", startup_s=30)
    broken = {rule.rule: rule.seen for rule in report.broken}
    assert list(broken) == ["serves with argument `serve` on $SAGEMAKER_BIND_TO_PORT"]
    assert "--no-such-flag" in next(iter(broken.values()))
    assert not [*found.folder.glob("*.pid"), *found.folder.glob("*.made")]


def test_an_image_that_is_not_there_is_an_error_before_anything_runs(
    tools_on_path: Callable[..., Any], echo_bundle: Callable[..., Path]
) -> None:
    found = tools_on_path("docker")
    with pytest.raises(InputError, match="docker has no image 'gone'"):
        conformance.check(echo_bundle(), image="gone")
    assert found.called("run") == []


def test_a_tool_without_an_image_is_refused(echo_bundle: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="none is named"):
        conformance.check(echo_bundle(), tool="docker")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "it has none"),
        (("/bin/sh", "-c", "python -m inference_code"), "shell form"),
        (("/usr/bin/tini", "--", "python"), "an init"),
    ],
)
def test_an_entry_point_that_swallows_arguments_or_signals_is_caught(
    words: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConditionFailed, match=problem):
        container.entry_point(ImageConfig(words))


def test_an_entry_point_in_exec_form_passes() -> None:
    assert container.entry_point(ImageConfig(("sh", "start.sh"))) == '["sh", "start.sh"]'


@pytest.mark.parametrize(("labels", "problem"), [({}, "no such label"), ({BIND: "no"}, "'no'")])
def test_an_image_that_does_not_promise_the_port_is_caught(
    labels: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConditionFailed, match=problem):
        container.bind_label(ImageConfig(labels=labels))


def test_an_image_built_for_other_requirements_is_caught(echo_bundle: Callable[..., Path]) -> None:
    manifest = open_bundle(echo_bundle()).manifest
    digest = requirements_sha256(manifest)
    same = ImageConfig(labels={REQUIREMENTS: digest})
    assert container.requirements_label(same, manifest) == digest[:12]
    with pytest.raises(
        ConditionFailed, match=f"built for 000000000000, the bundle has {digest[:12]}"
    ):
        container.requirements_label(ImageConfig(labels={REQUIREMENTS: "0" * 64}), manifest)
