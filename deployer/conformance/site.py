"""Where a bundle is served while rules are played: a process of this machine, or a container like it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from deployer import processes
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from deployer.image.container import Rule
from inference_code.contract import MODELS_ROOT_ENV, MULTI_MODEL_ENV, PORT_ENV, Manifest


class Site(Protocol):
    """Starts the server of an unpacked bundle as the platform would, and ends it.

    ``multi_model`` tells whether it can start one that serves many models.
    """

    multi_model: bool

    def rules(self, manifest: Manifest) -> Sequence[Rule]:
        """Return the rules that are about the site itself."""

    def check(self, model_dir: Path, timeout_s: float) -> dict[str, Any]:
        """Run the serving code's own check and return what it prints."""

    def start(self, model_dir: Path, port: int, *, log: Path, digest: str) -> Server:
        """Start it with the argument ``serve``, the port in its environment."""

    def start_models(self, model_dir: Path, models: Path, port: int, *, log: Path) -> Server:
        """Start the serving code of a bundle in multi-model mode, for models below ``models``."""

    def ask_to_end(self, server: Server) -> None:
        """Send it SIGTERM."""

    def stop(self, server: Server) -> None:
        """End it and all that it started, whatever state it is in."""


class Process:
    """The bundle's own serving code, run by this interpreter."""

    multi_model = True

    def rules(self, manifest: Manifest) -> Sequence[Rule]:
        """Return none: there is no image."""
        return ()

    def check(self, model_dir: Path, timeout_s: float) -> dict[str, Any]:
        """Run the check with this machine's packages."""
        return processes.call(model_dir, "check", timeout_s=timeout_s)

    def start(self, model_dir: Path, port: int, *, log: Path, digest: str) -> Server:
        """Start the server with this machine's packages."""
        return servers.start(model_dir, port, log=log, digest=digest, env={PORT_ENV: str(port)})

    def start_models(self, model_dir: Path, models: Path, port: int, *, log: Path) -> Server:
        """Start the server with this machine's packages; no model is loaded yet."""
        env = {PORT_ENV: str(port), MULTI_MODEL_ENV: "true", MODELS_ROOT_ENV: str(models)}
        return servers.start(model_dir, port, log=log, digest="", env=env)

    def ask_to_end(self, server: Server) -> None:
        """Send it SIGTERM."""
        servers.ask_to_end(server, signal.SIGTERM)

    def stop(self, server: Server) -> None:
        """Kill it and its workers."""
        servers.stop(server, 0)
