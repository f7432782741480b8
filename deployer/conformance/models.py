"""SageMaker's multi-model contract, played on a server of its own: ``/models`` with its 200, 404, 409 and 507."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from deployer.clients.base import Answer, Body
from deployer.clients.http import HttpInvoker
from deployer.conformance.site import Site
from deployer.conformance.verdict import BrokenError, NotPlayedError, expect
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from deployer.errors import DeployerError
from deployer.image.container import Rule

_NAME = "models/one.tar.gz"  # SageMaker's names are keys in S3
_PATH = f"/models/{quote(_NAME, safe='')}"
#: More than any machine's memory; it takes no room on the disk.
_BALLAST_BYTES = 8 * 2**40


class MultiModel:
    """A server in multi-model mode. Its rules are played in order; ``stop`` it afterwards."""

    def __init__(
        self, site: Site, model_dir: Path, folder: Path, startup_s: float, sample: Body | None
    ) -> None:
        """``folder`` is empty; the models that are loaded are put there."""
        self._site, self._model_dir, self._folder = site, model_dir, folder
        self._startup_s, self._sample = startup_s, sample
        self._server: Server | None = None
        self._port = servers.free_port()
        self._client = HttpInvoker(f"http://{servers.HOST}:{self._port}", timeout_s=startup_s)

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules, each with its fix."""
        return (
            ("multi-model: starts without a model", self._starts,
             "answer /ping with 200 before any model is loaded"),
            ("multi-model: an unknown model is 404", self._unknown,
             "answer GET, DELETE and invoke below /models/NAME with 404"),
            ("multi-model: POST /models loads; again it is 409", self._loads,
             "load in POST /models; refuse a name that is loaded"),
            ("multi-model: a loaded model is listed and answers", self._answers,
             "list it in GET /models; answer POST /models/NAME/invoke"),
            ("multi-model: a model beyond memory is 507", self._too_large,
             "compare the model's size with the memory that is left before loading it"),
            ("multi-model: DELETE unloads", self._unloads,
             "after DELETE /models/NAME the model is unknown"),
        )  # fmt: skip

    def stop(self) -> None:
        """End the server, whatever state it is in."""
        if self._server is not None:
            self._site.stop(self._server)

    def _starts(self) -> str:
        log = self._folder / "server.log"
        try:
            shutil.copytree(self._model_dir, self._folder / "one", copy_function=os.link)
        except OSError:  # the folder lies on another disk
            shutil.copytree(self._model_dir, self._folder / "one", dirs_exist_ok=True)
        server = self._site.start_models(self._model_dir, self._folder, self._port, log=log)
        try:
            servers.wait_ready(server, log, limit_s=self._startup_s)
        except DeployerError as error:
            self._site.stop(server)
            raise BrokenError(error.message) from error
        self._server = server
        return "healthy with no model"

    def _unknown(self) -> str:
        for method, path in (("GET", _PATH), ("DELETE", _PATH), ("POST", f"{_PATH}/invoke")):
            expect(self._ask(method, path, b"{}"), 404, f"{method} {path}: ")
        return "GET, DELETE and invoke answered 404"

    def _loads(self) -> str:
        expect(self._load("one"), 200, "first: ")
        return expect(self._load("one"), 409, "first answered 200, again: ")

    def _answers(self) -> str:
        listed = self._ask("GET", "/models")
        if _NAME.encode() not in listed.content:
            raise BrokenError(f"GET /models lists {listed.content[:200]!r}")
        if self._sample is None:
            return "listed; the bundle holds no sample to ask it"
        headers = {"Content-Type": self._sample.content_type}
        answer = self._ask("POST", f"{_PATH}/invoke", self._sample.content, headers)
        return expect(answer, 200, "listed; ")

    def _too_large(self) -> str:
        self._ask("GET", "/models")
        large = self._folder / "large"
        shutil.copytree(self._model_dir, large, copy_function=os.symlink)
        try:
            with (large / "ballast.bin").open("wb") as file:
                file.truncate(_BALLAST_BYTES)
        except OSError as error:
            raise NotPlayedError(f"no file of 8 TiB can be made here: {error}") from error
        return expect(self._load("large", name="large"), 507, "a model of 8 TiB: ")

    def _unloads(self) -> str:
        expect(self._ask("DELETE", _PATH), 200)
        return expect(self._ask("GET", _PATH), 404, "answered 200, then ")

    def _load(self, folder: str, name: str = _NAME) -> Answer:
        body = json.dumps({"model_name": name, "url": str(self._folder / folder)}).encode()
        return self._ask("POST", "/models", body, {"Content-Type": "application/json"})

    def _ask(
        self, method: str, path: str, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        if self._server is None:
            raise NotPlayedError("the server did not start in multi-model mode")
        return self._client.request(method, path, content, headers)
