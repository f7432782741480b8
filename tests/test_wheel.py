"""The wheel: what is in it, and that the hints printed by an installation from it resolve to it, without any index."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

pytest.importorskip("pip")
ROOT = Path(__file__).parents[1]
PACKAGES = ("deployer", "stacks", "inference_code")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
HINTS = (
    "from deployer import distribution; import json; "
    "print(json.dumps({extra: distribution.install_hint(extra) for extra in distribution.extras()}))"
)
STRANGER = "deployer[aws]"
BARE = ("--no-deps", "--no-index", "--disable-pip-version-check", "--no-input", "-q")


class Installed(NamedTuple):
    wheel: Path
    python: Path
    hints: dict[str, str]


def pip(*words: str) -> str:
    """Run pip as in a new shell: no index, no folder of wheels and no clone on the path from this one."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))
    }
    ours["PIP_CONFIG_FILE"] = os.devnull
    command = [sys.executable, "-I", "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=ours)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel from a copy, so that nothing of an earlier build gets in and nothing is left behind."""
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, a virtual environment that holds nothing else, and the hints that are printed there."""
    folder = tmp_path_factory.mktemp("with space")
    wheel = build(folder)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    pip("--python", str(python), "install", *BARE, str(wheel))
    done = subprocess.run([python, "-I", "-c", HINTS], capture_output=True, text=True, check=True)
    return Installed(wheel, python, json.loads(done.stdout))


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(installed: Installed) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {
        name for name in zipfile.ZipFile(installed.wheel).namelist() if ".dist-info/" not in name
    }
    assert held == ours
    assert {"deployer/pricing/snapshot.json", "stacks/constructs/boot/launch.sh"} <= held


def test_every_extra_has_a_hint_that_names_the_wheel(installed: Installed) -> None:
    assert set(installed.hints) == set(EXTRAS)
    for extra, hint in installed.hints.items():
        assert hint == f"pip install 'deployer-ml[{extra}] @ {installed.wheel.as_uri()}'"


def resolved(hint: str) -> list[dict[str, Any]]:
    program, verb, *words = shlex.split(hint)
    assert (program, verb) == ("pip", "install")
    report = pip("install", *BARE, "--dry-run", "--ignore-installed", "--report", "-", *words)
    return list(json.loads(report)["install"])


def test_every_hint_resolves_to_this_very_wheel_without_an_index(installed: Installed) -> None:
    digest = hashlib.sha256(installed.wheel.read_bytes()).hexdigest()
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(EXTRAS, pool.map(resolved, (installed.hints[e] for e in EXTRAS)), strict=True)
        )
    for extra, items in found.items():
        (item,) = items
        assert item["download_info"]["url"] == installed.wheel.as_uri()
        assert item["download_info"]["archive_info"]["hashes"]["sha256"] == digest
        assert item["requested_extras"] == [extra]
        asked = {Requirement(text).name for text in item["metadata"]["requires_dist"]}
        assert {Requirement(text).name for text in EXTRAS[extra]} <= asked


def test_the_name_of_the_stranger_does_not_resolve_to_us(installed: Installed) -> None:
    with pytest.raises(AssertionError, match="No matching distribution"):
        resolved(f"pip install {STRANGER}")


def test_a_hint_in_the_code_names_an_extra_that_exists() -> None:
    calls = [
        (path, node)
        for path in (ROOT / "deployer").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "install_hint"
    ]
    assert len(calls) >= 9
    for path, call in calls:
        (extra,) = call.args
        assert isinstance(extra, ast.Constant), path
        assert extra.value in EXTRAS, path
