from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployer import distribution
from deployer.distribution import install_hint
from deployer.doctor import packages
from deployer.doctor.findings import DoctorReport, Finding

REQUIRES = (
    "click>=8.1",
    'boto3>=1.40; extra == "aws"',
    'aws-cdk-lib>=2.275; extra == "cdk"',
    'constructs>=10; extra == "cdk"',
    'deployer-ml[aws,cdk]; extra == "quickstart"',
    'scikit-learn>=1.5; extra == "quickstart"',
)
HERE = {
    "click": "8.2",
    "boto3": "1.41",
    "aws-cdk-lib": "2.280",
    "constructs": "10.1",
    "scikit-learn": "1.6",
}


def test_a_missing_core_package_stops_and_a_missing_extra_does_not() -> None:
    core = packages.judge("", REQUIRES, lambda name: None)
    extra = packages.judge("aws", REQUIRES, lambda name: None)
    assert core == Finding("core", "missing", "not installed: click", install_hint(""))
    assert extra == Finding("extra aws", "note", "not installed: boto3", install_hint("aws"))
    assert not DoctorReport((core,)).ok
    assert DoctorReport((extra,)).ok


def test_what_is_there_is_told_with_its_version() -> None:
    assert packages.judge("", REQUIRES, HERE.get) == Finding("core", "ok", "click 8.2")
    found = packages.judge("cdk", REQUIRES, HERE.get)
    assert found == Finding("extra cdk", "ok", "aws-cdk-lib 2.280, constructs 10.1")


def test_an_extra_of_extras_is_judged_by_their_packages_and_told_by_their_names() -> None:
    whole = packages.judge("quickstart", REQUIRES, HERE.get)
    assert whole.seen == "scikit-learn 1.6, and the extras aws, cdk"
    lacking = packages.judge("quickstart", REQUIRES, (HERE | {"boto3": None}).get)
    assert (lacking.outcome, lacking.seen) == ("note", "not installed: boto3")


def test_a_package_that_is_too_old_is_told_with_what_is_asked() -> None:
    old = packages.judge("aws", REQUIRES, {"boto3": "1.39.9"}.get)
    assert (old.outcome, old.seen) == ("note", "not installed: boto3>=1.40 (1.39.9 is there)")


def test_every_extra_that_users_install_has_one_line() -> None:
    subjects = [finding.subject for finding in packages.installed()]
    extras = [extra for extra in distribution.extras() if extra not in {"all", "dev"}]
    assert subjects == ["core", *(f"extra {extra}" for extra in extras)]
    assert "extra openvino" in subjects


def test_only_packages_that_an_extra_installs_are_asked_for() -> None:
    told = " ".join(finding.seen for finding in packages.installed())
    assert "uvicorn" not in told
    assert "sagemaker" not in told


def test_deployer_that_is_not_installed_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (only,) = packages.installed()
    assert (only.subject, only.outcome) == ("core", "missing")
    assert "without being installed" in only.seen
    assert only.fix.startswith("pip install ")
