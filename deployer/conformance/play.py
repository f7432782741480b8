"""The rules, in the order in which the platform would meet them, and how each is played."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deployer.bundle import archive
from deployer.clients.base import Body
from deployer.clients.http import HttpInvoker
from deployer.conformance.both import compare
from deployer.conformance.models import MultiModel
from deployer.conformance.report import ConformanceReport, Outcome, RuleResult
from deployer.conformance.site import Process, Site
from deployer.conformance.verdict import BrokenError, NotPlayedError, expect, within
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from deployer.errors import DeployerError, InputError
from deployer.image import tools
from deployer.image.container import Container, Rule
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from inference_code.contract import (
    CONTENT_TYPES,
    CUSTOM_ATTRIBUTES_HEADER,
    INVOCATIONS_ROUTE,
    JSON_TYPE,
    PING_ROUTE,
    SAMPLES_PATH,
    Manifest,
)

CONNECT_S = 0.25
PING_S = 2.0
ANSWER_S = 60.0
STOP_S = 30.0
_PING_BYTES = 1024
_INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"


def check(
    bundle: AnyPath,
    *,
    image: str | None = None,
    tool: str | None = None,
    startup_s: float = servers.STARTUP_S,
    site: Site | None = None,
    both: bool = False,
    say: Say = silent,
) -> ConformanceReport:
    """Verify a bundle, start its server as SageMaker would, and play every rule against it.

    ``startup_s`` is the platform's limit to the first healthy /ping: 480 for real-time endpoints, 180 for
    serverless. With ``image`` a container of it serves the bundle, run by ``tool`` (docker, finch, podman or
    buildah; the first that works unless named); ``site`` is any other place to play on. ``both`` also starts it as an
    EC2 instance does, and compares the answers. Raises the bundle's own
    error when the archive cannot be trusted, InputError when there is no such image, EnvironmentProblem
    without a working tool.
    """
    if tool is not None and image is None:
        raise InputError(
            f"{tool!r} would run an image, and none is named", hint="add --image IMAGE"
        )
    if both and image is not None:
        raise InputError(
            "both starts are compared on the bundle's process", hint="leave out --image"
        )
    if site is None:
        site = Process() if image is None else Container(image, tools.pick(tool))
    with tempfile.TemporaryDirectory(prefix="deployer-check-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(as_path(bundle), model_dir)
        say(f"unpacked {manifest.name} {manifest.digest[:12]}, every digest verified")
        before = _listing(model_dir)
        _set_writable(model_dir, False)
        try:
            log = Path(folder) / "server.log"
            play = _Play(site, model_dir, manifest, log, startup_s, before, say)
            results = play.run()
            if site.multi_model and play.started:
                results += play.run_models(Path(folder) / "models")
            if both:
                samples = _samples(model_dir)
                compared = compare(model_dir, manifest, samples, Path(folder), startup_s)
                for rule in compared:
                    say(f"{rule.outcome}: {rule.rule} ({rule.seen})")
                results += compared
            return ConformanceReport(manifest.name, manifest.digest, results)
        finally:
            _set_writable(model_dir, True)


class _Play:
    """One server process and the rules played on it, in order."""

    def __init__(
        self,
        site: Site,
        model_dir: Path,
        manifest: Manifest,
        log: Path,
        startup_s: float,
        before: Mapping[str, tuple[int, int]],
        say: Say,
    ) -> None:
        self._site = site
        self._model_dir, self._manifest, self._log = model_dir, manifest, log
        self._startup_s, self._before, self._say = startup_s, before, say
        self._samples = _samples(model_dir)
        self._server: Server | None = None
        self._batching: dict[str, Any] | None = None
        self._port = servers.free_port()
        self._client = HttpInvoker(f"http://{servers.HOST}:{self._port}", timeout_s=ANSWER_S)

    def run(self) -> tuple[RuleResult, ...]:
        """Play every rule; the server is gone afterwards, whatever happened."""
        rules: tuple[Rule, ...] = (
            *self._site.rules(self._manifest),
            ("handler loads and answers its samples", self._handler, "see the handler's own error"),
            ("an answer does not depend on who else asked", self._company,
             "give each item of predict() the answer that it gets alone, or leave batches = True out"),
            ("serves with argument `serve` on $SAGEMAKER_BIND_TO_PORT", self._starts,
             "the container is run as `serve`; read its last words in what was seen"),
            ("accepts a connection within 250 ms", self._connects,
             "do no work between accepting and reading"),
            ("GET /ping answers 200 within 2 s", self._pings,
             "load the model before listening; keep /ping free of model work"),
            ("answers a sample with 200 within 60 s", self._answers,
             "make the handler faster, or use an asynchronous target"),
            ("accepts SageMaker's headers", self._headers, "ignore headers that you do not know"),
            ("bad body is answered 400", self._bad_body,
             "raise ValueError in input_fn for what cannot be read"),
            ("unknown content type is answered 415", self._bad_type,
             "refuse content types that input_fn does not know"),
            ("unknown path is answered 404", self._bad_path, "serve only the contract's routes"),
            ("wrong method is answered 405", self._bad_method, "serve only the contract's methods"),
            ("body past the limit is answered 413", self._too_large,
             "set serving.max_body_bytes to what memory bears"),
            ("serves on after bad requests", self._answers, "a request must not end the process"),
            ("SIGTERM drains and exits 0 within 30 s", self._stops,
             "lower serving.drain_s; let the handler's threads end"),
            ("leaves the model folder as it is", self._untouched,
             "/opt/ml/model is read-only: write to a temporary folder"),
        )  # fmt: skip
        try:
            return tuple(self._judge(*rule) for rule in rules)
        finally:
            if self._server is not None:
                self._site.stop(self._server)

    @property
    def started(self) -> bool:
        """Whether the server became healthy; without that it says nothing in another mode either."""
        return self._server is not None

    def run_models(self, folder: Path) -> tuple[RuleResult, ...]:
        """Play the multi-model rules on a server of its own, with ``folder`` for its models."""
        folder.mkdir()
        sample = next(iter(self._samples.values()), None)
        models = MultiModel(self._site, self._model_dir, folder, self._startup_s, sample)
        try:
            return tuple(self._judge(*rule) for rule in models.rules())
        finally:
            models.stop()

    def _judge(self, name: str, rule: Callable[[], str], fix: str) -> RuleResult:
        outcome: Outcome = "passed"
        try:
            seen = rule()
        except NotPlayedError as reason:
            outcome, seen = "not played", str(reason)
        except BrokenError as problem:
            outcome, seen = "broken", str(problem)
        except DeployerError as error:
            outcome, seen = "broken", error.message
        self._say(f"{outcome}: {name} ({seen})")
        return RuleResult(name, outcome, seen, fix)

    def _handler(self) -> str:
        report = self._site.check(self._model_dir, self._startup_s)
        if not report.get("ok"):
            raise BrokenError(_reasons(report))
        self._batching = report.get("batching")
        return f"{len(self._samples)} samples"

    def _company(self) -> str:
        found = self._batching
        if found is None:
            raise NotPlayedError("the handler's own check does not tell whether it joins requests")
        why = found.get("unbatched")
        if not found.get("wanted") or self._manifest.serving.max_batch == 1:
            return f"requests are not joined: {why or 'batches of one were asked for'}"
        if why and not self._manifest.serving.exact:
            raise BrokenError(f"the handler wants requests joined, and {why}")
        if not found.get("proven") and not found.get("compared"):
            raise NotPlayedError("requests are joined, and there are no two samples to compare")
        return f"requests are {'not joined: ' + why if why else 'joined, and each gets its own answer'}"

    def _starts(self) -> str:
        self._server = self._site.start(
            self._model_dir, self._port, log=self._log, digest=self._manifest.digest
        )
        try:
            seconds = servers.wait_ready(
                self._server, self._log, limit_s=self._startup_s, say=self._say
            )
        except DeployerError as error:
            self._site.stop(self._server)
            self._server = None
            raise BrokenError(error.message) from error
        return f"healthy after {seconds:.1f} s of {self._startup_s:.0f} s"

    def _connects(self) -> str:
        self._need_server()
        worst = 0.0
        for _ in range(20):
            begun = time.monotonic()
            with self._connection(timeout_s=5.0):
                worst = max(worst, time.monotonic() - begun)
            within(worst, CONNECT_S, "one of 20")
        return within(worst, CONNECT_S, "worst of 20")

    def _pings(self) -> str:
        self._need_server()
        begun = time.monotonic()
        answer = self._client.request("GET", PING_ROUTE)
        taken = time.monotonic() - begun
        expect(answer, 200)
        if len(answer.content) > _PING_BYTES:
            raise BrokenError(f"its body has {len(answer.content)} bytes; the platform wants none")
        return within(taken, PING_S, "answered")

    def _answers(self) -> str:
        self._need_server()
        if not self._samples:
            raise NotPlayedError("the bundle holds no sample: package it with --samples")
        worst = 0.0
        for name, body in self._samples.items():
            begun = time.monotonic()
            expect(self._client.invoke(body), 200, f"{name}: ")
            worst = max(worst, time.monotonic() - begun)
        return within(worst, ANSWER_S, f"worst of {len(self._samples)}")

    def _headers(self) -> str:
        body = self._a_sample()
        headers = {
            "Content-Type": body.content_type,
            CUSTOM_ATTRIBUTES_HEADER: "a" * 1024,
            _INFERENCE_ID: "b" * 64,
        }
        answer = self._client.request("POST", INVOCATIONS_ROUTE, body.content, headers)
        return expect(answer, 200, "with custom attributes of 1,024 characters: ")

    def _bad_body(self) -> str:
        return self._refused(b'{"broken": ', JSON_TYPE, 400)

    def _bad_type(self) -> str:
        return self._refused(b"?", "application/x-deployer-unknown", 415)

    def _refused(self, content: bytes, content_type: str, status: int) -> str:
        self._need_server()
        answer = self._client.invoke(Body(content, content_type))
        if answer.status == 200:
            raise NotPlayedError("the handler reads any body, so there is no bad one")
        return expect(answer, status)

    def _bad_path(self) -> str:
        self._need_server()
        return expect(self._client.request("GET", "/no-such-path"), 404)

    def _bad_method(self) -> str:
        self._need_server()
        return expect(self._client.request("GET", INVOCATIONS_ROUTE), 405)

    def _too_large(self) -> str:
        self._need_server()
        size = self._manifest.serving.max_body_bytes + 1
        return expect(self._client.invoke(Body(b" " * size)), 413, f"{size:,} bytes: ")

    def _stops(self) -> str:
        """Ask it to stop while a request is half sent: that request must still be answered."""
        server = self._need_server()
        body = self._a_sample()
        head = (
            f"POST {INVOCATIONS_ROUTE} HTTP/1.1\r\nHost: {servers.HOST}\r\n"
            f"Content-Type: {body.content_type}\r\nContent-Length: {len(body.content)}\r\n\r\n"
        ).encode()
        half = len(body.content) // 2
        begun = time.monotonic()
        with self._connection(timeout_s=STOP_S) as connection:
            connection.sendall(head + body.content[:half])
            time.sleep(0.2)
            self._site.ask_to_end(server)
            time.sleep(0.2)
            status = _finish(connection, body.content[half:])
        while servers.runs(server) and time.monotonic() - begun < STOP_S:
            time.sleep(0.05)
        code = servers.exit_status(server)
        if status != "200":
            raise BrokenError(f"the request in flight got {status}")
        if code != 0:
            raise BrokenError(
                f"after {STOP_S:g} s it still ran" if code is None else f"exit {code}"
            )
        return f"request in flight got 200, exit 0 after {time.monotonic() - begun:.1f} s"

    def _untouched(self) -> str:
        self._need_server()
        after = _listing(self._model_dir)
        changed = sorted(
            name for name in {*self._before, *after} if self._before.get(name) != after.get(name)
        )
        if changed:
            raise BrokenError(f"written or removed: {', '.join(changed[:5])}")
        return f"{len(after)} files unchanged"

    def _connection(self, timeout_s: float) -> socket.socket:
        try:
            return socket.create_connection((servers.HOST, self._port), timeout=timeout_s)
        except OSError as error:
            raise BrokenError(f"takes no connection: {error.strerror or error}") from error

    def _a_sample(self) -> Body:
        self._need_server()
        if not self._samples:
            raise NotPlayedError("the bundle holds no sample: package it with --samples")
        return next(iter(self._samples.values()))

    def _need_server(self) -> Server:
        if self._server is None:
            raise NotPlayedError("the server did not start")
        return self._server


def _reasons(report: Mapping[str, Any]) -> str:
    """Return the problems that the serving code found, and what the runtime said last when no problem says it."""
    problems = "; ".join(map(str, report.get("problems", ["no reason given"])))
    log = str(report.get("log", ""))
    return f"{problems} (it says: {log})" if log and "log says why" in problems else problems


def _finish(connection: socket.socket, rest: bytes) -> str:
    """Send the rest of a request and return the status of its answer, or what happened instead."""
    try:
        connection.sendall(rest)
        words = connection.recv(4096).split(b" ", 2)
    except OSError as error:
        return f"no answer ({error.strerror or error})"
    return words[1].decode("latin-1") if len(words) > 1 else "no answer (connection closed)"


def _samples(model_dir: Path) -> dict[str, Body]:
    folder = model_dir / SAMPLES_PATH
    paths = sorted(path for path in folder.glob("*") if path.suffix in CONTENT_TYPES)
    return {path.name: Body.from_file(path) for path in paths}


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    stats = ((str(path.relative_to(folder)), path.stat()) for path in files)
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats}


def _set_writable(folder: Path, writable: bool) -> None:
    """Make a folder and all in it read-only as SageMaker mounts it (root may still write), or undo it."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writable else mode & ~0o222)
