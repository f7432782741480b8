"""The launch script of an instance: the files of ``boot`` with this deployment's settings before them.

Plain text without compression: the same document gives the same bytes wherever it is synthesized, and what an
instance runs can be read in the template. Comments stay here.
"""

from __future__ import annotations

import shlex
from importlib.resources import files

from deployer.errors import InputError
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.rules.fleet import SCRIPT_BYTES

SCRIPTS = ("verify.py", "report.sh", "ready.sh", "drain.sh", "model.sh")
UNITS = ("deployer-model.service", "deployer-drain.service", "deployer-ready.service")
MARGIN_S = 10
_END = "END_OF_FILE"


def render(resolved: ResolvedFleet) -> str:
    """Return the user data. Raises InputError when it is longer than EC2 takes."""
    text = "\n".join(
        [
            "#!/bin/bash",
            *(f"{name}={shlex.quote(value)}" for name, value in settings(resolved).items()),
            "ROOT=${DEPLOYER_ROOT:-/opt/deployer} UNITS=${DEPLOYER_UNITS:-/etc/systemd/system}",
            'mkdir -p "$ROOT" "$UNITS"',
            *(_file("$ROOT", name, source(name)) for name in SCRIPTS),
            *(_file("$UNITS", name, unit(name, resolved)) for name in UNITS),
            source("launch.sh"),
        ]
    )
    size = len(text.encode())
    if (
        size > SCRIPT_BYTES
    ):  # the rule launch-script leaves room for all but a document written by hand
        raise InputError(f"the launch script is {size:,} bytes long; EC2 takes {SCRIPT_BYTES:,}")
    return text


def settings(resolved: ResolvedFleet) -> dict[str, str]:
    """Return the variables that the launch script reads."""
    host = resolved.image.uri.partition("/")[0]
    return {
        "REGION": resolved.place.region,
        "ACCOUNT": resolved.place.account,
        "STACK": resolved.stack,
        "GROUP": resolved.group,
        "LOG_GROUP": resolved.log_group,
        "BUCKET": resolved.artifact.bucket,
        "KEY": resolved.artifact.key,
        "DIGEST": resolved.artifact.digest,
        "IMAGE": resolved.image.uri,
        "REGISTRY": host if ".dkr.ecr." in host else "",
        "SERVE": " ".join(resolved.serve),
        "STOP_S": str(resolved.drain.stop_s + MARGIN_S // 2),
        "BOOT_TIMEOUT_S": str(resolved.target.health.boot_timeout_s),
        "QUEUE": resolved.queue,
        "ENVIRONMENT": "".join(f"{k}={v}\n" for k, v in environment(resolved).items()),
    }


def environment(resolved: ResolvedFleet) -> dict[str, str]:
    """Return the container's variables, each of one line: the rule environment-line holds."""
    if not resolved.queue:
        return dict(resolved.environment)
    ours = {
        "AWS_DEFAULT_REGION": resolved.place.region,
        "DEPLOYER_QUEUE": resolved.queue,
        "DEPLOYER_RESULTS": resolved.results_s3_uri,
    }
    return {**resolved.environment, **ours}


def source(name: str) -> str:
    """Return a file of ``boot`` without its comment and empty lines."""
    text = (files("stacks.constructs") / "boot" / name).read_text(encoding="utf-8")
    lines = text.splitlines()
    kept = [line for i, line in enumerate(lines) if line.startswith("#!") or _says(line)]
    return "\n".join(kept)


def unit(name: str, resolved: ResolvedFleet) -> str:
    """Return a systemd unit with its times."""
    stop = resolved.drain.stop_s + MARGIN_S // 2
    times = {
        "@STOP_S@": stop,
        "@STOP_LIMIT_S@": stop + MARGIN_S,
        "@READY_LIMIT_S@": resolved.target.health.boot_timeout_s + 60,
    }
    text = source(name)
    for mark, value in times.items():
        text = text.replace(mark, str(value))
    return text


def _says(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


def _file(folder: str, name: str, text: str) -> str:
    return f"cat > \"{folder}/{name}\" << '{_END}'\n{text}\n{_END}"
