"""Installs the wheel in a fresh virtual environment for each extra, by the very command that deployer prints there.

    python tests/benchmarks/install/run.py              # every extra but all and dev: gigabytes
    python tests/benchmarks/install/run.py aws report

Exit 1 unless the command adds the extra's packages, keeps this wheel, and `deployer doctor` and `pip check` agree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
HINT = "import sys; from deployer import distribution as d; print(d.install_hint(sys.argv[1]))"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [name for name in PROJECT["optional-dependencies"] if name not in {"all", "dev"}]
ORIGIN = "from importlib import metadata as m; print(m.distribution('deployer-ml').read_text('direct_url.json'))"
PARTS = ("deployer", "stacks", "inference_code", "pyproject.toml", "README.md", "LICENSE")


class Fresh:
    """A virtual environment of its own; nothing of the calling one is seen in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder = folder
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environ = {**ours, "PATH": f"{folder / 'bin'}:{ours['PATH']}"}

    def run(self, *words: str, shell: bool = False) -> str:
        """Run a command in it and return what it prints; exit with its words when it fails."""
        command: Any = words[0] if shell else list(words)
        done = subprocess.run(
            command, shell=shell, env=self.environ, cwd=self.folder, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"error: {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def packages(self) -> int:
        """How many packages it holds, pip and setuptools left out."""
        listed = json.loads(self.run("pip", "list", "--format", "json"))
        return sum(row["name"] not in {"pip", "setuptools"} for row in listed)

    def megabytes(self) -> float:
        """How much it takes on the disk."""
        files = (
            path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()
        )
        return sum(path.stat().st_size for path in files) / 1e6


def build(folder: Path) -> Path:
    """Build the wheel from a copy, away from what earlier builds left."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (folder / "source").mkdir(exist_ok=True)
        copy(ROOT / part, folder / "source" / part)  # type: ignore[operator]
    command = ["pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "source")]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(folder.glob("*.whl"))


def bare(wheel: Path, folder: Path) -> tuple[Fresh, float]:
    """Return an environment with the wheel and its core, and how long that took, s."""
    fresh = Fresh(folder)
    start = time.monotonic()
    fresh.run("pip", "install", "-q", str(wheel))
    return fresh, time.monotonic() - start


def judge(extra: str, wheel: Path, folder: Path) -> bool:
    """Install one extra by its hint, print its row, return whether all is as it should be."""
    fresh, core_s = bare(wheel, folder)
    hint = fresh.run("python", "-c", HINT, extra).strip()
    before, start = fresh.packages(), time.monotonic()
    fresh.run(f"{hint} -q", shell=True)
    took = time.monotonic() - start
    findings = json.loads(fresh.run("deployer", "doctor", "--json"))["findings"]
    outcome = next(found["outcome"] for found in findings if found["subject"] == f"extra {extra}")
    ours = json.loads(fresh.run("python", "-c", ORIGIN))["url"] == wheel.as_uri()
    fresh.run("pip", "check")
    added = fresh.packages() - before
    size = f"{fresh.megabytes():.0f} MB"
    print(f"| {extra} | {core_s:.0f} s | {took:.0f} s | {added} | {size} | {outcome} |", flush=True)
    if not (ours and outcome == "ok" and added):
        print(f"wrong: {hint}", file=sys.stderr)
    return ours and outcome == "ok" and added > 0


def main(chosen: list[str]) -> int:
    """Judge the extras that are named, all that users install when none is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        print(f"{wheel.name}, Python {sys.version.split()[0]}\n")
        print("| extra | wheel and core | by the hint | packages added | in all | doctor |")
        print("|---|---|---|---|---|---|")
        good = True
        for extra in chosen or EXTRAS:
            good &= judge(extra, wheel, folder / extra)
            shutil.rmtree(folder / extra)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
