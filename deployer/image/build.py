"""Build the image that serves a bundle."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer import processes
from deployer.bundle import archive
from deployer.errors import DeployerError, EnvironmentProblem, InputError
from deployer.image import names, tools
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from inference_code.contract import REQUIREMENTS_PATH, SERVING_CODE_PATH, Manifest

DEFAULT_BASE = "python:3.12-slim"
REQUIREMENTS_LABEL = "deployer.requirements-sha256"
"""Says for which requirements an image was built, so that a check can tell a stale one."""

_SHORT = 12
_PIP_ERROR = re.compile(r"ERROR: (.+)")


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built: ``tag`` is its name with ``tool``, which keeps it on this machine."""

    tag: str
    base: str
    tool: str
    bundle_digest: str
    requirements_sha256: str

    def to_json(self) -> dict[str, str]:
        """Return the image as a JSON document."""
        return asdict(self)


def build(
    bundle: AnyPath,
    *,
    tag: str | None = None,
    base: str = DEFAULT_BASE,
    tool: str | None = None,
    pip_config: AnyPath | None = None,
    say: Say = silent,
) -> BuiltImage:
    """Verify a bundle and build the image that serves it.

    ``tag`` is ``NAME:<12 digits>`` of the requirements, serving code, Dockerfile and base unless given: a
    bundle with new weights alone needs no new image. ``pip_config`` is mounted while packages are installed
    and is not in the image. Raises InputError for a wrong name or bundle, EnvironmentProblem without a
    working tool, DeployerError with the tool's words when it fails.
    """
    bundle, pip_config = as_path(bundle), as_path(pip_config)
    names.check_reference("base image", base)
    if tag is not None:
        names.check_tag("tag", tag)
    if pip_config is not None and "," in str(pip_config.resolve()):
        raise InputError(f"{str(pip_config)!r}: tools split this option's value at commas",
                         hint="give a path without a comma")  # fmt: skip
    chosen = tools.pick(tool)
    with tempfile.TemporaryDirectory(prefix="deployer-image-") as folder:
        manifest = archive.unpack(bundle, Path(folder) / "model")
        context = _context(Path(folder) / "model", Path(folder) / "context")
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_bytes(_dockerfile())
        requirements = requirements_sha256(manifest)
        tag = tag or f"{manifest.name.lower()}:{_digest(manifest, base)[:_SHORT]}"
        say(f"{chosen.name} builds {tag} from {base}")
        command = chosen.build(
            dockerfile,
            context,
            tag=tag,
            base=base,
            labels={REQUIREMENTS_LABEL: requirements},
            pip_config=pip_config,
        )
        _run(command, chosen.name, say)
    return BuiltImage(tag, base, chosen.name, manifest.digest, requirements)


def requirements_sha256(manifest: Manifest) -> str:
    """Return the digest of a bundle's requirements. Raises InputError when it has none."""
    for member in manifest.members:
        if member.path == REQUIREMENTS_PATH:
            return member.sha256
    raise InputError(f"{manifest.name} holds no {REQUIREMENTS_PATH}", hint="package it again")


def _context(model_dir: Path, context: Path) -> Path:
    """Write what the Dockerfile copies and nothing else: no model is sent to the tool."""
    code = model_dir / SERVING_CODE_PATH
    if not code.is_dir():
        raise InputError(f"the bundle holds no {SERVING_CODE_PATH}", hint="package it again")
    shutil.copytree(code, context / code.name)
    shutil.copyfile(model_dir / REQUIREMENTS_PATH, context / "requirements.txt")
    return context


def _dockerfile() -> bytes:
    """Read the Dockerfile that is installed beside the serving code, without importing that."""
    spec = importlib.util.find_spec(Path(SERVING_CODE_PATH).name)
    for folder in (spec and spec.submodule_search_locations) or []:
        path = Path(folder) / "Dockerfile"
        if path.is_file():
            return path.read_bytes()
    raise EnvironmentProblem(
        "the serving code is not installed whole: its Dockerfile is missing",
        hint="install deployer again",
    )


def _digest(manifest: Manifest, base: str) -> str:
    """Return a digest of all that the image is made from."""
    parts = [f"{base}\n", hashlib.sha256(_dockerfile()).hexdigest(), "\n"]
    for member in sorted(manifest.members, key=lambda each: each.path):
        if member.path.startswith(f"{SERVING_CODE_PATH}/") or member.path == REQUIREMENTS_PATH:
            parts.append(f"{member.sha256} {member.path}\n")
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _run(command: list[str], tool: str, say: Say) -> None:
    lines: list[str] = []
    with _started(command) as process:
        assert process.stdout is not None  # asked for below
        for line in process.stdout:
            lines.append(line.rstrip())
            say(lines[-1])
        status = process.wait()
    if status != 0:
        pip = next((found for found in map(_PIP_ERROR.search, lines) if found), None)
        words = pip[1] if pip else processes.last_words("\n".join(lines))
        raise DeployerError(
            f"`{tool} build` failed with exit status {status}: {words}",
            hint="--pip-config FILE gives pip an index of your own; --base IMAGE names another base",
        )


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a build whose process does not outlive an interruption."""
    process = subprocess.Popen(
        command,
        env=tools.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
