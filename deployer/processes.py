"""Run the serving code that a bundle carries, as a process of its own.

``python -m inference_code VERB --model-dir DIR`` runs in ``DIR/code`` with that folder first on the path, so
what is measured and checked here is the code that will serve, not this package's copy of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.errors import EnvironmentProblem, InputError
from deployer.progress import Say
from inference_code.contract import MANIFEST_PATH, ContractError, Manifest

# What buildah adds, by itself, after the last words of a program that it ran.
_LAST_WORDS_S = 5.0
"""How long what is in the pipes is waited for after the end: a process that it left behind may hold them."""

Hear = Say
_EPILOGUE = re.compile(r"(subprocess exited (with status|on) \w+|Error: exit status \d+)")


def manifest(model_dir: Path) -> Manifest:
    """Read the manifest of an unpacked bundle. Raises InputError when there is none or it is wrong."""
    path = model_dir / MANIFEST_PATH
    try:
        return Manifest.from_json(path.read_bytes())
    except (OSError, ContractError) as error:
        raise InputError(f"{str(model_dir)!r} is not an unpacked bundle: {error}") from error


def command(model_dir: Path, verb: str, options: Sequence[str] = ()) -> list[str]:
    """Return the argument list that runs one verb of the bundle's serving code."""
    where = str(model_dir.resolve())
    return [sys.executable, "-m", "inference_code", verb, "--model-dir", where, *options]


def environment(model_dir: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of such a process: the caller's, with the bundle's code on the path.

    No byte code is written: the unpacked folder stays exactly what its manifest lists.
    """
    ours = {
        "PYTHONPATH": str(working_dir(model_dir)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # as in the image
    }
    return {**os.environ, **ours, **(extra or {})}


def working_dir(model_dir: Path) -> Path:
    """Return the folder in which the serving code runs."""
    return model_dir.resolve() / "code"


def call(
    model_dir: Path,
    verb: str,
    options: Sequence[str] = (),
    *,
    timeout_s: float,
    hear: Hear | None = None,
) -> dict[str, Any]:
    """Run a verb to its end and return the JSON object that it prints. ``hear`` gets its lines on stderr as they come.

    Raises InputError with the process's last words when it fails: the handler or the model is wrong.
    Raises EnvironmentProblem when it takes longer than ``timeout_s``.
    """
    words = command(model_dir, verb, options)
    try:
        return answer_of(
            words,
            verb,
            timeout_s=timeout_s,
            cwd=working_dir(model_dir),
            env=environment(model_dir),
            hear=hear,
        )
    except OSError as error:
        raise InputError(f"cannot run the code of {str(model_dir)!r}: {error}") from error


def answer_of(
    words: Sequence[str],
    verb: str,
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hear: Hear | None = None,
) -> dict[str, Any]:
    """Run a command that stands for a verb of the serving code, as ``call`` does."""
    options: dict[str, Any] = {
        "cwd": cwd,
        "env": env,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "errors": "replace",
    }
    try:
        if hear is None:
            done = subprocess.run(words, timeout=timeout_s, check=False, **options)
        else:
            done = _heard(words, timeout_s, hear, options)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(
            f"`inference_code {verb}` did not end within {timeout_s:g} s",
            hint="the handler may hang: run `deployer check BUNDLE`",
        ) from error
    return _answer(verb, done)


def _heard(
    words: Sequence[str], timeout_s: float, hear: Hear, options: Mapping[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Do what ``subprocess.run`` does, and pass each line of stderr on meanwhile. Raises TimeoutExpired."""
    printed: list[str] = []
    said: list[str] = []
    with subprocess.Popen(words, **options) as process:

        def listen() -> None:
            for line in process.stderr or ():
                said.append(line)
                hear(line.rstrip("\n"))

        readers = [
            threading.Thread(target=listen, daemon=True),
            threading.Thread(target=lambda: printed.extend(process.stdout or ()), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            process.wait(timeout_s)
        except BaseException:
            process.kill()
            raise
        finally:
            for reader in readers:
                reader.join(_LAST_WORDS_S)
    return subprocess.CompletedProcess(
        list(words), process.returncode, "".join(printed), "".join(said)
    )


def _answer(verb: str, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and done.returncode == 0:
        return answer
    if isinstance(answer, dict) and verb == "check":
        # What a handler raised is in its log alone: a caller gets no internals.
        return {**answer, "log": last_words(done.stderr) if done.stderr.strip() else ""}
    raise InputError(
        f"`inference_code {verb}` failed with exit status {done.returncode}: {last_words(done.stderr)}",
        hint="`deployer check BUNDLE` tells what is wrong with the handler or its requirements",
    )


def last_words(text: str) -> str:
    """Return the last line of a log that says something: usually the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not _EPILOGUE.fullmatch(line)] or lines
    return lines[-1] if lines else "it said nothing"
