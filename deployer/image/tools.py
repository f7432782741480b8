"""docker, finch, podman and buildah: what each is told, as lists of arguments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer import processes
from deployer.errors import EnvironmentProblem, InputError
from inference_code.contract import MODEL_DIR

PIP_CONFIG = "pip-config"
"""The Dockerfile's name for pip's settings, which are mounted while packages are installed."""

PUSH_S = 1800.0
"""How long a push may take."""

_ANSWER_S = 30.0
_ARCHITECTURES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about itself: its entry point, its default arguments and its labels."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFacts:
    """What a tool knows of an image: its id, ``sha256:...`` of its configuration, and x86_64 or arm64."""

    id: str
    architecture: str


@dataclass(frozen=True)
class Tool(ABC):
    """One tool on this machine, by name and path."""

    name: str
    path: str

    @property
    def runs_as_process(self) -> bool:
        """Whether a container's processes are children of the tool, to be signalled by number."""
        return False

    def build(
        self,
        dockerfile: Path,
        context: Path,
        *,
        tag: str,
        base: str,
        labels: Mapping[str, str],
        pip_config: Path | None,
    ) -> list[str]:
        """Return the arguments that build an image."""
        words = [self.path, "build", "--file", str(dockerfile), "--tag", tag]
        words += ["--build-arg", f"BASE_IMAGE={base}", *self._build_options()]
        words += [f"--label={key}={value}" for key, value in sorted(labels.items())]
        if pip_config is not None:
            words.append(f"--secret=id={PIP_CONFIG},src={pip_config.resolve()}")
        return [*words, str(context)]

    @abstractmethod
    def _build_options(self) -> Sequence[str]:
        """Return what only this tool's ``build`` is told."""

    @abstractmethod
    def config(self, image: str) -> ImageConfig:
        """Ask for an image's configuration. Raises InputError when the tool has no such image."""

    @abstractmethod
    def facts(self, image: str) -> ImageFacts:
        """Ask for an image's id and processor. Raises InputError when the tool has no such image."""

    @abstractmethod
    def push(
        self, image: str, target: str, config: Path, digest: Path, *, tls: bool
    ) -> list[list[str]]:
        """Return the commands that send an image to a registry, in turn.

        ``config`` is a file in docker's form that holds the password; the image's digest goes to the file
        ``digest`` where the tool can write it.
        """

    def create(self, name: str, image: str) -> None:  # noqa: B027 - most tools create as they run
        """Make the container ``name`` where the tool wants that before it runs one."""

    @abstractmethod
    def run(
        self,
        name: str,
        image: str,
        model_dir: Path,
        argument: str,
        port: int,
        env: Mapping[str, str],
    ) -> list[str]:
        """Return the arguments that run the container ``name`` in the foreground.

        ``port`` 0 publishes none.
        """

    @abstractmethod
    def remove(self, name: str) -> list[str]:
        """Return the arguments that end and remove the container ``name``."""

    def signal(self, name: str, signal_name: str) -> list[str]:
        """Return the arguments that send the container's first process a signal."""
        return [self.path, "kill", "--signal", signal_name, name]

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return ask([self.path, *words])


class Engine(Tool):
    """docker, finch and podman: they build and run, with the same words."""

    def _build_options(self) -> Sequence[str]:
        # Podman's own format is OCI, and its times those of the build; docker takes both from its environment.
        return ("--format", "docker", "--timestamp", "0") if self.name == "podman" else ()

    def config(self, image: str) -> ImageConfig:
        done = self._ask("image", "inspect", "--format", "{{json .Config}}", image)
        return _config(self.name, image, done, lambda found: found)

    def run(
        self,
        name: str,
        image: str,
        model_dir: Path,
        argument: str,
        port: int,
        env: Mapping[str, str],
    ) -> list[str]:
        words = [
            self.path,
            "run",
            "--rm",
            "--name",
            name,
            "--volume",
            f"{model_dir}:{MODEL_DIR}:ro",
        ]
        if port:
            words += ["--publish", f"127.0.0.1:{port}:{port}"]
        return [*words, *_env(env), image, argument]

    def remove(self, name: str) -> list[str]:
        return [self.path, "rm", "--force", name]

    def facts(self, image: str) -> ImageFacts:
        done = self._ask("image", "inspect", image)  # a list, which podman's {{json .}} is, too
        return _facts(self.name, image, done, "Id", "Architecture")

    def push(
        self, image: str, target: str, config: Path, digest: Path, *, tls: bool
    ) -> list[list[str]]:
        if self.name == "podman":
            return [_push([self.path], image, target, config, digest, tls)]
        if self.name != "docker":
            raise EnvironmentProblem(
                f"{self.name} keeps registry passwords in a store of its own",
                hint="push with docker, podman or buildah: --tool",
            )
        # An own folder of settings keeps the password out of the user's; the engine's address must come along.
        host = [self.path, "--config", str(config.parent), *self._host()]
        return [[self.path, "tag", image, target], [*host, "push", target]]

    def _host(self) -> list[str]:
        """Return what tells docker its engine's address, which its own folder of settings holds."""
        if os.environ.get("DOCKER_HOST"):
            return []
        done = self._ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        found = done.stdout.strip()
        return ["--host", found] if done.returncode == 0 and found else []


