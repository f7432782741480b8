"""An image started as SageMaker starts it: argument ``serve``, the bundle read-only at /opt/ml/model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployer import processes
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from deployer.errors import ConditionFailed, EnvironmentProblem, InputError
from deployer.image import names, tools
from deployer.image.build import REQUIREMENTS_LABEL, requirements_sha256
from inference_code.contract import PORT_ENV, Manifest

Rule = tuple[str, Callable[[], str], str]

_CONTAINER_ENV = "DEPLOYER_CONTAINER"
_BIND_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
_SHELLS = ("sh", "bash", "dash", "ash")
_INITS = ("tini", "dumb-init")


class Container:
    """Containers of one image; nothing is asked of the tool before a method is called."""

    multi_model = False

    def __init__(self, image: str, tool: tools.Tool) -> None:
        self._image, self._tool = names.check_reference("image", image), tool
        self._name = f"deployer-check-{uuid.uuid4().hex[:12]}"

    def rules(self, manifest: Manifest) -> tuple[Rule, ...]:
        """Return the rules that are about the image itself. Raises InputError when there is no such image."""
        config = self._tool.config(self._image)
        rules: tuple[Rule, ...] = (
            ("ENTRYPOINT takes arguments and signals", lambda: entry_point(config),
             'write ENTRYPOINT ["python", "-m", "inference_code"]: no shell, no init before the server'),
            ("image is labelled as obeying $SAGEMAKER_BIND_TO_PORT", lambda: bind_label(config),
             f"add LABEL {_BIND_LABEL}=true"),
        )  # fmt: skip
        if REQUIREMENTS_LABEL not in config.labels:  # another's image: running it tells
            return rules
        return (
            *rules,
            ("image was built for this bundle's requirements",
             lambda: requirements_label(config, manifest),
             "build it again: deployer image build BUNDLE"),
        )  # fmt: skip

    def check(self, model_dir: Path, timeout_s: float) -> dict[str, Any]:
        """Run ``IMAGE check`` and return the JSON object that it prints. Raises InputError with last words."""
        name = f"{self._name}-c"
        self._tool.create(name, self._image)
        try:
            command = self._tool.run(name, self._image, model_dir, "check", 0, self._marks(name))
            return processes.answer_of(command, "check", timeout_s=timeout_s)
        finally:
            self._remove(name)

    def start(self, model_dir: Path, port: int, *, log: Path, digest: str) -> Server:
        """Start ``IMAGE serve`` on 127.0.0.1 and return the process that stands for it."""
        try:
            self._tool.create(self._name, self._image)
            env = {PORT_ENV: str(port), **self._marks(self._name)}
            command = self._tool.run(self._name, self._image, model_dir, "serve", port, env)
            return servers.launch(command, port, log=log, digest=digest, env=os.environ)
        except BaseException:  # an interruption leaves no container behind
            self._remove(self._name)
            raise

    def start_models(self, model_dir: Path, models: Path, port: int, *, log: Path) -> Server:
        """Refuse: the rules of multi-model serving are played on a bundle's process. Raises InputError."""
        raise InputError("multi-model serving is not played on an image", hint="leave out --image")

    def ask_to_end(self, server: Server) -> None:
        """Send the container's first process SIGTERM, as the platform does. Raises EnvironmentProblem."""
        if self._tool.runs_as_process:
            for pid in _first(servers.carrying(_CONTAINER_ENV, self._name)):
                os.kill(pid, signal.SIGTERM)
            return
        done = tools.ask(self._tool.signal(self._name, "TERM"))
        if done.returncode != 0:
            raise EnvironmentProblem(
                f"{self._tool.name} cannot signal the container: {processes.last_words(done.stderr)}"
            )

    def stop(self, server: Server) -> None:
        """End and remove the container, whatever state it is in."""
        self._remove(self._name)
        servers.stop(server, 0)

    def _marks(self, name: str) -> dict[str, str]:
        return {_CONTAINER_ENV: name}

    def _remove(self, name: str) -> None:
        if self._tool.runs_as_process:
            for pid in servers.carrying(_CONTAINER_ENV, name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        tools.ask(self._tool.remove(name))  # one that has ended may be gone already


def entry_point(config: tools.ImageConfig) -> str:
    """Return the entry point. Raises ConditionFailed when it swallows arguments or signals."""
    words = config.entrypoint
    if not words:
        raise ConditionFailed("it has none, so `serve` is looked for as a program")
    first = Path(words[0]).name
    if first in _SHELLS and "-c" in words[1:2]:
        raise ConditionFailed(f"it is in shell form: {json.dumps(words)}")
    if first in _INITS:
        raise ConditionFailed(f"it is an init, which SageMaker does not allow: {json.dumps(words)}")
    return json.dumps(words)


def bind_label(config: tools.ImageConfig) -> str:
    """Return the label's value. Raises ConditionFailed unless it is true."""
    value = config.labels.get(_BIND_LABEL)
    if value != "true":
        raise ConditionFailed("no such label" if value is None else f"its value is {value!r}")
    return f"{_BIND_LABEL}=true"


def requirements_label(config: tools.ImageConfig, manifest: Manifest) -> str:
    """Return the digest's beginning. Raises ConditionFailed when the bundle has another one."""
    built, wanted = config.labels[REQUIREMENTS_LABEL], requirements_sha256(manifest)
    if built != wanted:
        raise ConditionFailed(f"built for {built[:12]}, the bundle has {wanted[:12]}")
    return wanted[:12]


def _first(pids: tuple[int, ...]) -> list[int]:
    """Return those whose parent is not among them: the containers' first processes."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # ended meanwhile
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) not in pids:
                found.append(pid)
    return found
