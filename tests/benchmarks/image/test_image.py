"""Real images, built and played by a real tool.

Run: ``pytest tests/benchmarks/image`` (README.md beside this says what it needs).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deployer import api, conformance
from deployer.errors import DeployerError
from deployer.image import tools
from deployer.image.build import DEFAULT_BASE, Image, build

BASE = os.environ.get("DEPLOYER_TEST_BASE", DEFAULT_BASE)
TOOL = os.environ.get("DEPLOYER_TEST_TOOL")
PIP = os.environ.get("DEPLOYER_TEST_PIP_CONFIG")
HANDLER = """
import {module}
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        {load}

    def predict(self, items):
        return [{{"from": {module}.__name__, "echo": item}} for item in items]
"""
pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.timeout(900)]


def package(folder: Path, module: str, requirements: str, load: str = "pass") -> Path:
    """Package a bundle whose handler imports ``module`` and does ``load`` as it loads."""
    (folder / "samples").mkdir(parents=True)
    (folder / "samples" / "one.json").write_text(json.dumps({"x": 1}))
    (folder / "weights.txt").write_text("1")
    (folder / "handler.py").write_text(HANDLER.format(module=module, load=load))
    (folder / "needs.txt").write_text(requirements)
    return api.package(
        folder / "weights.txt",
        folder / "dist",
        name="image-test",
        handler=folder / "handler.py",
        requirements=folder / "needs.txt",
        samples=folder / "samples",
    ).path


def make(bundle: Path, tag: str) -> Image:
    pip_config = Path(PIP) if PIP else None
    return build(bundle, tag=tag, base=BASE, tool=TOOL, pip_config=pip_config, say=print)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package(tmp_path_factory.mktemp("good"), "idna", "idna==3.10\n")


@pytest.fixture(scope="module")
def image(bundle: Path) -> Image:
    return make(bundle, "deployer-image-test:one")


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tools.pick(TOOL).path, *words], capture_output=True, text=True)


def test_the_built_image_keeps_every_rule_and_leaves_nothing_running(
    bundle: Path, image: Image
) -> None:
    report = conformance.check(bundle, image=image.tag, tool=image.tool, say=print)
    assert [rule for rule in report.rules if rule.outcome != "passed"] == []
    assert len(report.rules) == 17
    listed = said("containers") if image.tool == "buildah" else said("ps", "--all")
    assert listed.returncode == 0
    assert "deployer-check-" not in listed.stdout


def test_a_package_that_only_the_developers_machine_has_is_caught(
    tmp_path: Path, image: Image
) -> None:
    stray = package(tmp_path, "click", "idna==3.10\n")
    assert conformance.check(stray).ok
    report = conformance.check(stray, image=image.tag, tool=image.tool)
    broken = {rule.rule: rule.seen for rule in report.broken}
    assert "click" in broken["handler loads and answers its samples"]


def test_the_model_folder_cannot_be_written_even_by_root(tmp_path: Path, image: Image) -> None:
    load = '(context.model_dir / "cache.bin").write_bytes(b"x")'
    writer = package(tmp_path, "idna", "idna==3.10\n", load)
    report = conformance.check(writer, image=image.tag, tool=image.tool, startup_s=20)
    broken = {rule.rule: rule.seen for rule in report.broken}
    assert "Read-only file system" in broken["handler loads and answers its samples"]


def test_an_image_for_other_requirements_is_caught(tmp_path: Path, image: Image) -> None:
    newer = package(tmp_path, "idna", "idna==3.11\n")
    report = conformance.check(newer, image=image.tag, tool=image.tool)
    assert "image was built for this bundle's requirements" in {r.rule for r in report.broken}


def test_an_entry_point_in_shell_form_is_caught(bundle: Path, image: Image, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image.tag}\nENTRYPOINT python -m inference_code\n")
    built = said("build", "--tag", "deployer-image-test:shell", str(tmp_path))
    assert built.returncode == 0, built.stderr
    report = conformance.check(
        bundle, image="deployer-image-test:shell", tool=image.tool, startup_s=20
    )
    broken = {rule.rule: rule.seen for rule in report.broken}
    assert "shell form" in broken["ENTRYPOINT takes arguments and signals"]
    assert "serves with argument `serve` on $SAGEMAKER_BIND_TO_PORT" in broken


def test_a_requirement_that_does_not_exist_is_told_in_pips_words(tmp_path: Path) -> None:
    bad = package(tmp_path, "idna", "idna==999.0\n")
    with pytest.raises(DeployerError, match=r"idna==999\.0"):
        make(bad, "deployer-image-test:bad")


@pytest.mark.skipif(shutil.which("buildah") is None, reason="looks into images with buildah")
def test_packages_and_serving_code_give_equal_layers_and_the_image_holds_no_settings(
    bundle: Path, image: Image
) -> None:
    if image.tool != "buildah":
        pytest.skip("only buildah fixes the times of all files")
    again = make(bundle, "deployer-image-test:two")
    first, second = (json.loads(said("inspect", "--type", "image", each.tag).stdout)
                     for each in (image, again))  # fmt: skip
    assert first["OCIv1"]["rootfs"]["diff_ids"] == second["OCIv1"]["rootfs"]["diff_ids"]
    assert "ORT_DISABLE_TELEMETRY=1" in first["OCIv1"]["config"]["Env"]
    assert "pip" not in json.dumps(first["OCIv1"]["config"])
    name = said("from", "--pull-never", image.tag).stdout.strip()
    try:
        kept = said("run", name, "--", "python", "-c",
                    "import os, idna, sys; sys.exit(os.path.exists('/etc/pip.conf'))")  # fmt: skip
        assert kept.returncode == 0, kept.stderr
        assert said("run", name, "--", "python", "-c", "import pip").returncode != 0
    finally:
        said("rm", name)