class Buildah(Tool):
    """buildah: it builds, and runs a container in the host's network without a daemon."""

    @property
    def runs_as_process(self) -> bool:
        """Always: it passes no signal on, ending the container instead."""
        return True

    def _build_options(self) -> Sequence[str]:
        return ("--format", "docker", "--timestamp", "0")

    def config(self, image: str) -> ImageConfig:
        done = self._ask("inspect", "--type", "image", image)
        return _config(self.name, image, done, lambda found: found["OCIv1"]["config"])

    def create(self, name: str, image: str) -> None:
        done = self._ask("from", "--pull-never", "--name", name, image)
        if done.returncode != 0:
            raise EnvironmentProblem(
                f"buildah cannot make a container of {image!r}: {processes.last_words(done.stderr)}"
            )

    def run(
        self,
        name: str,
        image: str,
        model_dir: Path,
        argument: str,
        port: int,
        env: Mapping[str, str],
    ) -> list[str]:
        # Unlike a platform it leaves the entry point out, so that is put before the argument here.
        words = [self.path, "run", "--network", "host", "--volume", f"{model_dir}:{MODEL_DIR}:ro"]
        return [*words, *_env(env), name, "--", *self.config(image).entrypoint, argument]

    def remove(self, name: str) -> list[str]:
        return [self.path, "rm", name]

    def facts(self, image: str) -> ImageFacts:
        done = self._ask("inspect", "--type", "image", image)
        return _facts(self.name, image, done, "FromImageID", "OCIv1", "architecture")

    def push(
        self, image: str, target: str, config: Path, digest: Path, *, tls: bool
    ) -> list[list[str]]:
        return [_push([self.path], image, target, config, digest, tls)]


KINDS: Mapping[str, type[Tool]] = {
    "docker": Engine, "finch": Engine, "podman": Engine, "buildah": Buildah,
}  # fmt: skip
"""Every tool, in the order in which one is looked for."""


def pick(name: str | None = None) -> Tool:
    """Return the tool ``name``, or the first that is installed and answers.

    Raises EnvironmentProblem telling what each one said.
    """
    said = []
    for each in KINDS if name is None else (name,):
        path = shutil.which(each)
        if path is None:
            said.append(f"{each}: not installed")
            continue
        done = ask([path, "info"])
        if done.returncode == 0:
            return KINDS[each](each, path)
        said.append(f"{each}: {processes.last_words(done.stderr)}")
    raise EnvironmentProblem(
        f"no tool for images works here ({'; '.join(said)})",
        hint="install one of docker, finch, podman and buildah, or start its engine",
    )


def ask(command: Sequence[str], *, limit_s: float = _ANSWER_S) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end and return what it said. Raises EnvironmentProblem when it does not end."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(
            f"`{Path(command[0]).name} {command[1]}` did not end within {limit_s:g} s",
            hint="is its engine well?",
        ) from error


def environment() -> dict[str, str]:
    """Return the environment of a build: the caller's, and plain images with fixed times from docker.

    SageMaker refuses the index that buildx makes of an image and its attestations.
    """
    return {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "SOURCE_DATE_EPOCH": "0"}


def _push(
    tool: Sequence[str], image: str, target: str, config: Path, digest: Path, tls: bool
) -> list[str]:
    """podman and buildah send by one command, read the password from a file and write the digest to one."""
    words = [*tool, "push", "--authfile", str(config), "--digestfile", str(digest)]
    return [*words, f"--tls-verify={str(tls).lower()}", image, f"docker://{target}"]


def _facts(
    tool: str, image: str, done: subprocess.CompletedProcess[str], id_key: str, *path: str
) -> ImageFacts:
    if done.returncode != 0:
        raise InputError(
            f"{tool} has no image {image!r}: {processes.last_words(done.stderr)}",
            hint="`deployer image build BUNDLE` makes one; each tool keeps its own",
        )
    try:
        said = json.loads(done.stdout)
        found = said[0] if isinstance(said, list) else said
        word: Any = found
        for key in path:
            word = word[key]
        identity = str(found[id_key])
        prefix = "" if identity.startswith("sha256:") else "sha256:"
        return ImageFacts(f"{prefix}{identity}", _ARCHITECTURES.get(str(word), str(word)))
    except (ValueError, LookupError, TypeError) as error:
        raise EnvironmentProblem(f"cannot read what {tool} says of {image!r}: {error!r}") from error


def _env(env: Mapping[str, str]) -> list[str]:
    return [f"--env={key}={value}" for key, value in sorted(env.items())]


def _config(
    tool: str, image: str, done: subprocess.CompletedProcess[str], find: Any
) -> ImageConfig:
    if done.returncode != 0:
        raise InputError(
            f"{tool} has no image {image!r}: {processes.last_words(done.stderr)}",
            hint=f"`deployer image build BUNDLE --tool {tool}` makes one; each tool keeps its own",
        )
    try:
        found = find(json.loads(done.stdout))
        return ImageConfig(
            tuple(found.get("Entrypoint") or ()),
            tuple(found.get("Cmd") or ()),
            dict(found.get("Labels") or {}),
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise EnvironmentProblem(f"cannot read what {tool} says of {image!r}: {error!r}") from error
