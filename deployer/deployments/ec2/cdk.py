"""The CDK CLI as a process: it reads the resolved document, synthesizes, and has CloudFormation make the stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.distribution import install_hint
from deployer.errors import DeployerError, EnvironmentProblem
from deployer.progress import Say
from deployer.spec.fleet_resolved import ResolvedFleet

CDK_CLI = "aws-cdk@2.1148.1"
"""The tested CLI, as ``stacks.CDK_CLI``; the two meet in documents, not in imports."""

TAIL_LINES = 20


def deploy(
    resolved: ResolvedFleet,
    say: Say,
    *,
    beside: Callable[[], None] = lambda: None,
    poll_s: float = 5.0,
) -> dict[str, str]:
    """Make or change the stack and return its outputs; ``beside`` is called now and then meanwhile.

    Raises EnvironmentProblem when Node or the CDK is not there or the account is not bootstrapped, DeployerError
    with the CLI's last lines when the stack could not be made; CloudFormation has then rolled it back.
    """
    with tempfile.TemporaryDirectory(prefix="deployer-cdk-") as scratch:
        folder = Path(scratch)
        document = folder / "resolved.json"
        document.write_text(json.dumps(resolved.to_json()), encoding="utf-8")
        sink = folder / "outputs.json"
        arguments = ["deploy", resolved.stack, "-c", f"resolved={document}"]
        arguments += ["--require-approval", "never", "--outputs-file", str(sink)]
        _run([*arguments, *_options(folder)], resolved, say, beside, poll_s)
        if not sink.exists():
            return {}  # nothing had to change
        found: dict[str, dict[str, str]] = json.loads(sink.read_text(encoding="utf-8"))
        return found.get(resolved.stack, {})


def environment(resolved: ResolvedFleet, base: Mapping[str, str]) -> dict[str, str]:
    """Return the CLI's environment: the document's region, this interpreter's Node first, no reports."""
    folder = str(Path(sys.executable).parent)
    return {
        **base,
        "PATH": os.pathsep.join([folder, base.get("PATH", os.defpath)]),
        "AWS_REGION": resolved.place.region,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CI": "true",
    }


def _options(folder: Path) -> list[str]:
    app = f"{sys.executable} -m stacks.app"
    return [
        "--app",
        app,
        "--output",
        str(folder / "assembly"),
        "--no-notices",
        "--no-version-reporting",
    ]


def _run(
    arguments: list[str],
    resolved: ResolvedFleet,
    say: Say,
    beside: Callable[[], None],
    poll_s: float,
) -> None:
    variables = environment(resolved, os.environ)
    npx = shutil.which("npx", path=variables["PATH"])
    if npx is None:
        raise EnvironmentProblem("there is no npx to run the CDK", hint=install_hint("cdk"))
    process = subprocess.Popen(
        [npx, "--yes", CDK_CLI, *arguments],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    lines: deque[str] = deque(maxlen=TAIL_LINES)
    reader = threading.Thread(target=_read, args=(process, lines, say), daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(poll_s)
            beside()
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise _refusal("\n".join(lines), resolved)


def _read(process: subprocess.Popen[str], lines: deque[str], say: Say) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            if text := line.rstrip():
                lines.append(text)
                say(f"cdk: {text}")


def _refusal(text: str, resolved: ResolvedFleet) -> DeployerError:
    place = resolved.place
    if "bootstrap" in text.lower():
        return EnvironmentProblem(
            f"account {place.account} is not bootstrapped for the CDK in {place.region}",
            hint=f"npx {CDK_CLI} bootstrap aws://{place.account}/{place.region}",
        )
    if "No module named" in text:
        return EnvironmentProblem(f"the CDK is not installed:\n{text}", hint=install_hint("cdk"))
    return DeployerError(
        f"stack {resolved.stack!r} could not be made or changed; the CDK said last:\n{text}",
        hint=f"`deployer logs {resolved.spec.name}` shows what the instances said",
    )
