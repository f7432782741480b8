from __future__ import annotations

from pathlib import Path

import pytest

from deployer.doctor import checkup as doctor


def test_this_machine_can_run_the_verbs() -> None:
    report = doctor.examine()
    assert report.ok
    assert all(finding.seen for finding in report.findings)


def test_an_old_python_is_missing() -> None:
    assert doctor.python((3, 10)).outcome == "missing"
    assert doctor.python((3, 11)).outcome == "ok"


@pytest.mark.parametrize(
    ("environ", "outcome", "seen"),
    [
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"}, "note", "AWS_REGION is us-east-1"),
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}, "ok", "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "ok", "eu-west-1"),
        ({"AWS_CONFIG_FILE": "/nowhere"}, "note", "none is set"),
    ],
)  # fmt: skip
def test_regions_that_disagree_are_told(environ: dict[str, str], outcome: str, seen: str) -> None:
    finding = doctor.region(environ)
    assert finding.outcome == outcome
    assert seen in finding.seen


def test_the_region_of_a_profile_is_found(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = us-west-2\n[profile p]\nregion = eu-west-1\n")
    assert doctor.region({"AWS_CONFIG_FILE": str(config)}).seen == "us-west-2"
    assert doctor.region({"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "p"}).seen == "eu-west-1"
    config.write_text("not an ini file")
    assert doctor.region({"AWS_CONFIG_FILE": str(config)}).seen == "none is set"


def test_a_processor_without_int8_instructions_is_noted() -> None:
    assert doctor.processor(("avx2",)).outcome == "note"
    assert doctor.processor(("avx2", "avx512_vnni")).outcome == "ok"


def test_a_state_folder_below_a_file_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert doctor.state_folder(tmp_path / "file" / "state").outcome == "note"
    assert doctor.state_folder(tmp_path / "new" / "state").outcome == "ok"
    assert not (tmp_path / "new").exists()


def test_without_a_tool_for_images_the_report_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.image_tool()
    assert found.outcome == "note"
    assert "docker: not installed" in found.seen
    assert "install one of docker, finch, podman and buildah" in found.fix


def test_a_tool_for_images_that_answers_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "buildah"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.image_tool() == doctor.Finding("image tool", "ok", f"buildah ({program})")
